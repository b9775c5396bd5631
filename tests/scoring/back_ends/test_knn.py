import numpy as np
import pytest
from scoring.banks import by_loop
from sklearn.neighbors import NearestNeighbors

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends import knn as module
from asd_jax.scoring.back_ends.knn import knn, nearest

RNG = np.random.default_rng(0)
BANK = RNG.normal(size=(70, 12)) + 3
TEST = RNG.normal(size=(23, 12)) + 3


@pytest.fixture(params=[(1024, 4096), (5, 8)], ids=["one block", "many blocks"])
def blocks(request, monkeypatch):
    monkeypatch.setattr("asd_jax.scoring.back_ends.knn._QUERY_ROWS", request.param[0])
    monkeypatch.setattr("asd_jax.scoring.back_ends.knn._BANK_ROWS", request.param[1])


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("k", [1, 3, 11])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_neighbours_are_those_of_the_brute_force_loop_and_of_scikit_learn(distance, k):
    expected = np.sort(by_loop(TEST, BANK, distance), axis=1)[:, :k]
    distances, rows = nearest(TEST, BANK, k, distance)
    # measured 8.9e-16; the requirement is 1e-9
    assert np.abs(distances - expected).max() <= 1.8e-15
    sklearn = NearestNeighbors(n_neighbors=k, metric=distance, algorithm="brute").fit(BANK)
    assert np.array_equal(rows, sklearn.kneighbors(TEST)[1])


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_self_scores_leave_only_the_clip_itself_out(distance, k):
    found = knn({"source": BANK, "target": TEST}, distance=distance, k=k).self_scores()
    pairs = by_loop(BANK, BANK, distance)
    np.fill_diagonal(pairs, np.inf)
    assert found["source"]["source"] == pytest.approx(
        np.sort(pairs, axis=1)[:, :k].mean(1), abs=1e-14
    )
    across = np.sort(by_loop(BANK, TEST, distance), axis=1)[:, :k].mean(1)
    assert found["source"]["target"] == pytest.approx(across, abs=1e-14)


@pytest.mark.usefixtures("blocks")
def test_self_scores_of_groups_leave_a_tenth_of_them_out():
    group = np.arange(70) // 3  # 24 groups in ten folds
    fold = group % 10
    own = knn({"source": BANK}, k=2).self_scores({"source": group})["source"]["source"]
    pairs = by_loop(BANK, BANK, "cosine")
    pairs[fold[:, None] == fold] = np.inf
    assert own == pytest.approx(np.sort(pairs, axis=1)[:, :2].mean(1), abs=1e-14)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_neighbours_of_scaled_distances_are_chosen_after_scaling(distance):
    scale = RNG.uniform(0.1, 10, len(BANK))
    expected = by_loop(TEST, BANK, distance) / scale
    distances, rows = nearest(TEST, BANK, 3, distance, scale=scale)
    assert np.array_equal(rows, np.argsort(expected, axis=1)[:, :3])
    assert distances == pytest.approx(np.sort(expected, axis=1)[:, :3], abs=1e-14)


def test_a_double_has_distance_zero_exactly_and_is_a_clips_own_neighbour():
    bank = np.concatenate([BANK, BANK[:3]]) * 1e3
    for distance in ("cosine", "euclidean"):
        assert np.all(nearest(BANK * 1e3, bank, 1, distance)[0] == 0)
        assert np.all(
            knn({"source": bank}, distance=distance).self_scores()["source"]["source"][-3:] == 0
        )


