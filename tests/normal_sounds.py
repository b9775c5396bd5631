"""Random vectors of normal sounds, and banks of them."""

import dataclasses

import numpy as np

from asd_jax.scoring.bank_fitting import NormalSounds, Views, fit_normal_bank
from asd_jax.scoring.normal_windows import NormalWindows
from asd_jax.scoring.options import Scoring

KNN = Scoring(distance="euclidean", normalization="train")
POOLED = np.full(40, "pooled")


def vectors(n=40, seed=0, width=6):
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def fit(
    found,
    domain=POOLED,
    *,
    group=None,
    session=None,
    scored=True,
    rows=None,
    known=None,
    **options,
):
    """Returns the bank of {view: vectors}; other options are those of Views and NormalSounds."""
    windows = table(domain, group, session, scored)
    trust = {name: options.pop(name) for name in ("on_trial", "reserved") if name in options}
    scoring = options.pop("scoring", dict.fromkeys(found, KNN))
    sounds = NormalSounds(windows, found, **options)
    return fit_normal_bank(Views(scoring, **trust), sounds, rows=rows, known=known)


def table(domain=POOLED, group=None, session=None, scored=True):
    group = np.arange(len(domain)) if group is None else group
    session = group if session is None else session
    columns = {"domain": domain, "session": session, "scored": np.full(len(domain), scored)}
    return dataclasses.replace(NormalWindows.of_recordings(group), **columns)
