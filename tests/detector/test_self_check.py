import dataclasses

import numpy as np
import pytest
from detectors import FAULTY
from machine_sound import RATE

from asd_jax.detector.detector import Detector
from asd_jax.detector.notes import Kind, Note
from asd_jax.detector.self_check import SelfCheck, _histogram, filter_levels, self_check
from asd_jax.detector.views import views
from asd_jax.features.filter_bank import ENERGY_FLOOR
from asd_jax.scoring.normal_bank import NormalBank

DAYS = [f"day {n // 8}" for n in range(24)]


def fit(waves, **options):
    return Detector.fit(waves, RATE, weights=None, **options)


@pytest.fixture(scope="module")
def three_days(normal):
    return fit(normal, sessions=DAYS)


def test_three_days_are_enough_and_the_json_says_so(three_days):
    found = self_check(three_days).as_json()
    assert found["verdict"] == "enough" and not found["why"] and not found["clipped"]
    assert found["sessions"].items() >= {"count": 3, "known": True, "hours": 48 / 3600}.items()
    normal = three_days.bank.normal
    assert (found["recordings"], found["windows"]) == (24, 24)
    assert found["scores"] == {
        "least": normal.min(),
        "median": np.median(normal),
        "highest": normal.max(),
        "threshold": three_days.threshold,
    }
    assert found["histogram"] == _histogram(normal) and found["sessions"]["modes"] == 1
    assert found["floor_db"] == filter_levels(three_days).min()
    assert found["notes"] == [str(note) for note in three_days.notes]
    # 43,200 windows of 2 s a day, of which 5 % may be above the threshold on a new day.
    assert found["false_alarms_a_day"]["new_session"] == pytest.approx(2160)


def with_threshold(detector, threshold, rate=0.05):
    settings = dataclasses.replace(detector.settings, false_alarm_rate=rate)
    return dataclasses.replace(detector, threshold=threshold, settings=settings)


def test_alarms_a_day_are_those_of_these_sessions_and_the_rate_that_can_be_supported(three_days):
    scores = np.sort(three_days.bank.fused_self_scores)
    found = self_check(with_threshold(three_days, scores[-3])).false_alarms_a_day
    assert found["same_session"] == pytest.approx(43_200 * 2 / 24)
    # Of three sessions, a rate below a quarter cannot be verified with too few sounds.
    rates = [self_check(with_threshold(three_days, 1.0, rate)) for rate in (0.5, 0.04, 0.039)]
    expected = [43_200 * rate for rate in (0.5, 0.04, 0.25)]
    assert [of.false_alarms_a_day["new_session"] for of in rates] == pytest.approx(expected)
    assert [of.verdict for of in rates] == ["enough", "enough", "not enough"]


def test_a_histogram_has_twenty_bars_up_to_the_fullest():
    text = _histogram(np.repeat(np.arange(20.0), [7, 0, 1, *[0] * 15, 3, 6]))
    assert text == "█ ▂" + " " * 15 + "▄▇"


def test_windows_far_above_the_others_are_suspects_from_the_highest_down(three_days, monkeypatch):
    scores = np.linspace(0.0, 2.3, 24)  # quartiles 0.575 and 1.725: the fence is at 5.175
    scores[[5, 6, 9]] = [5.1, 5.2, 9.0]
    low, high = np.quantile(scores, [0.25, 0.75])
    fence = high + 3 * (high - low)
    scores[5] = fence
    assert 5 < fence < 9
    scores[6] = fence + 0.01
    monkeypatch.setattr(NormalBank, "deviations", scores)
    windows = dataclasses.replace(three_days.bank.windows, start=np.arange(24.0))
    bank = dataclasses.replace(three_days.bank, windows=windows)
    found = self_check(dataclasses.replace(three_days, bank=bank)).suspects
    assert found == [("recording 9", 9.0, 9.0), ("recording 6", 6.0, scores[6])]
    # Where all are alike, a window within five deviations is no suspect.
    monkeypatch.setattr(NormalBank, "deviations", np.where(np.arange(24) == 3, 5.0, 1.0))
    assert self_check(three_days).suspects == []


