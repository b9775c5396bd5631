"""Teachers: what is asked of functions, which stored targets hold, and what is no teacher."""

import hashlib
import re
import sys
import textwrap
import types
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile

from asd_jax.config import PretrainConfig
from asd_jax.data.crops import Crop, training_files
from asd_jax.run.pretrain import sound_batches
from asd_jax.run.teachers import Teachers
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.settings import with_values

HZ = np.array([[400, 900], [1700, 2500], [3300, 4200]])  # of the halves of each recording
SECONDS = (6.0, 3.0, 1.0)


def levels(waves, sample_rate):
    assert isinstance(waves, np.ndarray) and waves.flags.writeable
    assert waves.dtype == np.float32 and sample_rate == 16000
    return np.log(np.abs(waves).reshape(len(waves), 4, -1).mean(-1) + 1e-6)


FUNCTIONS = {
    "levels": levels,
    "by_frame": lambda waves, rate: np.stack([levels(waves, rate)] * 3, axis=1),
    "too_few": lambda waves, rate: levels(waves, rate)[1:],
    "integers": lambda waves, rate: levels(waves, rate).astype(int),
    "infinite": lambda waves, rate: levels(waves, rate) + np.inf,
}


@pytest.fixture
def functions(monkeypatch):
    module = types.ModuleType("fake_teachers")
    vars(module).update(FUNCTIONS)
    monkeypatch.setitem(sys.modules, "fake_teachers", module)


@pytest.fixture
def recordings(tmp_path):
    """Recordings whose halves are two tones, and a file of targets that names the tone."""
    root = tmp_path / "sounds"
    root.mkdir()
    for n, seconds in enumerate(SECONDS):
        second = np.arange(round(16000 * seconds)) / 16000
        hz = np.where(second < seconds / 2, *HZ[n])
        soundfile.write(root / f"{n}.wav", 0.02 * (n + 1) * np.sin(2 * np.pi * hz * second), 16000)
    vectors = np.repeat(np.eye(HZ.size), 25, axis=0).astype(np.float32)  # 25 frames a tone
    names = np.array([f"{n}.wav" for n in range(3)])
    np.savez(tmp_path / "tones.npz", files=names, frames=np.full(3, 50), vectors=vectors)
    return root


def teachers_of(root, *names):
    return Teachers.load(names, str(root) if root else "", training_files(root) if root else [])


def test_functions_are_asked_about_every_sound(functions):
    wave = np.random.default_rng(0).uniform(-1, 1, (3, 400)).astype(np.float32)
    found = teachers_of(None, "fake_teachers:levels", "fake_teachers:by_frame").targets(
        wave, [None] * 3, np.zeros(3, bool)
    )
    assert found["target_0"].shape == (3, 1, 4) and found["target_1"].shape == (3, 3, 4)
    np.testing.assert_array_equal(found["target_1"][:, 2], levels(wave, 16000))
    assert found["known_0"].tolist() == found["known_1"].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("too_few", r"returned float32 of shape \(2, 4\) for 3 waveforms"),
        ("integers", "returned int64"),
        ("infinite", "returned NaN or infinity"),
    ],
)
def test_an_answer_that_is_no_embedding_is_named_with_its_teacher(functions, name, message):
    teachers = teachers_of(None, f"fake_teachers:{name}")
    with pytest.raises(InputError, match=f"pretraining.teachers=fake_teachers:{name} {message}"):
        teachers.targets(np.ones((3, 400), np.float32), [None] * 3, np.ones(3, bool))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fake_teachers", "pretraining.teachers=fake_teachers: write package.module:function"),
        ("fake_teachers:none", "has no attribute 'none'"),
        ("no_such_module:f", "No module named 'no_such_module'"),
        ("none.npz", "none.npz: not a readable npz file"),
    ],
)
def test_a_name_that_is_no_teacher_is_named(functions, name, message):
    with pytest.raises(InputError, match=message):
        teachers_of(None, name)


