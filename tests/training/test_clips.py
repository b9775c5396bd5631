"""The clips to train on: what is refused, and the order of their batches."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.data.clips import Clip
from asd_jax.data.resident import draw_batch
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.encoder import EncoderConfig
from asd_jax.runtime.errors import InputError
from asd_jax.training import clips
from asd_jax.training.clips import TrainingClips, class_numbers, draw_from_resident
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
    simam = SimAM({"fan": "global", "pump": "local"})
    pump = [dataclasses.replace(clip, machine="pump") for clip in CLIPS[:1]]
    config = EncoderConfig(FrontEnd(simam=simam))
    _, extras = class_numbers(CLIPS[:2] + pump, config, with_domain=False)
    assert extras == [
        {"label": 0, "simam_mode": 1},
        {"label": 1, "simam_mode": 1},
        {"label": 2, "simam_mode": 2},
    ]


def test_the_domains_are_classes_where_they_are_told_apart():
    domains = [
        dataclasses.replace(CLIPS[0], domain=domain) for domain in ("target", "source", "target")
    ]
    _, extras = class_numbers(domains, EncoderConfig(), with_domain=True)
    assert [extra["label"] for extra in extras] == [1, 0, 1]
    with pytest.raises(InputError, match="one class"):
        class_numbers(domains, EncoderConfig(), with_domain=False)
    data = TrainingClips(CLIPS, read)
    assert (data.with_domain, data.resident, data.tokens, data.change) == (False, False, None, None)


def test_batches_of_a_later_start_are_the_rest_and_name_their_files(tmp_path):
    data = TrainingClips(CLIPS, read)
    batches = data.batches([{}] * 6, Job(tmp_path, seed=3), steps=5, batch_size=4)
    whole = [data.files_of(batch) for batch in batches(0)]
    assert [data.files_of(batch) for batch in batches(2)] == whole[2:] and len(whole) >= 5
    assert sorted(sum(whole, [])[:6]) == list("012345")
    first = next(iter(batches(0)))
    np.testing.assert_array_equal(first["wave"][:, 0], [float(name) for name in whole[0]])


def test_the_order_is_that_of_the_seed_and_waveforms_are_changed_as_they_are_read(tmp_path):
    def order(seed, **options):
        data = TrainingClips(CLIPS, read, **options)
        batches = data.batches([{}] * 6, Job(tmp_path, seed=seed), steps=3, batch_size=2)
        return [np.asarray(batch["wave"])[:, 0].tolist() for batch in batches(0)]

    assert order(0) == order(0) != order(1) and sorted(sum(order(0), [])) == [0, 1, 2, 3, 4, 5]
    raised = order(0, change=lambda wave, rng: wave + 10)
    assert raised == [[value + 10 for value in row] for row in order(0)]


def test_there_are_batches_for_all_steps_and_the_last_pass_may_end_early(tmp_path):
    data = TrainingClips(CLIPS, read)

    def count(steps):
        batches = data.batches([{}] * 6, Job(tmp_path), steps=steps, batch_size=4)
        return len(list(batches(0)))

    # A pass is one batch and a half; a third pass is begun only for a fourth batch.
    assert [count(steps) for steps in (1, 3, 4)] == [1, 3, 4]


def test_resident_clips_are_all_in_every_batch_and_each_step_draws_its_own(tmp_path):
    data = TrainingClips(CLIPS, lambda clip: read(clip) / 8, resident=True)
    extras = [{"label": n} for n in range(6)]
    batches = data.batches(extras, Job(tmp_path), steps=5, batch_size=4)
    every = list(batches(2))
    assert len(every) == 3 and all(batch is every[0] for batch in every)
    assert every[0]["clip"].tolist() == every[0]["label"].tolist() == list(range(6))
    assert data.files_of(every[0]) == []
    key = jax.random.key(1)
    state = SimpleNamespace(step=jnp.int32(3))
    step = draw_from_resident(lambda *of: of, 4, key)
    given, batch, step_key = step(state, every[0], "key")
    assert given is state and step_key == "key"
    expected = draw_batch(every[0], jnp.int32(3), key, 4)
    jax.tree.map(np.testing.assert_array_equal, batch, expected)
    np.testing.assert_array_equal(batch["wave"][:, 0], batch["clip"] / 8)


@pytest.mark.parametrize("resident", [False, True])
def test_clips_are_read_by_as_many_threads_as_are_asked_for(tmp_path, monkeypatch, resident):
    seen = []
    name = "resident_clips" if resident else "training_batches"
    plain = getattr(clips, name)

    def recorded(*arguments, **options):
        seen.append(options)
        return plain(*arguments, **options)

    monkeypatch.setattr(clips, name, recorded)
    data = TrainingClips(CLIPS, read, resident=resident, threads=2)
    next(iter(data.batches([{"label": 0}] * 6, Job(tmp_path), steps=3, batch_size=2)(0)))
    assert seen[0]["threads"] == 2 and TrainingClips(CLIPS, read).threads == 4
    # Three batches of two clips are one pass.
    assert resident or (seen[0]["epochs"], seen[0]["share"]) == (1, (0, 1))


def test_kept_tokens_replace_the_waveforms(tmp_path):
    tokens = [np.full((2, 3), n, np.float32) for n in range(6)]
    data = TrainingClips(CLIPS, read, tokens=tokens)
    batch = next(iter(data.batches([{}] * 6, Job(tmp_path), steps=1, batch_size=3)(0)))
    assert "wave" not in batch
    np.testing.assert_array_equal(batch["tokens"][:, 0, 0], batch["clip"])


def test_resident_clips_cannot_be_changed_as_they_are_read():
    with pytest.raises(InputError, match="data.resident=True .*augment.noise_probability"):
        TrainingClips(CLIPS, read, resident=True, change=lambda wave, rng: wave)
