import dataclasses

import jax
import numpy as np
import pytest
from machine_sound import RATE, sound

from asd_jax.detector.detector import Detector
from asd_jax.detector.score_function import score_function
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.eat import EATConfig
from asd_jax.models.encoder import Encoder, EncoderConfig, Pooling
from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.fusion import fused
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
