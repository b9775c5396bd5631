import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax.traverse_util import flatten_dict

from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.eat import EAT, EATConfig
from asd_jax.models.encoder import Encoder, EncoderConfig, Pooling
from asd_jax.runtime.errors import InputError
from asd_jax.training.weights import (
    load_encoder,
    load_pipeline,
    random_eat,
    save_encoder,
    save_weights,
)

CONFIG = EncoderConfig(
    FrontEnd("mel", low_hz=50.0, simam=SimAM({"fan": "global", "pump": "none"})),
    EATConfig(32, 2, 2),
    Pooling("cls", -1, 8),
)
WAVE = jax.random.normal(jax.random.key(0), (2, 8000)) * 0.1


@pytest.fixture(scope="module")
def params():
    return jax.jit(Encoder(CONFIG).init)(jax.random.key(1), WAVE, jnp.zeros(2, jnp.int32))["params"]


def test_pipeline_comes_back_whole(tmp_path, params):
    save_encoder(tmp_path / "a.safetensors", CONFIG, params, source="none")
    pipeline = load_pipeline(tmp_path / "a.safetensors")
    assert pipeline.config == CONFIG
    expected, _ = Encoder(CONFIG).apply({"params": params}, WAVE, jnp.array([1, 1]))
    np.testing.assert_allclose(pipeline.embed(WAVE, "fan"), expected, atol=1e-6)
    sizes, eat = load_encoder(tmp_path / "a.safetensors")
    assert sizes == CONFIG.eat
    jax.tree.map(np.testing.assert_array_equal, eat, params["eat"])


def test_same_parameters_same_bytes_under_the_flax_paths(tmp_path, params):
    save_encoder(tmp_path / "a.safetensors", CONFIG, params)
    save_encoder(tmp_path / "b.safetensors", CONFIG, params)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    with safetensors.safe_open(tmp_path / "a.safetensors", "numpy") as file:
        assert set(file.keys()) == set(flatten_dict(params, sep="/"))
        header = json.loads(file.metadata()["asd_jax"])
    assert (
        header["kind"] == "encoder"
        and header["eat"]["embed_dim"] == 32
        and header["embedding_dim"] == 8
    )
    assert header["front_end"]["spacing"] == "mel" and header["pooling"]["kind"] == "cls"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]


def test_bare_filter_bank_is_a_pipeline_too(tmp_path):
    save_encoder(tmp_path / "a.safetensors", EncoderConfig(eat=None), {})
    assert load_pipeline(tmp_path / "a.safetensors").embed(WAVE).shape == (2, 128)
    with pytest.raises(InputError, match="holds no EAT"):
        load_encoder(tmp_path / "a.safetensors")


def test_random_eat_depends_on_the_seed_alone():
    one, same, other = (random_eat(EATConfig(32, 1, 2), seed) for seed in (0, 0, 1))
    jax.tree.map(np.testing.assert_array_equal, one, same)
    assert np.abs(one["patch"]["kernel"] - other["patch"]["kernel"]).max() > 0.01
    tokens, _ = EAT(EATConfig(32, 1, 2)).apply({"params": one}, jnp.zeros((1, 32, 128)))
    assert tokens.shape == (1, 17, 32)


def test_misfitting_weights_give_one_error_with_both_differences(tmp_path, params):
    wrong = {**params["eat"], "extra": jnp.zeros(3), "cls": jnp.zeros(5)}
    del wrong["patch"]
    save_weights(
        tmp_path / "a.safetensors",
        wrong,
        {"kind": "eat", "eat": {"embed_dim": 32, "depth": 2, "num_heads": 2}},
    )
    with pytest.raises(InputError) as error:
        load_encoder(tmp_path / "a.safetensors")
    for part in (
        "missing patch/bias",
        "missing patch/kernel",
        "not used extra",
        "cls has shape (5,), wanted (32,)",
    ):
        assert part in str(error.value)


def damaged(path, kind, params):
    save_encoder(path, CONFIG, params)
    content = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "header of 10 GB":
        path.write_bytes((10 * 2**30).to_bytes(8, "little") + content[8:])
    elif kind == "foreign":
        safetensors.numpy.save_file({"a": np.zeros(2)}, path)
    elif kind == "newer":
        safetensors.numpy.save_file(
            {"a": np.zeros(2)}, path, {"asd_jax": json.dumps({"format": 99, "kind": "eat"})}
        )
    elif kind == "not JSON":
        safetensors.numpy.save_file({"a": np.zeros(2)}, path, {"asd_jax": "{"})
    elif kind == "unknown key":
        save_weights(
            path, params, {"kind": "encoder", "eat": {"colour": 1}, "front_end": {}, "pooling": {}}
        )
    elif kind == "NaN":
        save_encoder(path, CONFIG, jax.tree.map(lambda p: p * np.nan, params))
    elif kind == "missing":
        path.unlink()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("truncated", "not a readable safetensors file"),
        ("empty", "not a readable safetensors file"),
        ("header of 10 GB", "not a readable safetensors file"),
        ("foreign", "python -m convert.eat"),
        ("newer", "this version reads format 1"),
        ("not JSON", "not a readable safetensors file"),
        ("unknown key", "EncoderConfig is not valid .no field 'eat.colour'"),
        ("NaN", "holds NaN or infinity"),
        ("missing", "no such weight file"),
    ],
)
def test_damaged_files_are_refused_by_name(tmp_path, params, kind, message):
    path = tmp_path / "a.safetensors"
    damaged(path, kind, params)
    with pytest.raises(InputError, match=message) as error:
        load_pipeline(path)
    assert "a.safetensors" in str(error.value)
