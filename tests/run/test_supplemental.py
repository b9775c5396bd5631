"""The supplemental clips of 2025 in training."""

import json

import numpy as np
import pytest
import soundfile
from calls import Calls

import asd_jax.evaluate
import asd_jax.train
from asd_jax.config import RunConfig
from asd_jax.data.factory import write_factory
from asd_jax.run import supplemental
from asd_jax.run.supplemental import clean_clips, noise_change
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.settings import with_values
from asd_jax.scoring.embeddings import Embeddings


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("2025") / "data"
    counts = {"train_source": 12, "train_target": 3, "test_per_condition": 4}
    write_factory(root, clip_seconds=1.0, machines=["fan", "gearbox"], **counts)
    rng = np.random.default_rng(0)
    for machine, kind in (("fan", "machine"), ("gearbox", "noise")):
        folder = root / machine / "supplemental"
        folder.mkdir()
        for number in range(3):
            wave = 0.05 * rng.normal(size=16000)
            soundfile.write(folder / f"section_00_{kind}_{number:04d}_.wav", wave, 16000)
    return root


def config(root, **changes):
    return with_values(RunConfig(), {"data.root": str(root), **changes})


def test_clean_clips_are_a_class_of_their_machine(root, capsys):
    assert clean_clips(config(root)) == []
    found = clean_clips(config(root, **{"data.supplemental": True}))
    assert {(clip.machine, clip.split, clip.attribute) for clip in found} == {
        ("fan", "train", "clean")
    }
    said = "3 supplemental clips of clean machines join the training"
    assert len(found) == 3 and " ".join(capsys.readouterr().out.split()) == said
    with pytest.raises(
        InputError, match="data.supplemental=True needs supplemental clips of clean"
    ):
        clean_clips(config(root, **{"data.supplemental": True, "data.machines": "gearbox"}))
    # The synthetic factory has none.
    with pytest.raises(InputError, match="but factory has none"):
        clean_clips(config("factory", **{"data.supplemental": True}))


def test_noise_comes_from_every_machines_noise_clips(root):
    assert noise_change(config(root)) is None
    change = noise_change(config(root, **{"augment.noise_probability": 1.0}))
    wave = np.ones(8000, np.float32)
    assert not np.array_equal(change(wave, np.random.default_rng(0)), wave)


def test_noise_is_as_frequent_and_as_loud_as_the_config_says(root, monkeypatch):
    calls = Calls(monkeypatch, supplemental)
    calls.answer("noise_adder", max)
    keys = {"noise_probability": 0.25, "noise_low_db": 1.0, "noise_high_db": 2.0}
    values = {f"augment.{name}": value for name, value in keys.items()}
    assert noise_change(config(root, **values)) is max
    (noise, read), options = calls["noise_adder"]
    assert options == {"probability": 0.25, "low_db": 1.0, "high_db": 2.0}
    assert {(clip.machine, clip.attribute) for clip in noise} == {("gearbox", "noise")}
    assert len(noise) == 3 and read(noise[0]).shape == (16000,)


@pytest.mark.parametrize(
    ("key", "value"), [("data.supplemental", True), ("augment.noise_probability", 0.5)]
)
def test_a_key_without_its_clips_is_refused(tmp_path, key, value):
    counts = {"train_source": 1, "train_target": 1, "test_per_condition": 1}
    write_factory(tmp_path / "f", clip_seconds=0.5, machines=["fan"], **counts)
    with pytest.raises(InputError, match=f"{key}.* needs supplemental clips of"):
        of = config(tmp_path / "f", **{key: value})
        (clean_clips if key == "data.supplemental" else noise_change)(of)


@pytest.mark.slow
def test_a_run_by_the_winners_recipe_can_be_scored_again(root, command, tmp_path):
    keys = {
        "data.root": root,
        "data.supplemental": True,
        "augment.noise_probability": 0.5,
        "optimizer.snapshots": 2,
        "report.page": False,
    }
    flags = [f"--config.{key}={value}" for key, value in keys.items()]
    workdir = f"--workdir={tmp_path / 'run'}"
    status, out, err = command(
        asd_jax.train, "--config=configs/dcase2025.py:smoke", workdir, *flags
    )
    assert status == 0, err
    assert "3 supplemental clips of clean machines join the training" in out
    first = json.loads((tmp_path / "run" / "results.json").read_text())
    snapshots = tmp_path / "run" / "embeddings" / "snapshots" / "step_0000003" / "fan.npz"
    assert not (Embeddings.load(snapshots).split == "supplemental").any()
    status, _, err = command(asd_jax.evaluate, workdir)
    assert status == 0, err
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == first
