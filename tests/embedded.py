"""Embeddings that came without a run, and what evaluate leaves of them."""

import json

import numpy as np

from asd_jax.scoring.embeddings import Embeddings

PLAIN = "--config.report.page=False"


def save(path, *, train=12, test=6, domains=("source", "target"), seed=0):
    """Embeddings of one machine, half of the test clips anomalous."""
    rows = [("train", d, 0) for d in domains for _ in range(train)]
    rows += [("test", d, y) for d in domains for y in (0, 1) for _ in range(test)]
    split, domain, label = (np.array(column) for column in zip(*rows, strict=True))
    vectors = np.random.default_rng(seed).normal(size=(len(rows), 4)) * (1 + label[:, None])
    columns = [np.full(len(rows), "00"), split, domain, label, np.full(len(rows), "")]
    Embeddings(
        vectors.astype(np.float32), np.array([f"{n:03}.wav" for n in range(len(rows))]), *columns
    ).save(path)


def results(workdir):
    return json.loads((workdir / "results.json").read_text())
