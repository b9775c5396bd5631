"""The clips and scores of the submissions that tests write."""

import numpy as np

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
