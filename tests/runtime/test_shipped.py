"""What is installed beside the package."""

import re
import sys
import types

import pytest

from asd_jax.runtime.errors import InputError
from asd_jax.runtime.shipped import (
    CONFIGS,
    HERE,
    commands,
    config_file,
    config_names,
    file_of,
    first_line,
    is_command,
    use_own,
)


def test_a_config_is_meant_by_its_name_its_file_or_a_file_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ours = f"{CONFIGS / 'toycar.py'}"
    assert config_file("toycar") == f"{ours}"
    assert config_file("toycar:smoke") == config_file("configs/toycar.py:smoke") == f"{ours}:smoke"
    (tmp_path / "toycar").write_text("")
    assert config_file("toycar:smoke") == "toycar:smoke"


def test_a_config_that_is_none_is_named_with_those_there_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = (
        f"elsewhere/toycat.py: no such config file; those of the project are in {CONFIGS}/ and "
        f"have the names {', '.join(config_names())}. Did you mean 'toycar'?"
    )
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        config_file("elsewhere/toycat.py:smoke")


def test_a_command_is_a_module_that_can_be_run():
    assert commands()["download"] == "asd_jax.data.download" and is_command("asd_jax.train")
    assert not is_command("asd_jax.config_nowhere") and not is_command("asd_jax.pyod")
    assert "pyod" not in commands() and "__main__" not in commands()


def test_a_command_is_described_by_the_first_sentence_of_its_docstring():
    for module in commands().values():
        said = first_line(module)
        assert said and "\n" not in said and not said.endswith(".")
        assert said.split()[0] in file_of(module).read_text()


def test_another_package_of_the_name_is_not_taken(monkeypatch):
    stranger = types.ModuleType("configs")
    stranger.__path__ = ["/somewhere/else/configs"]
    monkeypatch.setitem(sys.modules, "configs", stranger)
    use_own("configs")
    assert list(sys.modules["configs"].__path__) == [str(HERE / "configs")]
    known = sys.modules["configs"]
    use_own("configs")
    assert sys.modules["configs"] is known
    with pytest.raises(InputError, match="nowhere: not there; install asd_jax again$"):
        use_own("nowhere")
