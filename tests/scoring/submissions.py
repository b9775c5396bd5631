"""The clips and scores of the submissions that tests write."""

import numpy as np

from asd_jax.scoring.score_files import ScoredClip
from asd_jax.scoring.submission import write_submission

FILES = [
    f"section_00_{domain}_test_{label}_{i:04d}_a.wav"
    for i in range(5)
    for domain in ("source", "target")
    for label in ("normal", "anomaly")
]


SCORES = np.random.default_rng(0).normal(size=len(FILES))


def change(path, text):
    path.write_text(text(path.read_text()) if callable(text) else text)


LINES = "".join(f"{file},{score}\n" for file, score in zip(FILES, SCORES, strict=True))


def write(folder, machine, files, scores, decisions, *, section="00", domain="source", year=2022):
    """Writes the files of one section; `domain` is one for all clips, or a list of theirs."""
    domains = [domain] * len(files) if isinstance(domain, str) else domain
    columns = zip(files, domains, scores, decisions, strict=True)
    clips = [
        ScoredClip(machine, section, name, domain, -1, float(score), int(decision))
        for name, domain, score, decision in columns
    ]
    return write_submission(folder, clips, year=year)
