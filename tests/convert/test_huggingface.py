import json

import jax
import numpy as np
import pytest
from public_eat import CONFIG, GOLDEN, PRETRAINED, equal
from safetensors.numpy import load_file

from asd_jax.detector.views import load_pipeline_or_eat
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.eat import EATConfig
from asd_jax.models.encoder import EncoderConfig, Pooling
from asd_jax.runtime.errors import InputError
from asd_jax.training.weights import (
    abstract_encoder,
    load_encoder,
    read_weights,
    save_encoder,
)
from convert import eat as convert_eat
from convert.eat import convert, write, write_huggingface


def test_an_exported_folder_has_every_field_that_the_published_configuration_has(tmp_path):
    write_huggingface(GOLDEN / "tiny_eat_fairseq.pt", tmp_path)
    published, ours = (json.loads(path.read_text()) for path in (CONFIG, tmp_path / "config.json"))
    assert set(published) <= set(ours)
    same = set(published) - {"max_length", "num_classes"}  # the stored table is of any length
    assert {key: ours[key] for key in same} == {key: published[key] for key in same}


def test_our_own_weights_are_the_same_by_way_of_the_public_layout(tmp_path):
    """What benchmarks.parity compares for weights of ours."""
    write(GOLDEN / "tiny_eat_fairseq.pt", tmp_path / "eat.safetensors")
    write_huggingface(tmp_path / "eat.safetensors", tmp_path / "public")
    equal(convert(tmp_path / "public"), load_encoder(tmp_path / "eat.safetensors"))


def test_fine_tuned_encoder_exports_its_eat_and_its_front_end(tmp_path):
    front_end = FrontEnd(spacing="even", bins=64, mean=-5.06, std=3.6)
    config = EncoderConfig(
        front_end, EATConfig(48, 2, 4, mel_bins=64), Pooling("attentive_statistics", -1, 16)
    )
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: rng.normal(size=x.shape).astype(np.float32), abstract_encoder(config)
    )
    save_encoder(tmp_path / "weights.safetensors", config, params)
    write_huggingface(tmp_path / "weights.safetensors", tmp_path / "public")
    equal(convert(tmp_path / "public"), load_encoder(tmp_path / "weights.safetensors"))
    write(tmp_path / "public", tmp_path / "again.safetensors")
    _, header = read_weights(tmp_path / "again.safetensors")
    assert header["kind"] == "eat" and header["front_end"]["spacing"] == "even"
    assert load_pipeline_or_eat(tmp_path / "again.safetensors").config.front_end == front_end


@pytest.mark.parametrize("name", PRETRAINED)
def test_round_trip_through_huggingface_is_bit_exact(tmp_path, name):
    config, params = convert(GOLDEN / name)
    write(GOLDEN / name, tmp_path / "ours.safetensors")
    assert write_huggingface(tmp_path / "ours.safetensors", tmp_path / "public").config == config
    again, params_again = convert(tmp_path / "public")
    assert again == config
    jax.tree.map(np.testing.assert_array_equal, params, params_again)
    public = load_file(tmp_path / "public" / "model.safetensors")
    original = load_file(GOLDEN / PRETRAINED[1])
    assert set(public) == set(original)
    for key in set(public) - {"model.fixed_positional_encoder.positions"}:
        np.testing.assert_array_equal(public[key], original[key])
    positions = "model.fixed_positional_encoder.positions"
    np.testing.assert_array_equal(
        public[positions][:, : original[positions].shape[1]], original[positions]
    )


def test_way_back_keeps_the_classifier(tmp_path):
    source = GOLDEN / "tiny_eat_finetuned_hf.safetensors"
    write(source, tmp_path / "ours.safetensors", with_head=True)
    write_huggingface(tmp_path / "ours.safetensors", tmp_path / "public")
    public = load_file(tmp_path / "public" / "model.safetensors")
    original = load_file(source)
    for key in (
        "model.head.weight",
        "model.head.bias",
        "model.fc_norm.weight",
        "model.fc_norm.bias",
    ):
        np.testing.assert_array_equal(public[key], original[key].astype(np.float32))
    config = json.loads((tmp_path / "public" / "config.json").read_text())
    assert config["model_variant"] == "finetune" and config["num_classes"] == 7


def test_what_the_public_layout_cannot_hold_is_refused(tmp_path):
    write(GOLDEN / "tiny_eat_fairseq.pt", tmp_path / "ours.safetensors", with_decoder=True)
    for source, options in (
        (GOLDEN / "tiny_eat_fairseq.pt", {"with_decoder": True}),
        (tmp_path / "ours.safetensors", {"weights": "ema"}),
    ):
        with pytest.raises(InputError, match="decoder|teacher"):
            write_huggingface(source, tmp_path / "public", **options)
    sizes = EncoderConfig(
        FrontEnd(simam=SimAM("none")), EATConfig(48, 1, 4), Pooling("mean", -1, 0), "se"
    )
    params = jax.tree.map(lambda x: np.ones(x.shape, x.dtype), abstract_encoder(sizes))
    save_encoder(tmp_path / "attended.safetensors", sizes, params)
    with pytest.raises(
        InputError, match="model.attention=se, which the Hugging Face layout cannot hold"
    ):
        write_huggingface(tmp_path / "attended.safetensors", tmp_path / "public")
    assert not (tmp_path / "public").exists()
    with pytest.raises(InputError, match="student, ema"):
        convert(GOLDEN / "tiny_eat_fairseq.pt", weights="teacher")


def test_what_the_way_back_leaves_behind_is_said(command, tmp_path):
    write(GOLDEN / "tiny_eat_fairseq.pt", tmp_path / "ours.safetensors", with_decoder=True)
    write(GOLDEN / "tiny_eat_finetuned_fairseq.pt", tmp_path / "head.safetensors", with_head=True)
    for source, said in (
        (GOLDEN / "tiny_eat_fairseq.pt", ("decoder keeps it): 6 tensors", "ema takes it): ")),
        (GOLDEN / "tiny_eat_finetuned_fairseq.pt", ("with_head keeps it): 4 tensors",)),
        (tmp_path / "head.safetensors", ("epsilon of 1e-06, the Hugging Face model has 1e-05",)),
        (tmp_path / "ours.safetensors", ("no place for it): 6 tensors, decoder/conv_0/bias",)),
    ):
        arguments = "--to=huggingface", f"--source={source}", f"--output={tmp_path}/public"
        status, out, error = command(convert_eat, *arguments)
        assert status == 0 and all(words in out for words in said), (out, error)
