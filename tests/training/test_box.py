"""The encoder in the box: what the card says of its file, and the word that names it."""

import numpy as np
import pytest

import asd_jax.evaluate
import asd_jax.train
from asd_jax.detector.detector import Detector
from asd_jax.run.score import load_embeddings
from asd_jax.runtime.errors import InputError
from asd_jax.training import weights
from asd_jax.training.weights import (
    BOX_FILE,
    load_encoder,
    load_pipeline,
    origin_entries,
    read_weights,
)

RATE = 16000


def test_it_is_small_half_precision_and_embeds():
    tensors, header = read_weights("box")
    assert BOX_FILE.stat().st_size < 12e6 and {t.dtype for t in tensors.values()} == {
        np.dtype(np.float16)
    }
    assert (
        header["front_end"]["spacing"] == "even"
        and origin_entries("box")["sha256"] in BOX_FILE.with_name("README.md").read_text()
    )
    pipeline = load_pipeline("box")
    assert pipeline.embed(np.zeros((2, RATE), np.float32)).shape == (2, 8, 192)
    assert load_encoder("box")[0] == pipeline.config.eat


@pytest.mark.slow
def test_a_config_takes_its_front_end_or_replaces_it(command, tmp_path):
    flags = ["--config=configs/base.py:smoke", "--weights=box", "--config.data.machines=fan"]
    own = tmp_path / "own"
    other = tmp_path / "other"
    status, out, err = command(asd_jax.evaluate, *flags, f"--workdir={own}")
    assert status == 0 and "from the header of" in out, err
    flags += ["--config.frozen.features=config", "--config.features.statistics=weights"]
    status, _, err = command(asd_jax.evaluate, *flags, f"--workdir={other}")
    assert status == 0, err
    first, second = (load_embeddings(run / "embeddings")["fan"].vectors for run in (own, other))
    assert not np.allclose(first, second)  # local SimAM
    same = [*flags, "--config.features.simam=none", f"--workdir={tmp_path / 'same'}"]
    assert command(asd_jax.evaluate, *same)[0] == 0
    third = load_embeddings(tmp_path / "same" / "embeddings")["fan"].vectors
    np.testing.assert_allclose(first, third, atol=1e-5)


def test_weights_without_a_front_end_have_no_statistics(command, tmp_path):
    flags = [
        "--config=configs/base.py:smoke",
        "--config.features.statistics=weights",
        f"--workdir={tmp_path / 'run'}",
    ]
    status, _, err = command(asd_jax.train, *flags)
    assert status == 2 and "has no front end of its own" in err and not (tmp_path / "run").exists()


def test_a_detector_holds_its_hash_and_refuses_another(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    waves = [rng.normal(size=RATE).astype(np.float32) * 0.1 for _ in range(6)]
    path = tmp_path / "a.detector"
    fitted = Detector.fit(waves, RATE)
    fitted.save(path)
    assert path.stat().st_size < 1e6
    assert Detector.load(path).score(waves[0]) == fitted.score(waves[0])
    changed = tmp_path / "other.safetensors"
    pipeline = load_pipeline("box")
    weights.save_encoder(changed, pipeline.config, pipeline.params)
    monkeypatch.setattr(weights, "BOX_FILE", changed)
    with pytest.raises(InputError, match="does not come with this version"):
        Detector.load(path)
