"""Says in words what a run's scores mean, what they support, and how they were made.

It does not depend on configs or files.
"""

from collections.abc import Mapping

import numpy as np

from asd_jax.reporting.page import Section, Table
from asd_jax.reporting.table import percent
from asd_jax.scoring.anomaly_score import MachineScores
from asd_jax.scoring.intervals import bootstrap, paired_bootstrap

WORDS = {
    "anomaly score": "how unlike the normal training clips a clip is; only the order of a "
    "machine's scores counts for the AUC",
    "AUC": "the chance that an anomalous clip scores higher than a normal one: 50 % is guessing, "
    "100 % perfect",
    "AUC source, AUC target": "the AUC with the normal clips of one domain: source is the "
    "condition most training clips were recorded in, target a changed one with few training clips",
    "pAUC": "the AUC over false positive rates up to 10 % alone, rescaled so that guessing is "
    "50 %: detection where false alarms must be rare",
    "official score": "the mean that the DCASE challenge ranks systems by; since 2020 it is taken "
    "over the AUCs and pAUCs of all machines, since 2021 the harmonic one, which the worst "
    "machine pulls down most",
    "95 % interval": "where the value would lie if other clips of the same kind had been tested: "
    "the clips are drawn again 1,000 times with replacement",
    "filter bank": "the spectrogram that the encoder sees; as a baseline, its mean over time is "
    "scored without any encoder",
    "SimAM": "weights without parameters, 0.62 to 1, that lower the parts of a spectrogram "
    "which are like their surroundings",
    "where it is odd": "how far each patch of the spectrogram is from the patches of normal clips, "
    "in standard deviations",
    "threshold, decision": "the score above which a clip is called anomalous; neither enters the "
    "official score",
}


def verdict_lines(
    found: Mapping,
    scored: Mapping[str, MachineScores],
    plain: Mapping[str, MachineScores] | None = None,
) -> list[str]:
    """Returns sentences: the official score with its interval, and whether it beats the baseline.

    Args:
        found: content of results.json.
        scored: {machine: the scores behind it}.
        plain: {machine: the scores of the filter bank alone}, if they are known.
    """
    score = found["official_score"]
    year = found["year"]
    if score is None:
        return ["No official score; the notes below say why."]
    counted = found["machines"]
    clips, scores = _clips(scored, counted)
    of = bootstrap(clips, scores, year)
    lines = [
        f"Official score {year}: {percent(score)} %, 95 % interval {percent(of.low)} to "
        f"{percent(of.high)} %. 50 % is guessing, 100 % is perfect."
    ]
    baseline = found.get("filter_bank_baseline", {}).get("official_score")
    # Embeddings of other models come without the filter bank's.
    if baseline is None:
        return lines
    alone = f"The filter bank alone, without a model: {percent(baseline)} %."
    # Without the baseline's scores of clips, nothing can be paired.
    if plain is None:
        return [*lines, alone]
    # By file name, as the two may list the clips in different orders.
    others = dict(zip(*_clips(plain, counted, files=True), strict=True))
    keys, _ = _clips(scored, counted, files=True)
    # A paired comparison needs the same clips.
    if set(keys) != set(others):
        return [*lines, alone]
    less = paired_bootstrap(clips, scores, [others[key] for key in keys], year)
    # An interval that excludes zero is a difference beyond chance.
    meaning = (
        "better than the filter bank beyond chance"
        if less.low > 0
        else "worse than the filter bank beyond chance"
        if less.high < 0
        else "not distinguishable from the filter bank by these clips"
    )
    return [
        *lines,
        f"{alone} On the same clips, the difference is {100 * less.difference:+.2f} percentage "
        f"points, 95 % interval {100 * less.low:+.2f} to {100 * less.high:+.2f}: {meaning}.",
    ]


def _clips(
    scored: Mapping[str, MachineScores], counted: Mapping[str, Mapping], files: bool = False
) -> tuple[list, list[float]]:
    """Returns the clips of the sections that count in the official score, and their scores.

    A clip is (machine, section, domain, label), or (machine, file) if `files`.
    """
    clips = []
    scores = []
    for machine, of in scored.items():
        # A section counts if all its clips have labels.
        for n in np.flatnonzero(np.isin(of.clips.section, list(counted.get(machine, ())))).tolist():
            about = of.clips.section[n], of.clips.domain[n], int(of.clips.label[n])
            clips.append((machine, str(of.clips.files[n])) if files else (machine, *about))
            scores.append(float(of.score[n]))
    return clips, scores


def words_section() -> Section:
    """Returns the section that explains the page's words."""
    rows = [[word, meaning] for word, meaning in WORDS.items()]
    table = Table(["word", "meaning"], rows, "The words of this page", folded=True, prose=True)
    return Section("What the words mean", [table])


def run_section(facts: Mapping[str, str], links: list[tuple[str, str]]) -> Section:
    """Returns the section on how the page was made.

    Args:
        facts: {what: value}, as text.
        links: (text, relative address) of the files behind the page.
    """
    parts = [Table(["of the run", "value"], list(map(list, facts.items())), prose=True)]
    return Section("This run", parts if facts else [], links=links)
