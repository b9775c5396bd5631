"""Embeddings of a machine that was never recorded."""

import numpy as np

from asd_jax.scoring.embeddings import Embeddings


def machine(source=40, target=8, test=10, shape=(6,), sections=("00",), held_out=0, seed=0):
    """Embeddings of one machine: the target domain is shifted, anomalies are spread wider."""
    rng = np.random.default_rng(seed)
    rows = []
    for section in sections:
        rows += [(section, "train", "source", 0)] * source + [
            (section, "train", "target", 0)
        ] * target
        rows += [(section, "held_out", d, 0) for d in ("source", "target") for _ in range(held_out)]
        rows += [
            (section, "test", d, y)
            for d in ("source", "target")
            for y in (0, 1)
            for _ in range(test)
        ]
    section, split, domain, label = (np.array(column) for column in zip(*rows, strict=True))
    vectors = rng.normal(size=(len(rows), *shape)) * (1 + label.reshape(-1, *[1] * len(shape)))
    vectors += 2 + (domain == "target").reshape(-1, *[1] * len(shape)) * np.linspace(
        -1, 2, shape[-1]
    )
    files = np.array([f"section_{s}_{i:04d}.wav" for i, s in enumerate(section)])
    axes = ("clip", "embedding") if len(shape) == 1 else ("clip", "band", "embedding")
    attribute = np.array([""] * len(rows))
    return Embeddings(
        vectors.astype(np.float32), files, section, split, domain, label, attribute, axes
    )


def split(embeddings, name, domain):
    return embeddings.vectors[(embeddings.split == name) & (embeddings.domain == domain)].astype(
        np.float64
    )
