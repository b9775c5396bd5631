import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.features.simam import MODES
from asd_jax.reporting import clip_cards
from asd_jax.reporting.clip_cards import Recordings, attention, clip_sections, most_wrong
from asd_jax.reporting.page import sound_url
from asd_jax.reporting.sections import ScoredSection
from asd_jax.reporting.spectrograms import decibel_range
from asd_jax.scoring.anomaly_score import score_machine
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.scoring.options import Scoring
from asd_jax.scoring.patch_bank import PatchBank, energy_patches, over_cells

RATE = 16000
SILENT = Recordings(lambda *of: None, FrontEnd("even"), "pump")


def test_a_clip_is_ranked_among_its_section():
    """Section 01's anomalies stand out a thousand times as far, which says nothing of section
    00's.
    """
    n = 40
    rng = np.random.default_rng(0)
    section = np.repeat(["00", "01"], 20)
    split = np.array(["train", "test"] * 20)
    vectors = rng.normal(size=(n, 5)) + np.outer(
        (section == "01") & (split == "test"), np.full(5, 1e3)
    )
    columns = [section, split, np.full(n, "source"), np.zeros(n, int), np.full(n, "")]
    embeddings = Embeddings(vectors.astype(np.float32), np.arange(n).astype(str), *columns)
    scoring = Scoring(distance="euclidean")
    scores = score_machine(embeddings, scoring)
    section_00 = ScoredSection.of("pump", "00", embeddings, scores)
    (found,) = clip_sections(section_00, SILENT, scoring, 1)
    assert "rank 1 of 10 test clips" in found.parts[0].facts


def test_most_wrong_are_normals_above_anomalies_and_anomalies_below_normals():
    label = np.array([0, 0, 0, 1, 1, 1, -1])
    score = np.array([0.1, 0.2, 9.0, 5.0, 6.0, 0.0, 99.0])
    # Both are on the wrong side of all others; 9 is farther from the median, which is 5.
    assert most_wrong(label, score, 1).tolist() == [5]
    assert most_wrong(label, score, 2).tolist() == [5, 2]
    # 0.1 and 0.2 are above one of three anomalies; 5 and 6 below one of three normal clips.
    assert most_wrong(label, score, 9).tolist() == [5, 2, 0, 1, 4, 3]
    assert most_wrong(np.full(3, -1), score[:3], 2).tolist() == []
    # Clips with equal scores are on no side, and one kind alone has nothing to be wrong about.
    assert most_wrong(np.array([0, 1]), np.array([1.0, 1.0]), 2).tolist() == []
    assert most_wrong(np.array([0, 0]), np.array([1.0, 2.0]), 2).tolist() == []


def two_windows(distance="euclidean"):
    """Two training and two test clips of two windows each, in one dimension and a constant."""
    places = [0.0, 1.0, 10.0, 11.0, 1.1, 4.0, 10.5, 10.8]
    vectors = np.array([[place, 3.0] for place in places])
    files = np.repeat(["t0", "t1", "a", "b"], 2)
    columns = [
        np.full(8, "00"),
        np.repeat(["train", "test"], 4),
        np.array(["source", "source", "target", "target"] * 2),
        np.array([0, 0, 0, 0, 1, 1, 0, 0]),
        np.full(8, ""),
    ]
    starts = np.tile([0.0, 1.0], 4)
    return Embeddings(vectors, files, *columns, window_start_seconds=starts)


def section_of(embeddings, score, threshold=2.0):
    clips = embeddings[embeddings.split == "test"]
    clips = clips[np.unique(clips.files, return_index=True)[1]]
    return ScoredSection("pump", "00", embeddings, clips, np.asarray(score), threshold)


def test_a_card_says_what_is_known_of_its_clip_and_of_the_nearest_normal():
    scored = section_of(two_windows(), [2.0, 3.25])
    scoring = Scoring(distance="euclidean")
    highest, wrong = clip_sections(scored, SILENT, scoring, 2)
    assert highest.title == "pump 00: highest scores" and wrong.title == "pump 00: most wrong"
    assert highest.part_of_previous and wrong.part_of_previous
    assert [card.title for card in highest.parts] == ["b", "a"]
    assert [card.title for card in wrong.parts] == ["a", "b"]  # as far from the median
    b, a = highest.parts
    assert a.facts == [
        "truth: anomaly, source domain",
        "score 2.000, threshold 2.000: called normal",
        "rank 2 of 2 test clips",
        # Of its windows, the one at 4 is farther from all normal ones.
        "nearest normal: t0 (source, euclidean distance 3)",
    ]
    assert b.facts == [
        "truth: normal, target domain",
        "score 3.250, threshold 2.000: called anomalous",
        "rank 1 of 2 test clips",
        "nearest normal: t1 (target, euclidean distance 0.5)",
    ]
    assert a.plots == [] and a.sounds == []
    assert [card.title for card in clip_sections(scored, SILENT, scoring, 1)[0].parts] == ["b"]
    right = section_of(two_windows(), [3.0, 1.0])
    assert len(clip_sections(right, SILENT, scoring, 1)) == 1
    assert clip_sections(right, SILENT, scoring, 0) == []


