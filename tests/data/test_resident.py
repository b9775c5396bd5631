import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.data import resident
from asd_jax.data.clips import Clip
from asd_jax.runtime.errors import InputError

CLIPS = [Clip(f"{n}", "fan", "00", "train", "source", 0, "") for n in range(10)]
EXTRAS = [{"label": n % 3} for n in range(10)]
SAMPLES = np.random.default_rng(0).integers(-32768, 32768, (10, 6)).astype(np.int16)


def read(clip):
    return SAMPLES[int(clip.path)] / np.float32(32768)


@pytest.fixture(scope="module")
def data():
    return resident.resident_clips(CLIPS, EXTRAS, read)


def order(data, steps, size, seed=0):
    draw = jax.jit(resident.draw_batch, static_argnums=3)
    return [
        np.asarray(draw(data, jnp.int32(n), jax.random.key(seed), size)["clip"]).tolist()
        for n in steps
    ]


def test_samples_of_16_bits_stay_what_they_are(data):
    assert data["wave"].dtype == jnp.int16
    np.testing.assert_array_equal(data["wave"], SAMPLES)
    batch = resident.draw_batch(data, jnp.int32(1), jax.random.key(0), 4)
    np.testing.assert_array_equal(batch["wave"], SAMPLES[batch["clip"]] / np.float32(32768))
    np.testing.assert_array_equal(batch["label"], batch["clip"] % 3)


def test_louder_than_full_scale_is_clipped():
    data = resident.resident_clips(
        CLIPS[:2], EXTRAS[:2], lambda clip: np.array([1.5, -1.5], np.float32)
    )
    np.testing.assert_array_equal(data["wave"][0], [32767, -32768])


@pytest.mark.parametrize("size", [4, 5, 23])
def test_every_pass_holds_every_clip_once_in_a_new_order(data, size):
    drawn = np.concatenate(order(data, range(60 // size + 1), size))[:30].reshape(3, 10)
    np.testing.assert_array_equal(np.sort(drawn), np.tile(np.arange(10), (3, 1)))
    assert (drawn[0] != drawn[1]).any() and (drawn[1] != drawn[2]).any()


def test_the_order_is_a_function_of_seed_and_step(data):
    assert order(data, [3], 4) == order(data, range(5), 4)[3:4] != order(data, [3], 4, seed=1)


def test_clips_that_do_not_fit_are_refused(monkeypatch):
    class Small:
        @staticmethod
        def memory_stats():
            return {"bytes_limit": 100}

    monkeypatch.setattr(resident.jax, "devices", lambda: [Small])
    with pytest.raises(
        InputError, match="resident: the training clips take .* more than half.*resident=False"
    ):
        resident.resident_clips(CLIPS, EXTRAS, read)