def test_near_duplicates_keep_their_relative_distance():
    # 1 - cos is 1e-18: nothing is left of it in 1 minus a product
    other = BANK[0] * (1 + 1e-9 * RNG.normal(size=12))
    u, v = (
        x / np.linalg.norm(x) for x in (BANK[0].astype(np.longdouble), other.astype(np.longdouble))
    )
    expected = float(np.sum((u - v) ** 2) / 2)
    assert nearest(other[None], BANK[:1], 1, "cosine")[0][0, 0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("k, left", [(100, 70), (70, 70)])
def test_k_is_clamped_to_the_bank_and_to_one_less_within_it(k, left):
    assert nearest(TEST, BANK, k)[0].shape == (23, left)
    assert nearest(BANK, BANK, k, leave_one_out=True)[0].shape == (70, 69)


def test_a_bank_of_one_clip_has_no_self_score():
    found = knn({"source": BANK, "target": TEST[:1]}).self_scores()
    assert np.isnan(found["target"]["target"]).all()
    assert not np.isnan(found["target"]["source"]).any()


def test_a_zero_vector_is_at_cosine_distance_one_from_everything():
    zeros = np.zeros((1, 12))
    found = [nearest(*pair)[0][0, 0] for pair in ((zeros, BANK), (BANK[:1], zeros), (zeros, zeros))]
    assert found == pytest.approx([1, 1, 1], abs=1e-15)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("on_device", [False, True])
def test_a_zero_vector_is_no_nearer_than_a_clip_at_cosine_distance_less_than_one(
    monkeypatch, large, on_device
):
    monkeypatch.setattr(module, "_LARGE", 1 if large else 100_000)
    bank = np.zeros((12, 2), np.float32)
    bank[3] = 0.3, np.sqrt(1 - 0.09)
    distances, rows = nearest(np.array([[1.0, 0.0]]), bank, 2, "cosine", on_device=on_device)
    assert distances[0] == pytest.approx([0.7, 1], abs=1e-7) and rows[0, 0] == 3


def test_clip_order_and_embedding_scale_change_nothing():
    order = RNG.permutation(len(BANK))
    scale = RNG.uniform(0.1, 10, (len(BANK), 1))
    score = knn({"source": BANK}, k=3).score(TEST)["source"]
    assert knn({"source": BANK[order]}, k=3).score(7 * TEST)["source"] == pytest.approx(
        score, abs=1e-15
    )
    assert knn({"source": BANK * scale}, k=3).score(TEST)["source"] == pytest.approx(
        score, abs=1e-15
    )


def test_a_float32_bank_is_never_copied_whole(monkeypatch):
    seen = []
    original = module.unit_or_plain
    monkeypatch.setattr(
        module, "unit_or_plain", lambda v, *a: seen.append(len(v)) or original(v, *a)
    )
    nearest(TEST, np.zeros((10_000, 12), np.float32), 1, "euclidean")
    assert max(seen) <= 4096


@pytest.fixture
def large(monkeypatch):
    """Float32 banks count as large from the first row on."""
    monkeypatch.setattr("asd_jax.scoring.back_ends.knn._LARGE", 1)
    monkeypatch.setattr("asd_jax.scoring.back_ends.knn._BANK_ROWS", 16)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_the_float32_search_of_large_banks_finds_the_same_neighbours(distance, k, on_device):
    bank = np.random.default_rng(1).normal(size=(300, 12)).astype(np.float32)
    for queries, own in ((TEST, False), (bank[: len(TEST)], False), (bank, True)):
        expected = nearest(queries, bank.astype(np.float64), k, distance, leave_one_out=own)
        found = nearest(queries, bank, k, distance, leave_one_out=own, on_device=on_device)
        assert np.array_equal(found[1], expected[1])
        assert np.array_equal(found[0], expected[0])


@pytest.fixture
def searches(monkeypatch):
    """The precision, and the number of queries, of each search on the host."""
    found = []
    original = module._closest_rows

    def recorded(query, *args, **options):
        found.append((query.dtype, len(query)))
        return original(query, *args, **options)

    monkeypatch.setattr(module, "_closest_rows", recorded)
    return found


@pytest.mark.parametrize(
    ("rows", "k", "options", "precision"),
    [
        (20, 1, {}, np.float32),
        (19, 1, {}, np.float64),
        (20, 11, {}, np.float32),
        (20, 12, {}, np.float64),  # with eight to spare, and one beyond them
        (20, 1, {"scale": np.ones(20)}, np.float64),
    ],
)
def test_only_a_large_bank_is_searched_in_float32_first(
    monkeypatch, searches, rows, k, options, precision
):
    monkeypatch.setattr(module, "_LARGE", 20)
    bank = np.random.default_rng(0).normal(size=(rows, 3)).astype(np.float32)
    nearest(TEST[:1, :3], bank, k, **options)
    assert searches[0] == (precision, 1)
    searches.clear()
    nearest(TEST[:1, :3], bank.astype(np.float64), k, **options)
    assert searches == [(np.float64, 1)]


def test_a_bank_is_large_from_100_000_clips_on(searches):
    bank = np.arange(1e5, dtype=np.float32)[:, None]
    for rows, precision in ((bank, np.float32), (bank[1:], np.float64)):
        searches.clear()
        nearest(np.array([[5.0]]), rows, 1, "euclidean")
        assert searches[0] == (precision, 1)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_clips_far_apart_are_searched_in_float32_alone(searches, distance):
    bank = np.random.default_rng(1).normal(size=(300, 12)).astype(np.float32)
    found = nearest(bank[:20], bank, 2, distance)[1]
    assert searches == [(np.float32, 20)] and found[:, 0].tolist() == list(range(20))


@pytest.mark.usefixtures("large")
def test_only_the_queries_in_doubt_are_searched_again(searches):
    """The first ten rows of the bank are one clip, to which the first query is the nearest."""
    bank = np.random.default_rng(1).normal(size=(300, 12)).astype(np.float32)
    bank[:10] = bank[0]
    nearest(bank[9:20], bank, 2, "euclidean", leave_one_out=False)
    assert searches == [(np.float32, 11), (np.float64, 1)]


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("on_device", [False, True])
def test_zero_vectors_in_a_bank_need_no_second_search(searches, on_device):
    """Their distance of 1 is more than that of the nearest clips."""
    bank = np.random.default_rng(1).normal(size=(300, 12)).astype(np.float32)
    bank[20:60] = 0
    found = nearest(bank[:20] + 0.1, bank, 2, "cosine", on_device=on_device)[1]
    assert found[:, 0].tolist() == list(range(20))
    assert searches == ([] if on_device else [(np.float32, 20)])


@pytest.mark.usefixtures("large")
def test_the_device_searches_only_if_it_is_asked(searches):
    bank = np.random.default_rng(1).normal(size=(300, 12)).astype(np.float32)
    for on_device, count in ((True, 0), (False, 1)):
        knn({"source": bank}, on_device=on_device).score(TEST)
        assert len(searches) == count


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("bank", ["far off", "doubles", "beyond float32"])
def test_what_float32_cannot_settle_is_searched_in_float64(monkeypatch, bank, on_device):
    """Far from the origin, squares differ by less than their float32 rounding; doubles tie; 1e25
    squared overflows.
    """
    rng = np.random.default_rng(0)
    bank = {
        "far off": rng.normal(size=(300, 12)) + 3e3,
        "doubles": np.repeat(rng.normal(size=(10, 12)), 30, axis=0),
        "beyond float32": rng.normal(size=(300, 12)) * 1e25,
    }[bank].astype(np.float32)
    searched = []
    original = module._closest_rows
    monkeypatch.setattr(
        module, "_closest_rows", lambda q, *a: searched.append(q.dtype) or original(q, *a)
    )
    found = nearest(bank[:20] + 0.0, bank, 2, "euclidean", on_device=on_device)[0]
    assert np.float64 in searched
    expected = np.sort(
        by_loop(bank[:20].astype(np.float64), bank.astype(np.float64), "euclidean"), axis=1
    )[:, :2]
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "arguments, said",
    [
        ((TEST, BANK, 0), "at least 1"),
        ((TEST, BANK, 1, "manhattan"), "cosine"),
        ((TEST[:, :3], BANK), "must be equal"),
    ],
)
def test_impossible_arguments_are_named(arguments, said):
    with pytest.raises(InputError, match=said):
        nearest(*arguments)
