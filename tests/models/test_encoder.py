import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.features.filter_bank import log_filter_bank, normalize
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.features.simam import simam
from asd_jax.models.attention import ATTENTIONS
from asd_jax.models.eat import EAT, EATConfig
from asd_jax.models.encoder import Encoder, EncoderConfig, Pooling
from asd_jax.models.pooling import AttentiveStatisticsPooling
from asd_jax.models.settings import Tokens
from asd_jax.models.token_pooling import pool_tokens
from asd_jax.runtime.errors import InputError

EAT_CONFIG = EATConfig(32, 2, 2)
WAVE = jax.random.normal(jax.random.key(0), (3, 8000)) * 0.1


def encoder(**changes):
    defaults = {"front_end": FrontEnd(), "eat": EAT_CONFIG, "pooling": Pooling(embedding_dim=16)}
    config = EncoderConfig(**defaults | changes)
    module = Encoder(config)
    return module, jax.jit(module.init)(jax.random.key(1), WAVE)


@pytest.mark.parametrize(
    ("block", "blocks", "used"),
    [(-2, "", 1), (0, "1", 2), (0, "0,-1", 2), (1, "0", 1), (0, "all", 2)],
)
def test_used_depth_counts_the_blocks_up_to_the_highest_one_that_is_pooled(block, blocks, used):
    pooling = Pooling(block=block, tokens=Tokens(blocks=blocks))
    assert EncoderConfig(FrontEnd(), EAT_CONFIG, pooling).used_depth == used


def test_the_defaults_are_those_of_recorded_runs():
    pooling = {"kind": "attentive_statistics", "block": -1, "embedding_dim": 256}
    assert dataclasses.asdict(Pooling()) == pooling | {"tokens": dataclasses.asdict(Tokens())}
    config = EncoderConfig()
    assert config == EncoderConfig(FrontEnd(), EATConfig(), Pooling(), "none")
    module = Encoder(config)
    others = (module.dtype, module.lora, module.drop_path, module.remat)
    assert others == (jnp.float32, None, 0.0, False)
    for one in (config, config.pooling):
        assert hash(one) == hash(dataclasses.replace(one))  # programs are compiled for them


@pytest.mark.parametrize(
    ("name", "least", "most"), [("block", -64, 63), ("embedding_dim", 0, 65_536)]
)
def test_a_number_may_be_at_the_end_of_its_range_and_not_beyond(name, least, most):
    for value in (least, most):
        assert getattr(Pooling(**{name: value}), name) == value
    for value in (least - 1, most + 1):
        with pytest.raises(InputError, match=f"pooling {name}={value} must"):
            Pooling(**{name: value})


def test_blocks_are_those_that_there_are_counted_from_either_end():
    for block, index in ((0, 0), (1, 1), (-1, 1), (-2, 0)):
        config = EncoderConfig(FrontEnd(), EAT_CONFIG, Pooling(block=block))
        assert (config.blocks, config.block_indices) == ([block], [index])
    for block in (2, -3):
        with pytest.raises(InputError, match=f"block={block}`: EAT has blocks 0..1"):
            EncoderConfig(FrontEnd(), EAT_CONFIG, Pooling(block=block))


def test_the_bare_filter_bank_has_no_blocks_no_bands_and_no_eat():
    apart = Pooling("mean", 0, 0, Tokens(bands="apart"))
    config = EncoderConfig(FrontEnd(bins=64), None, apart)
    assert (config.blocks, config.axes) == ([], ("clip", "embedding"))
    assert config.embedding_dim == 64
    with pytest.raises(InputError, match="the bare filter bank has no EAT"):
        _ = config.backbone


def test_an_attention_takes_the_place_of_simam():
    plain = FrontEnd(simam=SimAM("none"))
    for name in ATTENTIONS[1:]:
        assert EncoderConfig(plain, EAT_CONFIG, attention=name).attention == name
        for front_end, eat in ((FrontEnd(), EAT_CONFIG), (plain, None)):
            with pytest.raises(InputError, match=f"model.attention={name} takes SimAM's place"):
                EncoderConfig(front_end, eat, attention=name)
    with pytest.raises(InputError, match="model.attention='other'; known: none, "):
        EncoderConfig(plain, EAT_CONFIG, attention="other")


def test_the_parts_of_the_encoder_have_the_names_of_weight_files():
    names = {"eat", "pooling", "embedding"}
    for attention, more in (("none", set()), (ATTENTIONS[1], {"attention"})):
        config = EncoderConfig(
            FrontEnd(simam=SimAM("none")), EAT_CONFIG, Pooling(embedding_dim=16), attention
        )
        variables = jax.eval_shape(Encoder(config).init, jax.random.key(0), WAVE)
        assert set(variables["params"]) == names | more


