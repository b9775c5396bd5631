"""What a detector knows of its recordings, and what further ones must say."""

import dataclasses

import numpy as np
import pytest
from machine_sound import RATE, sound

from asd_jax.detector import learning
from asd_jax.detector.detector import Detector
from asd_jax.detector.learning import recording_table, with_window
from asd_jax.detector.settings import Settings
from asd_jax.runtime.errors import InputError
from asd_jax.scoring.normal_windows import SimulatedWindows
from asd_jax.training.weights import load_pipeline, origin_entries

FURTHER = [sound(300 + n) for n in range(2)]


def test_the_table_of_a_detector_names_each_recording_once(plain):
    table = recording_table(plain)
    assert table.names == plain.names and len(set(table.names)) == len(table.names)
    assert table.domains == ("pooled",) * 24 and table.trained == (False,) * 24
    assert table.sessions == plain.sessions == ("",) * 24
    windows = dataclasses.replace(plain.bank.windows, scored=np.arange(24) != 3)
    bank = dataclasses.replace(plain.bank, windows=windows)
    assert recording_table(dataclasses.replace(plain, bank=bank)).trained.index(True) == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"names": ["a"]}, "names of 1 recordings, but 2 are given"),
        ({"sessions": ["a"] * 3}, "sessions of 3 recordings, but 2 are given"),
    ],
)
def test_what_is_not_said_of_each_further_recording_is_refused(plain, given, message):
    with pytest.raises(InputError, match=message):
        plain.update(FURTHER, **given)


def test_a_detector_of_two_domains_asks_for_the_domain_of_further_recordings(plain):
    domain = plain.bank.windows.domain.copy()
    domain[::2] = "source"
    domain[1::2] = "target"
    windows = dataclasses.replace(plain.bank.windows, domain=domain)
    bank = dataclasses.replace(plain.bank, windows=windows)
    with pytest.raises(InputError, match="say source or target of each recording added"):
        dataclasses.replace(plain, bank=bank).update(FURTHER)


@pytest.fixture
def fitted(monkeypatch):
    """What a fit is given, in place of the fit."""
    calls = []

    def fit_bank(*given, **options):
        calls.append((given, options))
        raise StopIteration

    monkeypatch.setattr(learning, "fit_bank", fit_bank)
    return calls


def test_what_a_fit_is_asked_for_reaches_the_bank(normal, fitted):
    odd = {"keep_odd": True, "coreset_size": np.int64(7), "false_alarm_rate": 0.2}
    for options in ({}, odd | {"sample_rate": RATE}):
        with pytest.raises(StopIteration):
            Detector.fit(normal[:3], weights=None, names=["a", "b", "c"], **options)
    (default, first), (given, second) = fitted
    assert default[1] == Settings(RATE, 2.0, 0.05)
    assert first == {"coreset_size": 0, "first_removable": 0}
    assert second == {"coreset_size": 7, "first_removable": None}
    assert given[1] == Settings(RATE, 2.0, 0.2) and given[3].names == ("a", "b", "c")


def test_what_an_update_is_asked_for_reaches_the_bank(plain, fitted):
    reduced = dataclasses.replace(plain, reduced=True)
    for detector, options in ((plain, {}), (reduced, {"keep_odd": True})):
        with pytest.raises(StopIteration):
            detector.update(FURTHER, domains=["source", "target"], **options)
    (given, first), (_, second) = fitted
    assert first == {"known": None, "first_removable": 24}
    assert second["first_removable"] is None
    assert second["known"].rows["level"].tolist() == [*plain.bank.rows["level"], 24, 25]
    processed, table = given[2:]
    assert processed.recordings == 26 and len(table.names) == 26
    assert table.names[24:] == ("recording 24", "recording 25")
    # A detector that does not tell domains apart ignores those of further recordings.
    assert set(table.domains) == {"pooled"}


def test_vectors_that_were_left_out_are_zero_and_an_empty_simulation_can_be_joined(plain):
    rows = plain.bank.rows | {"level": np.array([5, 2])}
    vectors = plain.bank.vectors | {"level": plain.bank.vectors["level"][:2]}
    bank = dataclasses.replace(plain.bank, rows=rows, vectors=vectors, simulated=SimulatedWindows())
    found = learning._processed(dataclasses.replace(plain, bank=bank, patches=None))
    level = found.vectors["level"]
    assert np.array_equal(level[[5, 2]], vectors["level"]) and np.count_nonzero(level.any(1)) == 2
    assert found.simulated.vectors["level"].shape == (0, 128) and found.patches is None


def test_the_usual_window_is_the_default_and_a_given_one_is_checked_where_it_can_be():
    waves = [np.zeros(16000), np.zeros(48000), np.zeros(32000)]
    given = Settings(RATE, 21.0)
    assert with_window(waves, given, default=True)[1].window_seconds == 2.0
    with pytest.raises(
        InputError, match="windows of 31 s, but the longest of 3 recordings lasts 3"
    ):
        with_window(waves, Settings(RATE, 31.0), default=False)
    for lazy in (iter(waves), waves):
        assert with_window(lazy, given, default=False) == (lazy, given)


def test_an_encoder_keeps_where_it_is_from(encoder_file):
    pipeline = load_pipeline(encoder_file)
    found, origin = learning._encoder(encoder_file, {"origin": {"file": "other"}})
    assert origin == origin_entries(encoder_file) and found.config == pipeline.config
    assert learning._encoder(pipeline, {"origin": {"file": "a"}})[1] == {"file": "a"}
    assert learning._encoder(pipeline, {}) == (pipeline, {})
    assert learning._encoder(None, {}) == (None, {})


def test_an_encoder_of_several_machines_takes_the_mode_of_this_one(monkeypatch, encoder_file):
    asked = []
    monkeypatch.setattr(learning, "for_machine", lambda pipeline, name: asked.append(name))
    learning._encoder(load_pipeline(encoder_file), {"machine": "pump"})
    assert asked == ["pump"]
