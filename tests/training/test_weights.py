import dataclasses
import hashlib
import json
import pickle
import struct
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax.traverse_util import flatten_dict

from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.eat import EAT, EATConfig, stacked_blocks
from asd_jax.models.encoder import Encoder, EncoderConfig, Pooling
from asd_jax.runtime.errors import InputError
from asd_jax.training import weights
from asd_jax.training.tensors import StoredTensor
from asd_jax.training.weights import (
    BOX_FILE,
    Pipeline,
    abstract_eat,
    abstract_encoder,
    fill_template,
    front_end_of,
    front_end_of_eat,
    load_decoder,
    load_encoder,
    load_pipeline,
    open_weights,
    origin_entries,
    random_eat,
    read_header,
    read_weights,
    save_encoder,
    save_weights,
    weights_file,
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


def test_a_file_says_what_it_holds_and_its_header_is_read_without_its_tensors(
    tmp_path, params, monkeypatch
):
    path = tmp_path / "a.safetensors"
    save_encoder(path, CONFIG, params, source="x", sha256="y")
    monkeypatch.setattr(StoredTensor, "read", None)
    header = read_header(path)
    assert {name: header[name] for name in ("format", "kind", "source", "sha256")} == {
        "format": 1,
        "kind": "encoder",
        "source": "x",
        "sha256": "y",
    }
    assert header["embedding_dim"] == 8 and front_end_of(path) == CONFIG.front_end
    assert front_end_of_eat(path, CONFIG.eat) == CONFIG.front_end
    with safetensors.safe_open(path, "numpy") as file:
        text = file.metadata()["asd_jax"]
    assert list(json.loads(text)) == sorted(header)
    with pytest.raises(InputError, match="kind 'encoder'; expected eat, and this version"):
        open_weights(path, kinds=("eat",))
    with pytest.raises(InputError, match="kind 'encoder'; expected eat"):
        read_weights(path, kinds=("eat",))
    with pytest.raises(InputError, match="a folder; name the weight file in it"):
        read_header(tmp_path)


def bare_eat(path, params, sizes=CONFIG.eat, **header):
    save_weights(path, params, {"kind": "eat", "eat": dataclasses.asdict(sizes), **header})


def test_a_bare_eat_gets_the_front_end_of_the_public_checkpoints(tmp_path, params):
    """That is the mel filter bank of as many filters, without SimAM, unless the file names one."""
    path = tmp_path / "a.safetensors"
    sizes = dataclasses.replace(CONFIG.eat, mel_bins=64)
    bare_eat(path, params["eat"], sizes)
    assert front_end_of(path) is None
    assert front_end_of_eat(path, sizes) == FrontEnd("mel", bins=64, simam=SimAM("none"))
    bare_eat(path, params["eat"], front_end=dataclasses.asdict(CONFIG.front_end))
    assert front_end_of_eat(path, CONFIG.eat) == CONFIG.front_end


def test_a_bare_eat_is_a_pipeline_with_the_pooling_that_is_asked_for(tmp_path, params):
    path = tmp_path / "a.safetensors"
    bare_eat(path, params["eat"])
    pipeline = load_pipeline(path, pooling="band_mean", spacing="even", block=-2)
    front_end = FrontEnd("even", simam=SimAM("none"))
    assert pipeline.config == EncoderConfig(front_end, CONFIG.eat, Pooling("band_mean", -2, 0))
    jax.tree.map(np.testing.assert_array_equal, pipeline.params, {"eat": params["eat"]})
    plain = load_pipeline(path, pooling="cls")
    assert plain.config.pooling == Pooling("cls", -1, 0)
    assert plain.config.front_end == FrontEnd("mel", simam=SimAM("none"))
    for wrong in ("", "attentive_statistics"):
        with pytest.raises(InputError, match="a bare EAT, .* or one of cls, mean, band_mean"):
            load_pipeline(path, pooling=wrong)


@pytest.mark.parametrize("option", [{"pooling": "cls"}, {"spacing": "mel"}, {"block": 0}])
def test_an_encoder_keeps_its_own_front_end_and_pooling(tmp_path, params, option):
    save_encoder(tmp_path / "a.safetensors", CONFIG, params)
    with pytest.raises(InputError, match="its own front end and pooling; leave them out"):
        load_pipeline(tmp_path / "a.safetensors", **option)


def test_what_a_bare_eat_brings_along_is_not_in_the_way(tmp_path, params):
    path = tmp_path / "a.safetensors"
    decoder = {"out": {"kernel": jnp.ones((2, 3))}}
    others = {"head": {"kernel": jnp.ones(3)}, "fc_norm": {"scale": jnp.ones(2)}}
    bare_eat(path, params["eat"] | {"decoder": decoder} | others)
    jax.tree.map(np.testing.assert_array_equal, load_encoder(path)[1], params["eat"])
    template = jax.eval_shape(lambda: decoder)
    jax.tree.map(np.testing.assert_array_equal, load_decoder(path, template), decoder)
    with pytest.raises(InputError, match="the weights do not fit the model: missing out/bias"):
        load_decoder(path, {"out": template["out"] | {"bias": jnp.ones(3)}})
    bare_eat(path, params["eat"])
    assert load_decoder(path, template) is None


def test_of_many_differences_the_first_twenty_are_named():
    given = {f"x_{n:02}": np.zeros(1) for n in range(21)}
    for count, more in ((20, ""), (21, "; and 1 more")):
        with pytest.raises(InputError) as error:
            fill_template({}, dict(list(given.items())[:count]), "a")
        named = "; ".join(f"not used x_{n:02}" for n in range(20))
        assert str(error.value) == f"a: the weights do not fit the model: {named}{more}"


def test_parameters_have_the_types_of_the_model():
    found = fill_template({"a": {"b": jnp.ones(2)}}, {"a/b": np.ones(2, np.float16)}, "x")
    assert found["a"]["b"].dtype == jnp.float32 and isinstance(found["a"]["b"], jax.Array)


def test_a_file_made_from_weights_says_from_which():
    path = BOX_FILE
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    expected = {"source": path.name, "sha256": digest}
    assert origin_entries("box") == origin_entries(path) == expected
    assert weights_file("other") == Path("other")


def test_a_pipeline_takes_one_sound_or_several_of_one_length(params, monkeypatch):
    seen = []

    def recorded(config, params, wave, modes):
        seen.append((wave.shape, wave.dtype, None if modes is None else modes.tolist()))
        return wave[:, :3] * 2, None

    monkeypatch.setattr(weights, "embed", recorded)
    pipeline = Pipeline(CONFIG, params)
    waves = np.arange(1200.0).reshape(3, 400)
    assert pipeline.embed(waves[1]).tolist() == [800, 802, 804]
    assert pipeline.embed(waves, "fan").shape == (3, 3)
    pipeline.embed(waves[:2], "pump")
    assert seen == [
        ((1, 400), jnp.float32, None),
        ((3, 400), jnp.float32, [1, 1, 1]),
        ((2, 400), jnp.float32, [0, 0]),
    ]
    for wrong in (waves[0, 1:], waves[:, 1:], waves[None]):
        with pytest.raises(InputError, match='expected "b s", clips of equal length of 400 samp'):
            pipeline.embed(wrong, "fan")


def test_a_pipeline_can_be_copied_and_lies_whole_on_every_device(params):
    pipeline = Pipeline(CONFIG, params, runtime="openvino")
    with jax.default_device(None):
        placed = pipeline.on_devices["eat"]["cls"]
    assert placed.is_fully_replicated and len(placed.addressable_shards) == 8
    assert pipeline.on_devices is pipeline.on_devices and Pipeline(CONFIG, params).runtime == "jax"
    other = pickle.loads(pickle.dumps(pipeline))
    assert (other.config, other.runtime) == (CONFIG, "openvino")
    assert vars(other).keys() == {"config", "params", "runtime"}
    jax.tree.map(np.testing.assert_array_equal, other.params, params)
    assert "params" not in repr(other)
    assert isinstance(other.params["eat"]["cls"], np.ndarray)


def test_only_the_blocks_are_stacked(params):
    stacked = Pipeline(CONFIG, params).stacked
    jax.tree.map(
        np.testing.assert_array_equal, stacked.pop("eat"), stacked_blocks(params["eat"], 2)
    )
    rest = {name: of for name, of in params.items() if name != "eat"}
    jax.tree.map(np.testing.assert_array_equal, stacked, rest)
    assert Pipeline(EncoderConfig(eat=None), {}).stacked == {}


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
