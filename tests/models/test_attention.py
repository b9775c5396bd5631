import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.attention import SpectrogramAttention
from asd_jax.models.eat import EATConfig
from asd_jax.models.encoder import Encoder, EncoderConfig, Pooling
from asd_jax.runtime.errors import InputError

X = jax.random.normal(jax.random.key(0), (2, 64, 128))


def attend(kind, x=X):
    module = SpectrogramAttention(kind)
    variables = module.init(jax.random.key(1), x)
    return variables, np.asarray(module.apply(variables, x))


@pytest.mark.parametrize("kind", ["se", "cbam", "spatial"])
def test_every_cell_gets_a_weight_between_0_and_1(kind):
    _, y = attend(kind)
    weights = y / X
    assert y.shape == X.shape and (weights > 0).all() and (weights < 1).all()
    assert weights.std() > 1e-3


def test_squeeze_and_excitation_is_the_formula():
    variables, y = attend("se")
    p = variables["params"]
    hidden = np.maximum(X.mean(1) @ p["squeeze"]["kernel"] + p["squeeze"]["bias"][None], 0)
    gate = 1 / (1 + np.exp(-(hidden @ p["excite"]["kernel"] + p["excite"]["bias"][None])))
    assert p["squeeze"]["kernel"].shape == (128, 8)
    np.testing.assert_allclose(y, X * gate[:, None], atol=1e-5)


def test_cbam_is_a_weight_per_filter_times_one_per_frame():
    weights = np.log(attend("cbam")[1] / X)
    both = (
        weights.mean(1, keepdims=True)
        + weights.mean(2, keepdims=True)
        - weights.mean((1, 2), keepdims=True)
    )
    np.testing.assert_allclose(weights, both, atol=1e-4)


def test_spatial_attention_sees_seven_by_seven_cells():
    weights = attend("spatial")[1] / X
    moved = X.at[0, 30, 60].add(1.0)
    changed = np.abs(attend("spatial", moved)[1] / moved - weights)[0] > 1e-6
    frames, filters = np.nonzero(changed)
    assert (frames.min(), frames.max(), filters.min(), filters.max()) == (27, 33, 57, 63)


@pytest.mark.slow
def test_it_stands_in_simams_place_and_leaves_the_baseline_alone():
    front = FrontEnd(simam=SimAM("none"))
    wave = jax.random.normal(jax.random.key(0), (2, 8000)) * 0.1
    parts = (front, EATConfig(32, 2, 2), Pooling(embedding_dim=16))
    rival = Encoder(EncoderConfig(*parts, "se"))
    plain = Encoder(EncoderConfig(*parts))
    params = jax.jit(rival.init)(jax.random.key(1), wave)["params"]
    others = {name: value for name, value in params.items() if name != "attention"}
    embedding, out = rival.apply({"params": params}, wave)
    attended = SpectrogramAttention("se").apply(
        {"params": params["attention"]}, front.spectrogram(wave)
    )
    expected, _ = plain.apply({"params": others}, attended, 8000, method="embed")
    np.testing.assert_allclose(embedding, expected, atol=1e-5)
    np.testing.assert_allclose(
        out["filter_bank"], plain.apply({"params": others}, wave)[1]["filter_bank"], atol=1e-6
    )
    assert jnp.abs(embedding - plain.apply({"params": others}, wave)[0]).max() > 1e-3


def test_it_does_not_stand_beside_simam():
    with pytest.raises(InputError, match="attention=se takes SimAM's place.*features.simam=none"):
        EncoderConfig(eat=EATConfig(32, 2, 2), attention="se")
    with pytest.raises(InputError, match="model.attention='sam'; known: none, se, cbam, spatial"):
        EncoderConfig(attention="sam")