def check(**changes):
    plain = SelfCheck(
        recordings=2,
        windows=1,
        scores={"least": 0.5, "median": 1.25, "highest": 2.75, "threshold": 3.5},
        histogram="▁█",
        suspects=[],
        copies=[],
        notes=(),
        sessions={"count": 3, "known": True, "hours": 1.0, "modes": 1},
        floor_db=-61.4,
        clipped=False,
        false_alarms_a_day={"same_session": 12.0, "new_session": 34.0},
        verdict="enough",
        why="",
    )
    return dataclasses.replace(plain, **changes)


def test_the_lines_name_the_numbers_of_the_check():
    first, bars, sessions, alarms, verdict = check().lines()
    assert first.startswith("2 normal recordings, 1 window; ") and bars == "  0.50 ▁█ 2.75"
    assert all(f"{number}" in first for number in (1.25, 2.75, 3.5))
    said = "3 sessions, 1.0 hours, 1 operating mode; noise floor -61 dB, no clipping"
    assert sessions == said and "12 in these" in alarms and "34 in a new one" in alarms
    assert verdict.startswith("enough for")
    few = check(clipped=True, verdict="not enough", why="for any", recordings=1)
    few = dataclasses.replace(few, notes=(Note(Kind.OTHER, "a"),))
    assert few.lines()[2].endswith(" dB, clipping")
    assert few.lines()[4:] == ["not enough for any", "note: a"]


@pytest.mark.parametrize(
    ("recordings", "sessions", "said"),
    [
        (2, {"known": False, "count": 1}, "1 stretch of similar sound, "),
        (2, {"known": False, "count": 2}, "2 stretches of similar sound, "),
        (1, {"known": False, "count": 1}, "1 session, "),
        (2, {"known": True, "count": 1}, "1 session, "),
        (2, {"hours": 0.99}, "3 sessions, 59.4 minutes"),
    ],
)
def test_stretches_are_no_more_than_a_guess_of_sessions(recordings, sessions, said):
    one = check(recordings=recordings)
    changed = dataclasses.replace(one, sessions=one.sessions | sessions)
    assert changed.lines()[2].startswith(said)


@pytest.mark.parametrize("count", [10, 11, 12])
def test_ten_copies_and_suspects_are_named_and_the_others_counted(count):
    pairs = [(f"a{n}", f"b{n}") for n in range(count)]
    suspects = [(f"s{n}", 1.0 * n, 9.0) for n in range(count)]
    lines = check(copies=pairs, suspects=suspects).lines()[5:]
    assert [line.endswith(f"a{n} and b{n}") for n, line in enumerate(lines[:10])] == [True] * 10
    more = [f"... and {count - 10} more such pairs"] if count > 10 else []
    assert lines[10 : 10 + len(more)] == more and "listen" in lines[10 + len(more)]
    listed = lines[11 + len(more) :]
    assert listed == [f"  s{n} at {n}.0 s: score 9.00" for n in range(10)]


def test_sessions_of_which_one_has_no_name_are_unknown(three_days):
    names = (*DAYS[:-1], "")
    unknown = self_check(dataclasses.replace(three_days, sessions=names))
    assert not unknown.sessions["known"] and unknown.verdict == "usable, but"
    assert "(24 recordings of unknown sessions)" in unknown.why
    assert not self_check(dataclasses.replace(three_days, sessions=())).sessions["known"]


def test_one_long_recording_is_usable_as_one_session(normal):
    found = self_check(fit([np.concatenate(normal)], window_seconds=2.0))
    assert found.verdict == "usable, but" and found.sessions["count"] == 1
    assert "one session: 1 recording, cut into 24 windows" in found.why
    assert "record on three days or more" in found.why
    assert any(line.startswith("1 session, 0.8 minutes") for line in found.lines())
    assert "not enough" not in "\n".join(found.lines())


