"""The command asd-jax: sub-commands, its list, and what it finds from any folder."""

import subprocess
import sys
import types
from pathlib import Path

import pytest
from absl import flags

import asd_jax
from asd_jax.__main__ import main
from asd_jax.runtime.shipped import commands


@pytest.fixture
def asd(capsys, monkeypatch):
    """Runs asd-jax in this process: words -> (exit status, stdout, stderr)."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["asd-jax", *words])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code or 0, *capsys.readouterr()

    return run


def started(folder, *words, **more):
    return subprocess.run(
        [sys.executable, "-m", "asd_jax", *words],
        cwd=folder,
        env={"PYTHONPATH": str(Path(asd_jax.__file__).parents[1]), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        **more,
    )


def test_without_words_every_command_is_listed_once(asd):
    status, out, _ = asd()
    assert status == 0
    for word in commands():
        assert out.count(f"\nasd-jax {word} ") == 1
    assert {"train", "detect", "evaluate", "convert", "parity", "download"} <= set(commands())


@pytest.mark.parametrize(
    "word, nearest", [("trian", "train"), ("deetct", "detect"), ("dmeo", "demo")]
)
def test_an_unknown_word_is_bad_input_and_the_nearest_command_is_named(asd, word, nearest):
    status, out, err = asd(word)
    assert status == 2 and not out
    assert f"{word!r} is no command. Did you mean {nearest!r}?" in err


def test_version_is_that_of_the_package(asd):
    assert asd("--version")[:2] == (0, f"asd_jax {asd_jax.__version__}\n")


def test_a_sub_command_does_what_python_m_does(tmp_path):
    ran = started(tmp_path, "dcase_score", "--scores=nowhere", "--year=2024")
    assert ran.returncode == 2
    assert ran.stderr == "error: nowhere: no such folder of anomaly_score_*.csv files\n"


def test_a_config_is_found_by_name_whatever_configs_the_working_directory_holds(tmp_path):
    (tmp_path / "configs").mkdir()
    for name in ("__init__", "base"):
        (tmp_path / "configs" / f"{name}.py").write_text("raise SystemExit('not ours')")
    ran = started(tmp_path, "train", "--config=quickstart:fast", "--workdir=run")
    assert ran.returncode == 2
    assert "config mode 'fast'; known: smoke" in ran.stderr
    ran = started(tmp_path, "train", "--config=quikstart", "--workdir=run")
    assert ran.returncode == 2 and "Did you mean 'quickstart'?" in ran.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["configs"]


def test_a_config_of_another_kind_is_not_taken_for_a_name(command):
    """As that of asd_jax.serve, which is a toml file."""
    given = []
    module = types.SimpleNamespace(
        __name__="other",
        define_flags=lambda argv: flags.DEFINE_string("config", None, "a file"),
        main=lambda: given.append(flags.FLAGS.config),
    )
    assert command(module, "--config=small")[0] == 0
    assert given == ["small"]


def test_help_imports_no_model_library():
    """Measured: 0.07 s for train, 0.1 s for convert, 0.2 s for dcase_score; jax alone takes 0.4."""
    for word in ("train", "evaluate", "detect", "pretrain", "dcase_score", "convert"):
        code = (
            "import sys; from asd_jax.__main__ import main; sys.argv = ['asd-jax', "
            f"{word!r}, '--help']\ntry: main()\nfinally: assert 'jax' not in sys.modules"
        )
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert ran.returncode == 0, (word, ran.stderr)
