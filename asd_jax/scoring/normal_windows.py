"""Tables of a machine's normal sounds: their windows, simulated sessions of them, self-scores."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int

# The banks of normal sounds, in the order of the columns of scores.
BANKS = ("pooled", "source", "target")


@dataclasses.dataclass(frozen=True)
class NormalWindows:
    """The windows of the normal sounds, one row "n" each.

    Attributes:
        recording: number of the window's recording.
        start: start of the window in its recording, in seconds.
        unsteadiness: root mean square difference between the log spectra of the window's halves.
        domain: "source" or "target", or "pooled" for all windows.
        group: windows of one group are never compared with each other: those of one recording and
            of its copies.
        session: number of the window's session.
        scored: whether its self-score is reliable; it is not if an encoder was trained on it.
    """

    recording: Int[np.ndarray, "n"]
    start: Float[np.ndarray, "n"]
    unsteadiness: Float[np.ndarray, "n"]
    domain: np.ndarray
    group: Int[np.ndarray, "n"]
    session: Int[np.ndarray, "n"]
    scored: Bool[np.ndarray, "n"]

    @classmethod
    def of_recordings(
        cls,
        recording: Int[np.ndarray, "n"],
        start: Float[np.ndarray, "n"] | None = None,
        unsteadiness: Float[np.ndarray, "n"] | None = None,
    ) -> "NormalWindows":
        """Returns windows of one domain, each of whose recordings is a group and a session."""
        none = np.zeros(len(recording))
        return cls(
            recording=recording,
            start=none if start is None else start,
            unsteadiness=none if unsteadiness is None else unsteadiness,
            domain=np.full(len(recording), "pooled"),
            group=recording,
            session=recording,
            scored=np.ones(len(recording), bool),
        )

    def __len__(self) -> int:
        return len(self.recording)

    def __getitem__(self, rows) -> "NormalWindows":
        columns = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return NormalWindows(**{name: column[rows] for name, column in columns.items()})

    def __add__(self, more: "NormalWindows") -> "NormalWindows":
        names = [field.name for field in dataclasses.fields(self)]
        parts = {name: (getattr(self, name), getattr(more, name)) for name in names}
        return NormalWindows(**{name: np.concatenate(pair) for name, pair in parts.items()})

    @property
    def domains(self) -> list[str]:
        """Returns the names of the banks: source and target, or one of the three domains."""
        return [name for name in BANKS if name in self.domain]

    def separable_sessions(self, domain: str) -> Int[np.ndarray, "s"]:
        """Returns the sessions of a domain that hold at most half of its windows.

        Only these can be left out, because enough windows must remain to compare with.
        """
        numbers, counts = np.unique(self.session[self.domain == domain], return_counts=True)
        # In whole numbers, as a share of exactly one half must count.
        return numbers[2 * counts <= counts.sum()]


@dataclasses.dataclass(frozen=True)
class SimulatedWindows:
    """Normal windows as they might sound in another session.

    Attributes:
        rows: "m", the normal window of each simulated one; a window may have several.
        vectors: {view: "m ..."}.
    """

    rows: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, np.int64))
    vectors: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def first(self) -> Int[np.ndarray, "s"]:
        """Returns the position of the first simulated window of each normal window."""
        return np.unique(self.rows, return_index=True)[1]


@dataclasses.dataclass(frozen=True)
class SelfScores:
    """Scores of normal windows by banks that do not hold them.

    Attributes:
        of: mask "n" of the windows that have scores.
        values: {scorer: scores of those windows against the bank of each domain, "k d"}.
    """

    of: Bool[np.ndarray, "n"]
    values: Mapping[str, Float[np.ndarray, "k d"]]

    @classmethod
    def none(cls, windows: int, domains: int, scorers) -> "SelfScores":
        """Returns no scores of this many windows."""
        empty = np.empty((0, domains))
        return cls(np.zeros(windows, bool), dict.fromkeys(scorers, empty))

    def extended(self, windows: int) -> "SelfScores":
        """Returns the same scores as those of the first of more windows."""
        return SelfScores(np.pad(self.of, (0, windows - len(self.of))), self.values)

    def with_scores(
        self, of: Bool[np.ndarray, "n"], values: Mapping[str, np.ndarray]
    ) -> "SelfScores":
        """Returns these scores and those of further windows, which replace any of the same."""
        both = self.of | of
        merged = {}
        for scorer, own in self.values.items():
            scores = np.empty((len(both), own.shape[1]))
            scores[self.of] = own
            scores[of] = values[scorer]
            merged[scorer] = scores[both]
        return SelfScores(both, merged)

    def only(self, of: Bool[np.ndarray, "n"]) -> dict[str, np.ndarray]:
        """Returns {scorer: scores of some of the windows that have scores}."""
        return {scorer: own[of[self.of]] for scorer, own in self.values.items()}