def test_a_file_says_how_many_recordings_it_covers_and_must_cover_one(recordings, tmp_path, capsys):
    soundfile.write(recordings / "new.wav", np.zeros(16000), 16000)
    name = str(tmp_path / "tones.npz")
    teachers = teachers_of(recordings, name)
    assert f"{name}: targets for 3 of 4 recordings" in " ".join(capsys.readouterr().out.split())
    digest = hashlib.sha256((tmp_path / "tones.npz").read_bytes()).hexdigest()
    assert teachers.digests == {f"targets {name}": digest}
    for path in recordings.glob("?.wav"):
        path.unlink()
    with pytest.raises(InputError, match="has none of the 1 recordings .* it has 0.wav and others"):
        teachers_of(recordings, name)
    with pytest.raises(InputError, match="has none of the 0 recordings of data.root=''"):
        teachers_of(None, name)


def test_stored_targets_hold_for_clear_crops_at_their_own_speed(recordings, tmp_path):
    soundfile.write(recordings / "new.wav", np.zeros(16000), 16000)
    teachers = teachers_of(recordings, str(tmp_path / "tones.npz"))
    own = Crop(1, 0, 16000, 1.0, 48000)
    crops = [own, None, own, own._replace(speed=1.05), own._replace(file=3)]
    found = teachers.targets(np.ones((5, 16000)), crops, np.array([True, True, False, True, True]))
    assert found["known_0"].tolist() == [1, 0, 0, 0, 0]
    assert found["target_0"].shape == (5, 3, 6)  # one frame every 0.32 s
    assert not found["target_0"][1:].any() and found["target_0"][0, :, 2].tolist() == [1, 1, 1]
    # Twice as long a clip has twice as many frames, and the shortest has one.
    for samples, frames in ((32000, 6), (1600, 1), (800, 1)):
        found = teachers.targets(np.ones((1, samples)), [own], np.array([True]))
        assert found["target_0"].shape == (1, frames, 6) and found["known_0"].tolist() == [1]


def batches_of(recordings, tmp_path, **changes):
    keys = {
        "seed": 3,
        "data.root": str(recordings),
        "data.frames": 128,
        "data.pieces": 2,
        "optimizer.batch_size": 8,
        "pretraining.objective": "distill",
        **changes,
    }
    objective = {"objective": "distill", "teachers": str(tmp_path / "tones.npz")}
    config = PretrainConfig()
    config = type(config)(pretraining=type(config.pretraining)(steps=6, **objective))
    config = with_values(config, keys)
    files = training_files(recordings)
    return sound_batches(config, files, teachers_of(recordings, str(tmp_path / "tones.npz")))


def tone_power(waves):
    """The share of each tone in the power of each clip, "b tones"."""
    spectrum = np.abs(np.fft.rfft(np.asarray(waves, np.float64))) ** 2
    hz = np.fft.rfftfreq(np.shape(waves)[1], 1 / 16000)
    power = [spectrum[:, np.abs(hz - tone) < 100].sum(1) for tone in HZ.ravel()]
    return np.stack(power, axis=1) / spectrum.sum(1, keepdims=True)


def test_every_clip_has_the_targets_of_the_moments_it_plays(recordings, tmp_path):
    seen = set()
    for batch in batches_of(recordings, tmp_path)(0):
        assert batch["known_0"].tolist() == [1] * len(batch["wave"])
        found = np.asarray(batch["target_0"]).mean(1)
        # measured 0.02: a tone that begins within a clip leaks into other frequencies
        np.testing.assert_allclose(found, tone_power(batch["wave"]), rtol=0, atol=4e-2)
        seen |= set(np.flatnonzero(found.max(0) > 0.5).tolist())
    assert len(seen) >= 5  # clips of all recordings, most of them of one half


