"""Tables of normal windows and their self-scores."""

import dataclasses

import numpy as np

from asd_jax.scoring.normal_windows import NormalWindows, SelfScores, SimulatedWindows


def test_each_recording_is_a_group_and_a_session_of_one_domain():
    windows = NormalWindows.of_recordings(np.array([4, 4, 6]))
    assert windows.group.tolist() == windows.session.tolist() == [4, 4, 6]
    assert windows.domains == ["pooled"] and windows.scored.all() and len(windows) == 3


def test_rows_are_chosen_and_joined_in_every_column():
    windows = NormalWindows.of_recordings(
        np.arange(4), np.arange(4) / 2, np.array([0.1, 0.2, 0.3, 0.4])
    )
    again = windows[[3, 0]] + windows[[1]]
    assert again.recording.tolist() == [3, 0, 1] and again.start.tolist() == [1.5, 0, 0.5]
    assert again.unsteadiness.tolist() == [0.4, 0.1, 0.2]


def test_a_session_of_more_than_half_of_its_domain_cannot_be_left_out():
    windows = dataclasses.replace(
        NormalWindows.of_recordings(np.arange(8)),
        domain=np.repeat(["source", "target"], [5, 3]),
        session=np.array([1, 1, 1, 2, 2, 3, 4, 5]),
    )
    assert windows.separable_sessions("source").tolist() == [2]
    assert windows.separable_sessions("target").tolist() == [3, 4, 5]
    half = windows[[0, 1, 3, 5]]  # of four windows of the source, two are of session 1
    half = dataclasses.replace(half, domain=np.full(4, "source"), session=np.array([1, 1, 2, 3]))
    assert half.separable_sessions("source").tolist() == [1, 2, 3]


def test_later_self_scores_replace_and_complete_the_earlier_ones():
    none = SelfScores.none(4, 1, ["a"])
    first = none.with_scores(np.array([1, 1, 0, 0], bool), {"a": np.array([[1.0], [2.0]])})
    both = first.with_scores(np.array([0, 1, 0, 1], bool), {"a": np.array([[7.0], [8.0]])})
    assert both.of.tolist() == [True, True, False, True]
    assert both.values["a"][:, 0].tolist() == [1, 7, 8]
    assert both.only(np.array([1, 0, 1, 1], bool))["a"][:, 0].tolist() == [1, 8]
    assert both.extended(6).of.tolist() == [True, True, False, True, False, False]


def test_the_first_simulated_window_of_each_normal_one_is_found():
    simulated = SimulatedWindows(np.array([3, 1, 3, 0, 1]), {})
    assert len(simulated) == 5 and simulated.first.tolist() == [3, 1, 0]
    assert simulated.rows[simulated.first].tolist() == [0, 1, 3]


def test_banks_are_named_in_the_order_of_the_columns():
    windows = NormalWindows.of_recordings(np.arange(3))
    both = dataclasses.replace(windows, domain=np.array(["target", "source", "target"]))
    assert both.domains == ["source", "target"]
    assert dataclasses.replace(windows, domain=np.full(3, "target")).domains == ["target"]
    assert windows.start.tolist() == windows.unsteadiness.tolist() == [0, 0, 0]
    assert SelfScores.none(3, 2, ["a", "b"]).values["b"].shape == (0, 2)


def test_without_simulated_sessions_the_table_is_empty():
    assert len(SimulatedWindows()) == 0
