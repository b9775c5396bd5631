import json
import struct

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
from asd_jax.training.tensors import StoredTensor
from asd_jax.training.weights import (
    abstract_eat,
    abstract_encoder,
    load_encoder,
    load_pipeline,
    random_eat,
    read_weights,
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
        "cls has shape (5,), expected (32,)",
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


def with_text(path, text, tensors=()):
    """A safetensors file with any text as our header, and the tensors (name, type, shape)."""
    header = {"__metadata__": {"asd_jax": text}}
    end = 0
    for name, dtype, shape in tensors:
        start = end
        end = end + int(np.prod(shape))
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))


OURS = json.dumps({"format": 1, "kind": "encoder", "eat": None, "front_end": {}, "pooling": {}})
TEXTS = {
    "nested 100,000 deep": ('{"a":' + "[" * 100_000 + "]" * 100_000 + "}", ()),
    "a number of 5,000 digits": ('{"format":1,"kind":"eat","x":' + "9" * 5000 + "}", ()),
    "NaN": ('{"format":1,"kind":"eat","x":NaN}', ()),
    "a list": ("[1, 2]", ()),
    "format 1.0": ('{"format":1.0,"kind":"eat","eat":{}}', ()),
    "format true": ('{"format":true,"kind":"eat","eat":{}}', ()),
    "a kind that is a list": ('{"format":1,"kind":["eat"],"eat":{}}', ()),
    "float8": (OURS, [("x", "F8_E4M3", [4])]),
    "another float8": (OURS, [("x", "F8_E5M2", [4])]),
    "a tensor of rank 100": (OURS, [("x", "U8", [1] * 100)]),
    "20,000 tensors": (OURS, [(f"block_{n}", "U8", [1]) for n in range(20_000)]),
}


@pytest.mark.parametrize("name", TEXTS)
def test_hostile_headers_are_refused_by_name(name, tmp_path):
    with_text(tmp_path / "a.safetensors", *TEXTS[name])
    for load in (load_pipeline, load_encoder):
        with pytest.raises(InputError, match="a.safetensors") as error:
            load(tmp_path / "a.safetensors")
        assert len(str(error.value)) < 4000


ABSURD = {
    ("eat", "depth"): (10**9, 3000, 2.0, 1),
    ("eat", "embed_dim"): (4 * 10**9, 10**30, 32.0, 36),
    ("eat", "num_heads"): (True, 2.0, "2"),
    ("eat", "mlp_ratio"): (2.0, 1e-9),
    ("eat", "mel_bins"): (1_600_000,),
    ("front_end", "bins"): (1_600_000_000, 128.0),
    ("front_end", "sample_rate"): (16000.0, 99, 768 * 10**6, 10**12),
    ("front_end", "mean"): ("x", None),
    ("front_end", "frames"): ("998",),
    ("pooling", "block"): (1.0, "1", 2),
    ("pooling", "embedding_dim"): (8.0, -3, 9),
}


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [(*place, value) for place, values in ABSURD.items() for value in values],
)
def test_sizes_are_compared_with_the_tensors_before_any_is_read(
    tmp_path, params, part, name, value, monkeypatch
):
    save_encoder(tmp_path / "a.safetensors", CONFIG, params)
    tensors, header = read_weights(tmp_path / "a.safetensors")
    header[part][name] = value
    text = json.dumps(header)
    safetensors.numpy.save_file(tensors, tmp_path / "a.safetensors", {"asd_jax": text})
    monkeypatch.setattr(StoredTensor, "read", None)
    with pytest.raises(
        InputError, match="a.safetensors: (the header|the weights|.*a number of 31 digits)"
    ):
        load_pipeline(tmp_path / "a.safetensors")


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


@pytest.mark.parametrize("attention", ["none", "se"])
def test_the_shapes_of_all_blocks_follow_from_one(attention):
    front_end = FrontEnd(simam=SimAM("none"))
    sizes = EATConfig(embed_dim=16, depth=3, num_heads=2)
    config = EncoderConfig(front_end, sizes, Pooling(block=-2), attention=attention)
    wave = jax.ShapeDtypeStruct((1, 16000), jnp.float32)
    whole = jax.eval_shape(Encoder(config).init, jax.random.key(0), wave)["params"]
    assert abstract_encoder(config) == whole and abstract_eat(sizes) == whole["eat"]
