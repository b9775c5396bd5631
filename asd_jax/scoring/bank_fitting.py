"""Makes the bank of a machine's normal sounds: which scores they have, and which scorers vote.

The self-score of a window is computed with a bank, a preparation and a fit without its recording,
and once more without its session.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.normal_bank import FEWEST_TO_COMPARE, NormalBank
from asd_jax.scoring.normal_windows import NormalWindows, SelfScores, SimulatedWindows
from asd_jax.scoring.options import Scoring
from asd_jax.scoring.scorers import fit_scorer, folds, scorers_of


@dataclasses.dataclass(frozen=True)
class Views:
    """The views of a bank: what scores them, and how far each is trusted.

    Attributes:
        scoring: {view: its back ends}.
        on_trial: views that are used only if they recognise the normal sounds of new sessions at
            least as well as one of the other views does.
        reserved: views that count only well above their usual scores.
    """

    scoring: Mapping[str, Scoring]
    on_trial: tuple[str, ...] = ()
    reserved: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class NormalSounds:
    """Normal sounds of which a bank is made.

    Attributes:
        windows: the windows "n".
        vectors: {view: "n ..."} of the windows.
        simulated: windows as they might sound in another session.
        named: whether the sessions were recorded as such.
    """

    windows: NormalWindows
    vectors: Mapping[str, np.ndarray]
    simulated: SimulatedWindows = dataclasses.field(default_factory=SimulatedWindows)
    named: bool = False


@dataclasses.dataclass(frozen=True)
class Known:
    """What a detector keeps of its bank when it learns further sounds.

    Attributes:
        self_scores: the self-scores of the first windows.
        new_session_scores: their scores as windows of a new session.
        rows: {view: the windows whose vectors are kept}.
    """

    self_scores: SelfScores
    new_session_scores: SelfScores
    rows: Mapping[str, np.ndarray]


def fit_normal_bank(
    views: Views,
    sounds: NormalSounds,
    *,
    rows: Mapping[str, np.ndarray] | None = None,
    known: Known | None = None,
) -> NormalBank:
    """Returns a bank of normal sounds with their self-scores.

    Args:
        views: the views that are scored.
        sounds: the normal sounds.
        rows: {view: the windows whose vectors are kept}, if a coreset was chosen; all by default.
        known: what is known of the first windows, and need not be computed again.

    Raises:
        InputError: fewer than 3 windows count, or a bank has fewer than 3 recordings.
    """
    windows = sounds.windows
    if windows.scored.sum() < FEWEST_TO_COMPARE:
        raise InputError(
            f"{windows.scored.sum()} normal sounds to learn from: at least "
            f"{FEWEST_TO_COMPARE} are needed, 20 or more are better"
        )
    rows = dict.fromkeys(views.scoring, np.arange(len(windows))) if rows is None else rows
    none = SelfScores.none(len(windows), len(windows.domains), scorers_of(views.scoring))
    bank = NormalBank(
        scoring=views.scoring,
        vectors={view: sounds.vectors[view][rows[view]] for view in views.scoring},
        rows=rows,
        windows=windows,
        self_scores=none,
        new_session_scores=none,
        simulated=sounds.simulated,
        on_trial=views.on_trial,
        reserved=views.reserved,
        named=sounds.named,
    )
    bank.check_recordings()
    new = np.ones(len(windows), bool)
    earlier = earlier_as_new = none
    if known is not None:
        # Further windows come behind the first ones, whose scores stay as they are.
        new[: len(known.self_scores.of)] = False
        earlier = known.self_scores.extended(len(windows))
        earlier_as_new = known.new_session_scores.extended(len(windows))
    wanted = windows.scored & new
    found = _without(bank, folds(windows.domain, windows.group), sounds.vectors, wanted)
    bank = dataclasses.replace(bank, self_scores=earlier.with_scores(wanted, found))
    # Scores as of a new session, and then the votes, rest on the self-scores found before.
    scores = _as_new_session(bank, sounds.vectors, earlier_as_new, wanted)
    bank = dataclasses.replace(bank, new_session_scores=scores)
    return dataclasses.replace(bank, voting=_electorate(bank))


def _without(
    bank: NormalBank, fold, vectors: Mapping[str, np.ndarray], wanted
) -> dict[str, np.ndarray]:
    """Returns {scorer: scores of the wanted windows, each by a bank without its fold}."""
    found = {}
    for one, (view, scoring) in bank.scorers.items():
        scores = np.empty((len(wanted), len(bank.domains)))
        for left_out in np.unique(fold[wanted]):
            out = (fold == left_out) & wanted
            # Preparation and fit must not know the windows that are left out.
            others, domain = bank.training(view, fold != left_out)
            if missing := sorted(set(bank.domains) - set(domain.tolist())):
                raise InputError(
                    f"the few vectors kept in the bank of {missing[0]} sounds ({view}) are all of "
                    "recordings that are left out together: keep a larger coreset"
                )
            scores[out] = fit_scorer(scoring, others, domain, bank.domains)(vectors[view][out])
        found[one] = scores[wanted]
    return found


def _as_new_session(bank: NormalBank, vectors, known: SelfScores, new: np.ndarray) -> SelfScores:
    """Returns the known scores and those of new windows, as windows of a new session."""
    windows = bank.windows
    compared = bank.of_compared_sessions
    # If each recording is a session, the self-scores already leave out whole sessions.
    if np.array_equal(windows.session, windows.group) and compared.all():
        return bank.self_scores
    # If a session with most of the windows were left out, too few would remain to compare with.
    separable = np.zeros(len(windows), bool)
    for name in bank.domains:
        own = windows.domain == name
        separable |= own & np.isin(windows.session, windows.separable_sessions(name))
    separable &= compared
    out = new & separable
    # Folds are numbered anew in each domain; -1 keeps sessions that cannot be left out in the bank.
    fold = np.where(separable, folds(windows.domain, windows.session), -1)
    found = _without(bank, fold, vectors, out)
    scores = known.with_scores(out, found)
    # Without simulated windows, the self-scores are the only estimate.
    if not len(bank.simulated):
        rest = bank.self_scores.of & ~compared
        return scores.with_scores(rest, bank.self_scores.only(rest))
    first = bank.simulated.first
    rows = bank.simulated.rows[first]
    # The first simulated copy of a window stands for it in a session of its own.
    copies = {}
    for view, of in bank.simulated.vectors.items():
        # Windows without a copy keep zeros, and `out` leaves them unscored.
        copies[view] = np.zeros((len(windows), *of.shape[1:]), np.float32)
        copies[view][rows] = of[first]
    out = new & ~compared & np.isin(np.arange(len(windows)), rows)
    found = _without(bank, folds(windows.domain, windows.group), copies, out)
    return scores.with_scores(out, found)


def _electorate(bank: NormalBank) -> tuple[str, ...]:
    """Returns the scorers that vote.

    A scorer of a view on trial is excluded if the median score that it gives to windows of new
    sessions is higher than that of every trusted scorer.
    """
    # Only windows whose session was left out show how a scorer reacts to a new session.
    scores = bank.new_session_scores
    rows = bank.of_compared_sessions[scores.of]
    trusted = [one for one, (view, _) in bank.scorers.items() if view not in bank.on_trial]
    same = np.array_equal(bank.windows.session, bank.windows.group)
    if not rows.any() or not trusted or same:
        return tuple(bank.scorers)
    usual = {}
    domain = bank.windows.domain[scores.of][rows]
    column = np.array([bank.domains.index(name) for name in domain])
    for one, values in scores.values.items():
        own = values[rows][np.arange(len(column)), column]
        of = bank.own_statistics[one]
        # Scorers have different units, so their medians are compared in deviations of self-scores.
        centre, deviation = np.array([of[name] for name in domain]).T
        usual[one] = float(np.median((own - centre) / deviation))
    # A view on trial must know new sessions at least as well as the worst trusted one.
    limit = max(usual[one] for one in trusted)
    return tuple(one for one in bank.scorers if one in trusted or usual[one] <= limit)
