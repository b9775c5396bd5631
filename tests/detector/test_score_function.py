import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from machine_sound import RATE, sound

from asd_jax.detector.detector import Detector
from asd_jax.detector.score_function import _back_end, _fused, _prepared, score_function
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.eat import EATConfig
from asd_jax.models.encoder import Encoder, EncoderConfig, Pooling
from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.chosen import fit_back_end
from asd_jax.scoring.back_ends.fusion import fused
from asd_jax.scoring.options import Scoring
from asd_jax.scoring.preparation import Preparation
from asd_jax.training.weights import Pipeline

HEARD = np.stack(
    [sound(500), sound(501, fault=0.05), np.zeros(2 * RATE, np.float32), 1e-3 * sound(502)]
)


def difference(one):
    ours = fused(one.process(HEARD)[0])
    theirs = np.asarray(jax.jit(score_function(one))(HEARD))
    return np.max(np.abs(theirs - ours) / np.maximum(1, np.abs(ours)))


def test_float32_function_scores_as_the_detector(plain):
    assert difference(plain) < 1.1e-6  # measured 5.3e-7


@pytest.mark.slow
def test_the_encoder_is_a_part_of_it(detector):
    assert difference(detector) < 1e-5  # measured 4.4e-6


@pytest.mark.slow
def test_domains_and_angles_are_kept(normal):
    config = EncoderConfig(
        FrontEnd(simam=SimAM("none")), EATConfig(32, 1, 2), Pooling("band_mean", -1, 16)
    )
    params = jax.jit(Encoder(config).init)(jax.random.key(0), HEARD[:1])["params"]
    quiet = [wave / 8 for wave in normal[:8]]
    domains = ["source"] * len(normal) + ["target"] * 8
    one = Detector.fit(normal + quiet, RATE, weights=Pipeline(config, params), domains=domains)
    assert one.bank.domains == ["source", "target"] and one.bank.vectors["encoder"].shape[1:] == (
        8,
        16,
    )
    assert difference(one) < 2.2e-6  # measured 1.1e-6


@pytest.mark.parametrize(
    "scoring",
    [
        Scoring(back_end="pca_residual", components=3),
        Scoring(back_end="mahalanobis"),
        Scoring(back_end="mahalanobis", shrinkage=0.3),
        Scoring(back_end="local_density", distance="cosine"),
        Scoring(back_end="local_density", distance="euclidean", density_k=2),
    ],
    ids=str,
)
def test_each_back_end_scores_as_its_original(scoring):
    rng = np.random.default_rng(0)
    bank, queries = (
        rng.normal(size=(n, 6)).astype(np.float32) + [3, 0, 0, 0, 0, 0] for n in (9, 5)
    )
    bank = bank.astype(np.float32) * np.linspace(0.2, 4, 9, dtype=np.float32)[:, None]
    queries = queries.astype(np.float32)
    fitted = fit_back_end({"pooled": bank[:, None]}, scoring, ())
    found = _back_end(scoring, bank)(jnp.asarray(queries))
    np.testing.assert_allclose(found, fitted.score(queries)["pooled"], rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [{"back_end": "gmm"}, {"k": 2}, {"distance": "unit_euclidean"}, {"whiten": 3}],
    ids=str,
)
def test_options_that_have_no_such_function_are_refused(changes):
    scoring = dataclasses.replace(Scoring(back_end="local_density"), **changes)
    with pytest.raises(InputError, match="cannot be exported"):
        _back_end(scoring, np.eye(9, dtype=np.float32))


def test_scores_are_fused_as_elsewhere_also_below_and_at_zero():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(3, 40)).astype(np.float32)
    scores[:, 0] = 0
    scores[:, 1] = [-1, -2, -3]
    scores[:, 2] = [1e30, 1, 0]
    scores[:, 3] = [2, -5, -5]
    expected = fused(dict(zip("abc", scores.astype(float), strict=True)))
    np.testing.assert_allclose(_fused(jnp.asarray(scores)), expected, rtol=1e-5)


@pytest.mark.parametrize("unit_length", [True, False])
@pytest.mark.parametrize("shape", [(4, 3, 5), (4, 5), (4, 1, 5)])
def test_vectors_are_prepared_as_elsewhere(shape, unit_length):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=shape).astype(np.float32)
    vectors[0] = 0
    mean = rng.normal(size=shape[1:]) if unit_length else 0.0
    std = rng.uniform(1, 2, size=shape[1:]) if unit_length else 1.0
    prepare = Preparation("mean_score", mean, std, (), unit_length)
    expected = prepare(vectors).reshape(4, -1)
    np.testing.assert_allclose(_prepared(prepare, jnp.asarray(vectors)), expected, rtol=1e-5)


def test_a_detector_that_follows_one_session_is_refused(plain):
    with pytest.raises(InputError, match="adapted to one session"):
        score_function(dataclasses.replace(plain, colour=(1.0, 0.0, 0.0, 0.0)))


def test_other_back_ends_are_refused(plain):
    scoring = {
        view: dataclasses.replace(one, back_end="gmm") for view, one in plain.bank.scoring.items()
    }
    with pytest.raises(InputError, match="back end gmm"):
        score_function(
            dataclasses.replace(
                plain,
                bank=dataclasses.replace(plain.bank, scoring=scoring, voting=("level/gmm",)),
            )
        )
