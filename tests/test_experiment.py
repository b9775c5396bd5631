"""What a config means."""

import jax
import pytest

from asd_jax import experiment, recordings
from asd_jax.data.clips import Clip
from asd_jax.errors import InputError
from configs import base


@pytest.mark.parametrize(
    ("backend", "own", "kept"),
    [("gpu", None, "programs"), ("cpu", None, None), ("gpu", "elsewhere", "elsewhere")],
)
def test_compiled_programs_are_kept_on_accelerators_where_nobody_said_otherwise(
    backend, own, kept, monkeypatch, tmp_path
):
    before = jax.config.jax_compilation_cache_dir
    config = base.get_config()
    config.compiled = str(tmp_path / "programs")
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    try:
        jax.config.update("jax_compilation_cache_dir", own)
        experiment.keep_compiled(config)
        found = jax.config.jax_compilation_cache_dir
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    assert found == (str(tmp_path / kept) if kept == "programs" else kept)


def test_machine_without_a_readable_training_clip_is_named(tmp_path):
    config = base.get_config()
    config.data.on_bad_clip = "skip"
    clips = [Clip(str(tmp_path / f"{split}.wav"), "pump", "00", split, "source", 0, "") for split in ("test", "train")]
    with pytest.raises(InputError, match="machine pump: none of its training clips.*no such file"):
        recordings.readable(config, clips)
