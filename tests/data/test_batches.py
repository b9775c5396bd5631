import numpy as np

from asd_jax.data.batches import Examples, clip_batches, training_batches
from asd_jax.data.clips import Clip

CLIPS = [Clip(f"{n}.wav", "fan", "00", "train", "source", 0, "") for n in range(10)]
EXTRAS = [{"label": n % 3} for n in range(10)]


def read(clip):
    return np.full(4, float(clip.path.removesuffix(".wav")), np.float32)


EXAMPLES = Examples(CLIPS, EXTRAS, read)


def order(**changes):
    options = {"batch_size": 4, "epochs": 3, "seed": 0} | changes
    return [batch["clip"].tolist() for batch in training_batches(EXAMPLES, **options)]


def test_every_epoch_holds_every_clip_once_in_a_new_order():
    batches = order(batch_size=5)
    assert len(batches) == 6
    epochs = [batches[n] + batches[n + 1] for n in (0, 2, 4)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_number_of_batches_is_what_the_schedule_expects():
    assert len(order()) == 3 * 10 // 4
    assert order(epochs=0) == []


def test_a_run_resumes_by_its_step():
    assert order(start=4) == order()[4:]
    assert order(start=7) == []


def test_seed_decides_the_order():
    assert order() == order(threads=1) != order(seed=1)


def test_batches_carry_waveforms_and_what_goes_with_them():
    batch = next(training_batches(EXAMPLES, batch_size=4, epochs=1, seed=0))
    np.testing.assert_array_equal(batch["wave"][:, 0], batch["clip"])
    np.testing.assert_array_equal(batch["label"], batch["clip"] % 3)
    assert batch["wave"].shape == (4, 4) and batch["wave"].dtype == np.float32


def test_a_pass_keeps_the_order_and_fills_the_last_batch():
    batches = list(clip_batches(CLIPS, EXTRAS, read, batch_size=4))
    assert [batch["clip"].shape for batch in batches] == [(4,)] * 3
    waves = np.concatenate([batch["wave"][:, 0] for batch in batches])
    np.testing.assert_array_equal(waves, [*range(10), 8, 8])
