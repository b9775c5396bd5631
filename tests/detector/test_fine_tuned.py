"""Claims about an encoder that is trained on one user's classes."""

import contextlib
import dataclasses

import numpy as np
import pytest
import soundfile
from machine_sound import RATE

from asd_jax.data.clips import Clip
from asd_jax.detector.fine_tuned import fine_tuned
from asd_jax.models.encoder import Pooling
from asd_jax.runtime.errors import InputError
from asd_jax.training.weights import load_pipeline


@pytest.fixture(scope="module")
def pipeline(encoder_file):
    return load_pipeline(encoder_file)


@pytest.fixture
def clips(tmp_path):
    """Returns a function that makes so many recordings of each class."""

    def make(**classes):
        made = []
        for name, count in classes.items():
            for n in range(count):
                path = tmp_path / f"{name}{n}.wav"
                soundfile.write(path, np.zeros(4800), RATE)
                made.append(Clip(str(path), "pump", "00", "train", "unknown", 0, name))
        return made

    return make


def test_the_training_has_a_share_of_each_class_and_the_rest_is_held_out(
    pipeline, clips, tmp_path, monkeypatch
):
    given = clips(slow=10, fast=3)
    trained_on = []

    def train(config, pretrained, data, settings, job):
        trained_on.append([window.path for window in data.clips])
        assert job.workdir == tmp_path and settings.epochs == 2 and settings.batch_size == 9
        assert job.seed == (len(trained_on) == 3)
        assert data.read(data.clips[0]).shape == (4800,)
        return {"trained": pretrained}

    monkeypatch.setattr("asd_jax.detector.fine_tuned.fine_tune", train)

    def fit(seed):
        return fine_tuned(
            pipeline,
            given,
            lambda clip: np.zeros(4000, np.float32),
            window_seconds=0.3,
            workdir=contextlib.nullcontext(tmp_path),
            epochs=2,
            seed=seed,
        )

    trained_pipeline, trained = fit(seed=0)
    assert (trained[:10].sum(), trained[10:].sum()) == (7, 2)
    assert trained_on[0] == [clip.path for clip, used in zip(given, trained, strict=True) if used]
    assert trained_pipeline.params.keys() == {"trained"}
    assert trained_pipeline.config.pooling == Pooling("attentive_statistics", -1, 256)
    assert np.array_equal(fit(seed=0)[1], trained) and not np.array_equal(fit(seed=1)[1], trained)


def test_recordings_are_cut_into_windows_and_trained_on_for_ten_epochs(
    pipeline, clips, tmp_path, monkeypatch
):
    seen = []
    monkeypatch.setattr(
        "asd_jax.detector.fine_tuned.fine_tune", lambda *given: seen.append(given) or {}
    )
    recording = np.arange(4800, dtype=np.float32)
    fine_tuned(
        pipeline,
        clips(slow=7, fast=6),
        lambda clip: recording,
        window_seconds=0.15,
        workdir=contextlib.nullcontext(tmp_path),
    )
    ((_, _, data, settings, job),) = seen
    # Two windows of each of the nine recordings that are not held out
    assert [(w.start, w.samples) for w in data.clips] == [(0, 2400), (2400, 2400)] * 9
    assert np.array_equal(data.read(data.clips[1]), recording[2400:])
    assert (settings.epochs, settings.batch_size, job.seed) == (10, 16, 0)


def test_an_encoder_without_eat_has_nothing_to_train(pipeline, clips):
    bare = dataclasses.replace(pipeline, config=dataclasses.replace(pipeline.config, eat=None))
    with pytest.raises(InputError, match="nothing to train"):
        fine_tuned(bare, clips(a=3, b=3), abs, window_seconds=0.3, workdir=_Unused())


@pytest.mark.parametrize(
    ("classes", "weights", "message"),
    [
        ({"slow": 9}, True, "--fine_tune needs recordings of two classes or more: subfolders"),
        ({"slow": 9, "fast": 2}, True, "--fine_tune: 2 recordings of class 'fast'; at least 3"),
        ({"slow": 3, "fast": 3}, False, "--fine_tune: the filter bank has nothing to train"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_a_folder_is_made(
    pipeline, clips, classes, weights, message
):
    with pytest.raises(InputError, match=f"^{message}"):
        fine_tuned(
            pipeline if weights else None,
            clips(**classes),
            lambda clip: np.zeros(4800, np.float32),
            window_seconds=0.3,
            workdir=_Unused(),
        )


class _Unused(contextlib.AbstractContextManager):
    def __enter__(self):
        raise AssertionError("the folder was asked for")

    def __exit__(self, *_):
        pass
