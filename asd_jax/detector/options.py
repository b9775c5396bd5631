"""The keyword arguments of `Detector.fit` and `Detector.update`, as types that editors read."""

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np


class RecordingOptions(TypedDict, total=False):
    """What is known of the recordings, one value for each; all of it may be left out.

    Attributes:
        names: names of the recordings, for messages.
        sessions: the day, or the microphone setup, of each recording; by default stretches of
            similar sound are used.
        domains: "source" or "target" for each recording, if conditions differ; otherwise only the
            local density of the bank compensates for different conditions.
    """

    names: Sequence[str] | None
    sessions: Sequence[str] | None
    domains: Sequence[str] | None


class FitOptions(RecordingOptions, total=False):
    """How a detector is fitted; all of it may be left out.

    Attributes:
        machine: selects the SimAM mode, if the weights have one per machine.
        window_seconds: length of a window; by default the median length of the recordings, at most
            10.
        false_alarm_rate: share of normal windows of a new session that may exceed the threshold; by
            default 0.05.
        coreset_size: number of the encoder's vectors to keep; 0, the default, keeps all.
        tokens: whether `explain` compares the encoder's tokens, which localise less well than
            patches of the filter bank.
        keep_odd: whether to learn from recordings that are far from all others, too.
        trained: for each recording, whether the encoder was trained on it, so that its score is not
            meaningful.
        origin: description to store for loaded weights; for a weight file, its name and hash are
            stored.
    """

    machine: str | None
    window_seconds: float | None
    false_alarm_rate: float
    coreset_size: int
    tokens: bool
    keep_odd: bool
    trained: Sequence[bool] | np.ndarray | None
    origin: Mapping[str, str] | None


def check_options(options: Mapping[str, object], known: type) -> None:
    """Raises TypeError, as Python does for a keyword that a function does not have."""
    # At run time, Python accepts any keyword in place of those of a TypedDict.
    for name in options:
        if name not in known.__annotations__:
            raise TypeError(f"unexpected keyword argument {name!r}")
