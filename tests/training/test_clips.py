"""The clips to train on: what is refused, and the order of their batches."""

import numpy as np
import pytest

from asd_jax.data.clips import Clip
from asd_jax.models.encoder import EncoderConfig
from asd_jax.runtime.errors import InputError
from asd_jax.training.clips import TrainingClips, class_numbers
from asd_jax.training.loop import Job

CLIPS = [Clip(f"{n}", "fan", "00", "train", "source", 0, f"tone_{n % 2}") for n in range(6)]


def read(clip):
    return np.full(4, float(clip.path), np.float32)


def test_one_class_is_refused_with_the_way_out():
    alone = [clip for clip in CLIPS if clip.attribute == "tone_0"]
    with pytest.raises(InputError, match="ArcFace needs at least two") as error:
        class_numbers(alone, EncoderConfig(), with_domain=False)
    assert "domain_in_class" in str(error.value)
    assert "asd_jax.evaluate --config=FILE --weights=FILE.safetensors" in str(error.value)


def test_classes_are_numbered_in_order_and_simam_has_the_mode_of_the_machine():
    classes, extras = class_numbers(CLIPS, EncoderConfig(), with_domain=False)
    assert [of[2] for of in classes] == ["tone_0", "tone_1"]
    assert [extra["label"] for extra in extras] == [0, 1] * 3
    assert {extra["simam_mode"] for extra in extras} == {
        EncoderConfig().front_end.simam.mode_of("fan")
    }


def test_batches_of_a_later_start_are_the_rest_and_name_their_files(tmp_path):
    data = TrainingClips(CLIPS, read)
    batches = data.batches([{}] * 6, Job(tmp_path, seed=3), steps=5, batch_size=4)
    whole = [data.files_of(batch) for batch in batches(0)]
    assert [data.files_of(batch) for batch in batches(2)] == whole[2:] and len(whole) >= 5
    assert sorted(sum(whole, [])[:6]) == list("012345")
    first = next(iter(batches(0)))
    np.testing.assert_array_equal(first["wave"][:, 0], [float(name) for name in whole[0]])


def test_kept_tokens_replace_the_waveforms(tmp_path):
    tokens = [np.full((2, 3), n, np.float32) for n in range(6)]
    data = TrainingClips(CLIPS, read, tokens=tokens)
    batch = next(iter(data.batches([{}] * 6, Job(tmp_path), steps=1, batch_size=3)(0)))
    assert "wave" not in batch
    np.testing.assert_array_equal(batch["tokens"][:, 0, 0], batch["clip"])


def test_resident_clips_cannot_be_changed_as_they_are_read():
    with pytest.raises(InputError, match="data.resident=True .*augment.noise_probability"):
        TrainingClips(CLIPS, read, resident=True, change=lambda wave, rng: wave)
