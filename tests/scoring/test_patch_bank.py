import numpy as np
import pytest

from asd_jax.scoring.patch_bank import (
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


def test_heat_is_the_distance_in_deviations_of_those_to_other_recordings():
    x = np.array([0.0, 1, 4, 8])[None, :, None]
    bank = PatchBank.fit(x, np.array([[0, 0, 1, 1]]))
    usual = np.array([4.0, 3, 3, 7])
    assert bank.usual == pytest.approx(np.array([[usual.mean(), usual.std()]]))
    found = bank.heat(np.array([[[2.0]], [[8.0]]]))
    assert found == pytest.approx((np.array([[1.0], [0.0]]) - usual.mean()) / usual.std())
    assert bank.recording.tolist() == [[0, 0, 1, 1]] and bank.vectors.tolist() == x.tolist()


def test_copies_and_a_recording_alone_have_a_deviation():
    alone = PatchBank.fit(np.arange(3.0)[None, :, None], np.zeros((1, 3), int))
    assert alone.usual == pytest.approx(np.array([[0, 1e-6]]))
    copies = PatchBank.fit(np.ones((1, 4, 1)), np.array([[0, 0, 1, 1]]))
    assert copies.usual == pytest.approx(np.array([[0, 1e-6]]))


def test_a_patch_without_a_kept_rival_of_another_recording_has_no_usual_distance():
    """All 64 kept patches are of recording 0, so that only that of recording 1 has a distance."""
    x = np.r_[np.arange(64) * 100, 0.5][None, :, None]
    bank = PatchBank.fit(x, np.r_[np.zeros(64, int), 1][None])
    assert set(bank.recording[0]) == {0}
    assert bank.usual == pytest.approx(np.array([[0.5, 1e-6]]))


def test_patches_of_other_bands_are_refused():
    bank = bank_of(NORMAL)
    with pytest.raises(ValueError):
        bank.heat(NORMAL[0][:, :2])


def test_the_same_recordings_give_the_same_sample():
    one, other = Considered(), Considered()
    for number in range(30):
        patches = np.random.default_rng(number).normal(size=(1, 50, 1, 2))
        one.add(patches, number)
        other.add(patches, number)
    assert all(np.array_equal(a, b) for a, b in zip(one.bands(), other.bands(), strict=True))


def test_size_is_bounded_and_every_recording_has_its_share():
    considered = Considered()
    for number in range(40):
        considered.add(RNG.normal(size=(4, 25, 2, 3)), number)
    bands, recording = considered.bands()
    counts = np.bincount(recording[0], minlength=40)
    # 25.6 expected
    assert bands.shape == (2, 1024, 3) and 10 <= counts.min() and counts.max() <= 45
    assert PatchBank.fit(bands, recording).vectors.shape == (2, 64, 3)


def test_patches_are_means_and_cover_the_cells():
    energies = np.arange(9 * 6, dtype=np.float32).reshape(1, 9, 6)
    patches = energy_patches(energies)
    assert patches.shape == (1, 2, 3, 2) and patches[0, 1, 2, 1] == energies[0, 4:8, 5].mean()
    assert energy_patches(np.zeros((1, 11, 7))).shape == (1, 2, 3, 2)
    cells = over_cells(np.arange(6.0).reshape(2, 3), (4, 2), 9, 6)
    assert cells[[0, 3, 4, 8], [0, 1, 2, 5]].tolist() == [0, 0, 4, 5]
    # Cells beyond the last whole patch, in time and frequency.
    edge = over_cells(np.arange(6.0).reshape(2, 3), (4, 2), 11, 8)
    assert (
        edge[10].tolist() == [3, 3, 4, 4, 5, 5, 5, 5] and edge[:, 7].tolist() == [2] * 4 + [5] * 7
    )