@pytest.mark.parametrize("distance", ["cosine", "unit_euclidean"])
def test_the_nearest_normal_is_found_with_the_distance_of_the_scoring(distance):
    """By direction alone: the normal clip of the same direction is far away in the plane."""
    vectors = np.array([[1.0, 0.0], [0.0, 100.0], [0.6, 0.8]])
    columns = [
        np.full(3, "00"),
        np.array(["train", "train", "test"]),
        np.full(3, "source"),
        np.array([0, 0, 1]),
        np.full(3, ""),
    ]
    embeddings = Embeddings(vectors, np.array(["near", "alike", "a"]), *columns)
    scored = section_of(embeddings, [1.0])
    (found,) = clip_sections(scored, SILENT, Scoring(distance=distance), 1)
    expected = {"cosine": 1 - 0.8, "unit_euclidean": np.sqrt(0.4)}[distance]
    said = f"nearest normal: alike (source, {distance} distance {expected:.4g})"
    assert found.parts[0].facts[-1] == said


def test_vectors_are_prepared_as_for_the_scoring():
    """Standardised, the second value counts as much as the first, which varies more."""
    rng = np.random.default_rng(0)
    train = rng.normal(size=(20, 2)) * [1000.0, 1.0]
    test = train[3] + [500.0, 0.01]
    columns = [
        np.full(21, "00"),
        np.array(["train"] * 20 + ["test"]),
        np.full(21, "source"),
        np.array([0] * 20 + [1]),
        np.full(21, ""),
    ]
    files = np.arange(21).astype(str)
    embeddings = Embeddings(np.vstack([train, test]), files, *columns)
    rows = (np.vstack([train, test]) - train.mean(0)) / train.std(0)
    far = np.linalg.norm(rows[:20] - rows[20], axis=1)
    scoring = Scoring(distance="euclidean", standardize=True)
    (found,) = clip_sections(section_of(embeddings, [1.0]), SILENT, scoring, 1)
    said = f"nearest normal: {far.argmin()} (source, euclidean distance {far.min():.4g})"
    assert found.parts[0].facts[-1] == said


def tone(seed, seconds=0.3, rate=RATE):
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    return (0.1 * np.sin(2 * np.pi * 440 * time) + 0.01 * rng.normal(size=len(time))).astype(
        np.float32
    )


@pytest.fixture
def drawn(monkeypatch):
    """(arguments, options) of every spectrogram that is drawn."""
    seen = []

    def draw(*arguments, **options):
        seen.append((arguments, options))
        return "<svg>"

    monkeypatch.setattr(clip_cards, "spectrograms", draw)
    return seen


def test_a_clip_and_its_nearest_normal_are_drawn_in_the_same_colours_and_can_be_heard(drawn):
    front_end = FrontEnd("even", simam=SimAM({"pump": "global"}))
    asked = []

    def read(split, file, start):
        asked.append((split, file, start))
        return tone(sum(map(ord, file)) + int(start))

    scored = section_of(two_windows(), [2.0, 1.0])
    recordings = Recordings(read, front_end, "pump")
    (highest,) = clip_sections(scored, recordings, Scoring(distance="euclidean"), 1)
    (card,) = highest.parts
    # All windows of the training clips make the bank; then the two windows are drawn.
    bank = [("train", file, start) for file in ("t0", "t1") for start in (0.0, 1.0)]
    shown = [("test", "a", 1.0), ("train", "t0", 1.0)]
    assert asked == [*bank, *shown]
    assert [plot.svg for plot in card.plots] == ["<svg>", "<svg>"]
    assert [plot.caption for plot in card.plots] == [
        "this clip: filter bank, SimAM weights, where it is odd",
        "nearest normal: filter bank, SimAM weights",
    ]
    waves = [read(*of) for of in shown]
    assert [(sound.title, sound.url) for sound in card.sounds] == [
        ("this clip", sound_url(waves[0], RATE)),
        ("nearest normal", sound_url(waves[1], RATE)),
    ]
    seen = [attention(front_end, wave, "pump") for wave in waves]
    decibels = decibel_range(np.stack([energies for energies, _ in seen]))
    for ((energies, weights, centres), options), expected in zip(drawn, seen, strict=True):
        np.testing.assert_array_equal(energies, expected[0])
        np.testing.assert_array_equal(weights, expected[1])
        np.testing.assert_array_equal(centres, front_end.filter_centres)
        assert options["decibels"] == decibels
    patches = [
        np.asarray(energy_patches(front_end.log_energies(read(*of)[None]))).reshape(-1, 64, 2)
        for of in bank
    ]
    numbers = np.repeat([0, 0, 1, 1], [len(of) for of in patches])
    by_band = np.concatenate(patches).swapaxes(0, 1)
    fitted = PatchBank.fit(by_band, np.tile(numbers, (64, 1)))
    heat = fitted.heat(np.asarray(energy_patches(seen[0][0][None])[0]))
    np.testing.assert_array_equal(drawn[0][1]["heat"], over_cells(heat, (4, 2), 28, 128))
    assert drawn[1][1]["heat"] is None