@pytest.mark.parametrize("zoo_share", [0.0, pytest.param(0.25, marks=pytest.mark.slow)])
def test_in_a_mixture_only_the_louder_clips_targets_hold(recordings, tmp_path, zoo_share):
    changes = {"data.mix_share": 1.0, "data.zoo_share": zoo_share, "data.speed": 0.2}
    known = []
    for batch in batches_of(recordings, tmp_path, **changes)(0):
        sure = np.asarray(batch["known_0"]) > 0
        target = np.asarray(batch["target_0"]).mean(1)[sure]
        power = tone_power(batch["wave"])[sure]
        # The target's tones are at least half the sound, less what leaks.
        assert ((power * (target > 1e-3)).sum(1) > 0.45).all()
        known.append(sure.mean())
    # Of the recordings, 15 in 25 prevail and 3 in 4 keep their speed.
    assert np.mean(known) == pytest.approx((1 - zoo_share) * 0.45, abs=0.15)


def test_a_batch_depends_on_seed_and_step_alone(recordings, tmp_path):
    changes = {
        "data.mix_share": 0.5,
        "data.speed": 0.2,
        "data.gain_db": 20.0,
        "data.equalizer_db": 3.0,
    }
    whole = list(batches_of(recordings, tmp_path, **changes)(0))
    later = list(batches_of(recordings, tmp_path, **changes)(4))
    assert len(whole) == 6 and len(later) == 2
    jax.tree.map(np.testing.assert_array_equal, whole[4:], later)
    other = next(batches_of(recordings, tmp_path, **changes, seed=4)(4))
    assert not np.array_equal(other["wave"], later[0]["wave"])


def test_the_student_alone_hears_the_gain(recordings, tmp_path):
    plain = next(batches_of(recordings, tmp_path)(0))
    loud = next(batches_of(recordings, tmp_path, **{"data.gain_db": 20.0})(0))
    np.testing.assert_array_equal(plain["target_0"], loud["target_0"])
    rms = np.sqrt(np.square(np.asarray(plain["wave"], np.float64)).mean(1))
    np.testing.assert_allclose(20 * np.log10(rms), -30, atol=1e-3)
    ratio = np.asarray(loud["wave"]) / np.asarray(plain["wave"])
    spread = np.nanstd(ratio[:, 100:200], axis=1)
    assert (spread < 1e-3).all() and np.ptp(np.nanmedian(ratio, axis=1)) > 0.5


def test_the_script_of_the_documentation_writes_a_file_of_targets(
    recordings, tmp_path, monkeypatch
):
    text = (Path(__file__).parents[2] / "docs" / "distillation.md").read_text()
    script = textwrap.dedent(re.search(r"\n\n(    import numpy(?:.*\n)+?)\n\w", text).group(1))
    module = types.ModuleType("my_teachers")
    module.beats = lambda waves, rate: waves.reshape(len(waves), -1, 400).std(2, keepdims=True)
    monkeypatch.setitem(sys.modules, "my_teachers", module)
    monkeypatch.chdir(tmp_path)
    exec(script.replace('"DIR"', '"sounds"'), {})
    crops = [Crop(n, 0, 16000, 1.0, round(16000 * seconds)) for n, seconds in enumerate(SECONDS)]
    found = teachers_of(Path("sounds"), "beats.npz").targets(
        np.ones((3, 16000)), crops, np.ones(3, bool)
    )
    # The teacher hears tones at -30 dB; measured 6e-6, of float16.
    np.testing.assert_allclose(found["target_0"], 10 ** (-30 / 20), rtol=0, atol=2e-3)


def test_absolute_and_relative_roots_find_the_same_targets(recordings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    crop = Crop(0, 0, 16000, 1.0, 96000)
    found = [
        teachers_of(root, "tones.npz").targets(np.ones((1, 16000)), [crop], np.ones(1, bool))
        for root in (recordings, Path("sounds"))
    ]
    jax.tree.map(np.testing.assert_array_equal, *found)
    assert found[0]["known_0"] == 1