def test_embedding_is_the_stages_one_after_the_other():
    module, variables = encoder(pooling=Pooling("mean", -2, 0))
    embedding, out = module.apply(variables, WAVE)
    x = normalize(jnp.pad(log_filter_bank(WAVE), ((0, 0), (0, 16), (0, 0))))  # 48 frames to 64
    x = simam(x, tile=(32, 32))
    tokens, inner = EAT(EAT_CONFIG).apply({"params": variables["params"]["eat"]}, x)
    np.testing.assert_allclose(embedding, pool_tokens(inner["blocks"][-2], "mean", 8), atol=1e-5)
    np.testing.assert_allclose(out["blocks"][-1], tokens, atol=1e-5)
    np.testing.assert_allclose(out["filter_bank"], x[:, :48].mean(1), atol=1e-5)


@pytest.mark.parametrize(
    ("pooling", "shape", "axes"),
    [
        (Pooling(embedding_dim=16), (3, 16), ("clip", "embedding")),
        (Pooling("attentive_statistics", -1, 0), (3, 64), ("clip", "embedding")),
        (Pooling("cls", 0, 0), (3, 32), ("clip", "embedding")),
        (Pooling("band_mean", -2, 0), (3, 8, 32), ("clip", "band", "embedding")),
        (Pooling("gem", -2, 0, Tokens(bands="apart")), (3, 8, 32), ("clip", "band", "embedding")),
        (Pooling("rdp", -2, 0, Tokens(bands="joined")), (3, 256), ("clip", "embedding")),
        (Pooling("max", -1, 16, Tokens(bands="joined")), (3, 16), ("clip", "embedding")),
        (
            Pooling("attentive_statistics", -1, 0, Tokens(bands="apart")),
            (3, 8, 64),
            ("clip", "band", "embedding"),
        ),
        (
            Pooling("attentive_statistics", -1, 0, Tokens(bands="joined")),
            (3, 512),
            ("clip", "embedding"),
        ),
    ],
)
def test_shapes_and_axes(pooling, shape, axes):
    module, variables = encoder(pooling=pooling)
    embedding, _ = jax.eval_shape(module.apply, variables, WAVE)
    assert (
        embedding.shape == shape
        and module.config.axes == axes
        and module.config.embedding_dim == shape[-1]
    )


def test_a_mean_of_blocks_is_the_mean_of_their_tokens():
    module, variables = encoder(pooling=Pooling("max", 0, 0, Tokens(blocks="0,-1")))
    embedding, out = module.apply(variables, WAVE)
    mean = (out["blocks"][0] + out["blocks"][1]) / 2
    np.testing.assert_allclose(embedding, mean[:, 1:].max(1), atol=1e-6)
    # The tokens can be kept, and pooled later.
    again, nothing = module.apply(variables, None, 8000, tokens=out["tokens"], method="embed")
    np.testing.assert_array_equal(again, embedding)
    assert nothing == {} and {"filter_bank", "pre_norm", "blocks", "tokens"} <= set(out)
    every, _ = encoder(pooling=Pooling("max", 0, 0, Tokens(blocks="all")))
    np.testing.assert_array_equal(every.apply(variables, WAVE)[0], embedding)


def test_a_band_of_attentive_statistics_is_pooled_by_itself():
    pooling = Pooling("attentive_statistics", -1, 0, Tokens(bands="joined"))
    module, variables = encoder(pooling=pooling)
    embedding, out = module.apply(variables, WAVE)
    # token 1 + t * 8 + f, f = 5
    one = AttentiveStatisticsPooling().apply(
        {"params": variables["params"]["pooling"]}, out["blocks"][-1][:, 1 + 5 :: 8]
    )
    np.testing.assert_allclose(embedding[:, 5 * 64 : 6 * 64], one, atol=1e-5)


def test_filter_bank_encoder_has_no_parameters():
    module, variables = encoder(eat=None, front_end=FrontEnd(simam=SimAM("none")))
    assert not variables
    embedding, out = module.apply(variables, WAVE)
    np.testing.assert_allclose(embedding, normalize(log_filter_bank(WAVE)).mean(1), atol=1e-5)
    np.testing.assert_array_equal(embedding, out["filter_bank"])


def test_impossible_combinations_are_refused():
    with pytest.raises(InputError, match="EAT takes 128 filters but the front end has 64"):
        EncoderConfig(front_end=FrontEnd(bins=64), eat=EAT_CONFIG)
    with pytest.raises(InputError, match="pooling of `block=2`: EAT has blocks 0..1"):
        EncoderConfig(eat=EAT_CONFIG, pooling=Pooling(block=2))
    with pytest.raises(InputError, match="pooling of `block=3`: EAT has blocks 0..1"):
        EncoderConfig(eat=EAT_CONFIG, pooling=Pooling(tokens=Tokens(blocks="0,3")))
    with pytest.raises(InputError, match="pooling kind='median'; known: attentive_statistics"):
        Pooling("median")
    with pytest.raises(InputError, match="bands=joined: the CLS token has no frequency bands"):
        Pooling("cls", tokens=Tokens(bands="joined"))
    with pytest.raises(InputError, match="blocks='3-5'; write numbers with commas"):
        Tokens(blocks="3-5")