def test_without_simam_and_without_a_whole_patch_the_energies_are_shown_alone(drawn):
    scored = section_of(two_windows(), [2.0, 1.0])
    front_end = FrontEnd("even", simam=SimAM("none"))
    wave = tone(0, seconds=0.05)
    assert front_end.real_frames(len(wave)) == 3
    recordings = Recordings(lambda *of: wave, front_end, "pump")
    (highest,) = clip_sections(scored, recordings, Scoring(), 1)
    captions = ["this clip: filter bank", "nearest normal: filter bank"]
    assert [plot.caption for plot in highest.parts[0].plots] == captions
    longer = Recordings(lambda *of: tone(0, seconds=0.055), front_end, "pump")
    (highest,) = clip_sections(scored, longer, Scoring(), 1)
    assert highest.parts[0].plots[0].caption == "this clip: filter bank, where it is odd"


def test_a_normal_clip_that_is_gone_does_not_hide_the_clip_itself(drawn):
    scored = section_of(two_windows(), [2.0, 1.0])

    def read(split, file, start):
        return tone(0) if split == "test" else None

    recordings = Recordings(read, FrontEnd("even"), "pump")
    (highest,) = clip_sections(scored, recordings, Scoring(), 1)
    assert [sound.title for sound in highest.parts[0].sounds] == ["this clip"]
    assert drawn[0][1]["heat"] is None


def test_sixteen_training_clips_spread_over_all_show_what_is_usual(drawn):
    n = 131
    columns = [
        np.full(n, "00"),
        np.array(["train"] * 91 + ["test"] * 40),
        np.full(n, "source"),
        np.zeros(n, int),
        np.full(n, ""),
    ]
    vectors = np.random.default_rng(0).normal(size=(n, 4))
    embeddings = Embeddings(vectors, np.char.zfill(np.arange(n).astype(str), 3), *columns)
    asked = []

    def read(split, file, start):
        assert start == 0.0
        asked.append(int(file))
        return tone(0)

    recordings = Recordings(read, FrontEnd("even", simam=SimAM("none")), "pump")
    clip_sections(section_of(embeddings, np.zeros(40)), recordings, Scoring(), 1)
    # Of clips with equal scores, the first one is shown.
    assert asked[:16] == list(range(0, 91, 6)) and asked[16] == 91 and len(asked) == 18


@pytest.mark.parametrize(
    ("mode", "ignores", "before"),
    [("global", True, False), ("local", False, True), ("local", True, False)],
)
def test_the_weights_shown_are_those_by_which_the_encoder_multiplies(mode, ignores, before):
    settings = {
        "e_lambda": 0.1,
        "ignores_padding": ignores,
        "before_normalization": before,
        "tile": (16, 64),
    }
    front_end = FrontEnd(
        "mel", mean=-3.0, std=2.0, simam=SimAM({"pump": mode, "fan": "none"}, **settings)
    )
    wave = jnp.asarray(tone(1))
    energies, weights = attention(front_end, np.asarray(wave), "pump")
    np.testing.assert_array_equal(energies, front_end.log_energies(wave[None])[0])
    modes = jnp.full(1, MODES.index(mode))
    off = modes * 0
    # With the mode "none" nothing is multiplied.
    plain = front_end.attend(front_end.spectrogram(wave[None], off), off, len(wave))[0]
    seen = front_end.attend(front_end.spectrogram(wave[None], modes), modes, len(wave))[0]
    if before:
        plain, seen = (x * 2 * front_end.std + front_end.mean for x in (plain, seen))
    assert energies.shape == weights.shape == (28, 128)
    np.testing.assert_allclose(
        plain[:28] * weights, seen[:28], rtol=0, atol=5e-7
    )  # 2.4e-7 measured
    assert attention(front_end, np.asarray(wave), "fan")[1] is None