def test_too_few_windows_are_not_enough(normal):
    found = self_check(fit([np.concatenate(normal[:10])], window_seconds=2.0))
    assert found.verdict == "not enough"
    assert "10 windows of 1 recording; record at least 19" in found.why


@pytest.mark.parametrize("level_db", [-40.0, -70.0])
def test_the_noise_floor_is_that_of_white_noise(level_db, three_days):
    """The mean of a logarithm lies up to 2.5 dB below the logarithm of a mean."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 10 ** (level_db / 20), (1, 2 * RATE)).astype(np.float32)
    level = views(None, noise)[0]["level"]
    bank = dataclasses.replace(three_days.bank, vectors={"level": level})
    found = filter_levels(dataclasses.replace(three_days, bank=bank))
    assert level_db - 3.5 < found.min() < level_db < found.max() + 2.5
    assert abs(np.median(found) - level_db) < 2.5


def test_clipped_recordings_are_named_and_the_file_keeps_it(normal, tmp_path):
    loud = [(20 * wave).clip(-1, 1) if n in (3, 7) else wave for n, wave in enumerate(normal)]
    one = fit(loud, sessions=DAYS, names=[f"{n}.wav" for n in range(24)], keep_odd=True)
    (note,) = [note for note in one.notes if note.kind == Kind.CLIPPED_RECORDINGS]
    assert note == "3.wav, 7.wav: clipped: turn the input level down, and record again"
    one.save(tmp_path / "a.detector")
    found = self_check(Detector.load(tmp_path / "a.detector"))
    assert found.clipped and found.verdict == "usable, but" and "clipped" in found.why
    assert found.as_json()["clipped"] is True


def test_sound_in_the_rounding_of_samples_is_called_too_quiet(normal):
    step = np.float32(2.0**-15)
    quiet = [np.round(wave * 3e-4 / step) * step for wave in normal]
    found = self_check(fit(quiet, sessions=DAYS))
    assert found.verdict == "usable, but" and "turn the input level up" in found.why
    assert -106 < found.floor_db < -85


def test_self_check_finds_the_odd_one_and_the_copies(normal):
    recordings = [*normal, FAULTY[0], normal[3] * np.float32(1.0001)]
    check = self_check(Detector.fit(recordings, RATE, weights=None))
    assert check.copies == [("recording 3", "recording 25")]
    said = "\n".join(check.lines())
    assert (
        "left out, as it is far from all others: recording 24" in said
        and "near-duplicates, which count as one: recording 3 and" in said
    )
    clean = self_check(Detector.fit(normal, RATE, weights=None))
    assert not clean.suspects and not clean.copies


def with_levels(detector, level):
    """Returns a detector whose windows have these log energies, and vary by 1."""
    windows = dataclasses.replace(detector.bank.windows, unsteadiness=np.ones(24))
    vectors = detector.bank.vectors | {"level": level.astype(np.float32)}
    bank = dataclasses.replace(detector.bank, vectors=vectors, windows=windows)
    return dataclasses.replace(detector, bank=bank)


@pytest.mark.parametrize(("quiet", "verdict"), [(64, "enough"), (65, "usable, but")])
def test_a_sound_is_too_quiet_if_more_than_half_of_the_filters_are_at_the_floor(
    three_days, quiet, verdict
):
    rng = np.random.default_rng(0)
    floor = np.log(ENERGY_FLOOR) + rng.uniform(0.1, 0.6, (24, 128))
    level = np.where(np.arange(128) < quiet, floor, floor + 1)
    assert self_check(with_levels(three_days, level)).verdict == verdict


@pytest.mark.parametrize(("distance", "modes"), [(5.9, 1), (6.1, 2)])
def test_modes_differ_by_three_times_as_much_as_stretches(three_days, distance, modes):
    rng = np.random.default_rng(0)
    level = np.where(np.arange(24) < 12, 0, distance)[:, None] + rng.normal(0, 0.01, (24, 128))
    assert self_check(with_levels(three_days, level)).sessions["modes"] == modes
