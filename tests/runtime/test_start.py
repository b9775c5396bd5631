"""What makes a command start quickly."""

import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile

from asd_jax.detector.detector import Detector
from asd_jax.runtime.start import keep_compiled, kind_of_processor

AMD = "vendor_id : AuthenticAMD\nmodel name : EPYC\nflags : avx2 avx512f\nbugs : spectre_v1\n"
INTEL = "vendor_id : GenuineIntel\nmodel name : Xeon\nflags : avx2\nbugs : spectre_v1\n"


@pytest.fixture
def no_folder_named():
    before = jax.config.jax_compilation_cache_dir
    seconds = jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    jax.config.update("jax_compilation_cache_dir", before)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", seconds)


def kind(tmp_path, text):
    (tmp_path / "cpuinfo").write_text(text)
    return kind_of_processor(tmp_path / "cpuinfo")


def test_each_kind_of_processor_has_a_name_of_its_own(tmp_path):
    own = kind(tmp_path, AMD)
    assert own and own == kind(tmp_path, AMD * 2 + "cpu MHz\t: 2000\n")  # two cores of one kind
    assert kind(tmp_path, AMD.replace("avx512f", "")) not in (own, None)
    assert kind_of_processor(tmp_path / "missing") is None
    assert kind(tmp_path, "processor : 0\n") is None


def test_what_xla_would_refuse_is_not_kept(tmp_path):
    assert kind(tmp_path, INTEL) is not None
    assert kind(tmp_path, INTEL.replace("spectre_v1", "spectre_v1 gds")) is None
    assert kind(tmp_path, INTEL.replace("avx2", "avx2 avx512f")) is None


def test_programs_are_kept_for_this_kind_of_processor_alone(tmp_path, monkeypatch, no_folder_named):
    monkeypatch.setattr("asd_jax.runtime.start.kind_of_processor", lambda: "this")
    keep_compiled(tmp_path / "programs")
    place = Path(jax.config.jax_compilation_cache_dir)
    assert place == tmp_path / "programs" / "cpu-this" and place.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("backend", "own", "kept"), [("gpu", None, "programs"), ("gpu", "elsewhere", "elsewhere")]
)
def test_a_folder_that_jax_was_given_is_left(
    backend, own, kept, tmp_path, monkeypatch, no_folder_named
):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    jax.config.update("jax_compilation_cache_dir", own)
    keep_compiled(tmp_path / "programs")
    assert jax.config.jax_compilation_cache_dir.endswith(kept)


def test_nothing_is_kept_where_others_could_write_or_nobody_can(
    tmp_path, monkeypatch, capsys, no_folder_named
):
    monkeypatch.setattr("asd_jax.runtime.start.kind_of_processor", lambda: "this")
    (tmp_path / "cpu-this").mkdir()
    (tmp_path / "cpu-this").chmod(0o777)
    keep_compiled(tmp_path)
    assert "chmod go-w" in capsys.readouterr().err
    (tmp_path / "file").touch()
    keep_compiled(tmp_path / "file")
    assert "Not a directory" in capsys.readouterr().err
    keep_compiled("")
    assert jax.config.jax_compilation_cache_dir is None


SCORE = """
import sys
from asd_jax.detect import define_flags, main
define_flags(["detect", "score", "--detector={detector}", "{sound}", "--json"])
main()
"""
OFFICIAL = """
import sys
sys.argv = ["dcase_score", "--scores={scores}", "--year=2024"]
from absl import flags
from asd_jax import dcase_score
dcase_score.define_flags(sys.argv)
flags.FLAGS(sys.argv)
dcase_score.main()
"""
HEAVY = "sorted({name.partition('.')[0] for name in sys.modules} & set(%r))"


def imported(program, libraries, **names):
    """Returns which of the libraries a program has imported when it ends."""
    program = program.format(**names) + f"print({HEAVY % (libraries,)}, file=sys.stderr)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stderr.splitlines()[-1]


def test_the_official_score_imports_no_jax(tmp_path):
    rows = [
        f"section_00_{domain}_test_{label}_{n:04}.wav,{n + (label == 'anomaly')}\n"
        for domain in ("source", "target")
        for label in ("normal", "anomaly")
        for n in range(3)
    ]
    (tmp_path / "anomaly_score_fan_section_00_test.csv").write_text("".join(rows))
    heavy = ["jax", "flax", "scipy", "sklearn", "matplotlib", "optax"]
    assert imported(OFFICIAL, heavy, scores=tmp_path) == "[]"


def test_scoring_a_file_imports_no_library_that_only_training_and_reports_need(tmp_path):
    random = np.random.default_rng(0)
    waves = [random.normal(size=8000).astype(np.float32) / 10 for _ in range(6)]
    Detector.fit(waves, 16000, weights=None).save(tmp_path / "own.detector")
    soundfile.write(tmp_path / "sound.wav", waves[0], 16000)
    heavy = ["sklearn", "imblearn", "matplotlib", "grain", "orbax", "optax", "ml_collections"]
    names = {"detector": tmp_path / "own.detector", "sound": tmp_path / "sound.wav"}
    assert imported(SCORE, heavy, **names) == "[]"
