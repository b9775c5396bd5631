import numpy as np

from asd_jax.scoring.patch_bank import (
    CONSIDERED,
    KEPT,
    Considered,
    PatchBank,
    energy_patches,
    over_cells,
)

RNG = np.random.default_rng(0)
NORMAL = RNG.normal(size=(12, 5, 3, 2))  # recordings, times, bands, values


def bank_of(normal):
    considered = Considered()
    for number, patches in enumerate(normal):
        considered.add(patches[None], number)
    return PatchBank.fit(*considered.bands())


def test_heat_is_where_a_patch_leaves_what_is_normal_there():
    bank = bank_of(NORMAL + np.array([0, 10, 20])[:, None])
    test = NORMAL[0] + np.array([0, 10, 20])[:, None]
    test[3, 1] += 10  # what is normal in the next band
    heat = bank.heat(test)
    assert (
        np.unravel_index(heat.argmax(), heat.shape) == (3, 1)
        and heat[3, 1] > 10 > 5 > np.delete(heat, 10).max()
    )


def test_usual_distances_are_to_other_recordings():
    heard_twice = np.repeat(NORMAL[:, :1], 5, axis=1)  # within a recording all patches are the same
    assert (bank_of(heard_twice).usual[:, 0] > 0.1).all()
    alone = bank_of(NORMAL[:1])
    assert np.isfinite(alone.usual).all() and (alone.usual[:, 1] > 0).all()


def test_size_is_bounded_and_every_recording_has_its_share():
    considered = Considered()
    for number in range(40):
        considered.add(RNG.normal(size=(4, 25, 2, 3)), number)
    bands, recording = considered.bands()
    counts = np.bincount(recording[0], minlength=40)
    # 25.6 expected
    assert bands.shape == (2, CONSIDERED, 3) and 10 <= counts.min() and counts.max() <= 45
    assert PatchBank.fit(bands, recording).vectors.shape == (2, KEPT, 3)


def test_patches_are_means_and_cover_the_cells():
    energies = np.arange(9 * 6, dtype=np.float32).reshape(1, 9, 6)
    patches = energy_patches(energies)
    assert patches.shape == (1, 2, 3, 2) and patches[0, 1, 2, 1] == energies[0, 4:8, 5].mean()
    cells = over_cells(np.arange(6.0).reshape(2, 3), (4, 2), 9, 6)
    assert cells[[0, 3, 4, 8], [0, 1, 2, 5]].tolist() == [0, 0, 4, 5]
