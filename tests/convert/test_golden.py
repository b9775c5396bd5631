"""Converted golden checkpoints against the public PyTorch code's own outputs."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models import eat
from asd_jax.models.eat import EAT, EATConfig
from asd_jax.models.encoder import EncoderConfig, Pooling
from asd_jax.runtime.errors import InputError
from asd_jax.training.weights import abstract_encoder, load_encoder, save_encoder
from convert import eat as convert_eat
from convert import table
from convert.classifier import audioset_logits, load_classifier
from convert.eat import convert, find, write, write_huggingface
from convert.table import public_name

GOLDEN = Path(__file__).parent.parent / "golden"
PRETRAINED = ["tiny_eat_fairseq.pt", "tiny_eat_hf.safetensors"]
ALL = [
    *PRETRAINED,
    "tiny_eat_fairseq_fp16.pt",
    "tiny_eat_finetuned_fairseq.pt",
    "tiny_eat_finetuned_hf.safetensors",
]
BLOCKS = 1.5e-5  # measured 7.3e-6
LOGITS = 2e-6  # measured 9.5e-7; the other eps would move them by more than 1e-3


@pytest.fixture(scope="module")
def blocks(golden):
    return golden("blocks")


@functools.partial(jax.jit, static_argnums=0)
def forward(config, params, x):
    return EAT(config).apply({"params": params}, x[:, 0].astype(np.float32))


@pytest.mark.parametrize("name", PRETRAINED)
@pytest.mark.parametrize("length", ["x1024", "x512", "x208", "x100"])
def test_every_block_agrees_at_every_length(blocks, name, length):
    config, params = convert(GOLDEN / name)
    assert config == EATConfig(48, 3, 4)
    _, out = forward(config, params, blocks[length])
    np.testing.assert_allclose(out["pre_norm"], blocks[f"{length}_pre_norm"], rtol=0, atol=BLOCKS)
    for i, block in enumerate(out["blocks"]):
        np.testing.assert_allclose(block, blocks[f"{length}_block{i}"], rtol=0, atol=BLOCKS)


def test_teacher_is_taken_only_when_asked_for(blocks):
    config, params = convert(GOLDEN / "tiny_eat_fairseq.pt", weights="ema")
    tokens, _ = forward(config, params, blocks["x100"])
    np.testing.assert_allclose(tokens, blocks["ema_x100_block2"], rtol=0, atol=BLOCKS)
    assert np.abs(tokens - blocks["x100_block2"]).max() > 0.1


def test_float16_checkpoint_differs_only_by_its_rounded_position_table(blocks, monkeypatch):
    assert 1e-4 < find(GOLDEN / "tiny_eat_fairseq_fp16.pt").position_difference < 2.5e-4
    config, params = convert(GOLDEN / "tiny_eat_fairseq_fp16.pt")
    tokens, _ = forward(config, params, blocks["x208"])
    np.testing.assert_allclose(tokens, blocks["x208_block2"], rtol=0, atol=BLOCKS)
    exact = eat.position_table
    monkeypatch.setattr(
        eat, "position_table", lambda *sizes: exact(*sizes).astype(np.float16).astype(np.float32)
    )
    tokens, _ = eat.EAT(config).apply(
        {"params": params}, jnp.asarray(blocks["x208"][:, 0], jnp.float32)
    )
    np.testing.assert_allclose(tokens, blocks["fp16ckpt_x208_block2"], rtol=0, atol=BLOCKS)
    moved = np.abs(blocks["fp16ckpt_x208_block2"] - blocks["x208_block2"]).max()
    assert moved == pytest.approx(1.3e-3, abs=5e-5)


def test_fairseq_and_huggingface_files_give_identical_parameters():
    (_, fairseq), (_, huggingface) = (convert(GOLDEN / name) for name in PRETRAINED)
    jax.tree.map(np.testing.assert_array_equal, fairseq, huggingface)


@pytest.mark.parametrize("layout, suffix", [("fairseq", ".pt"), ("hf", ".safetensors")])
@pytest.mark.parametrize("length", ["x1024", "x512", "x208", "x100"])
def test_classifier_agrees_with_its_layouts_own_eps(blocks, tmp_path, layout, suffix, length):
    write(
        GOLDEN / f"tiny_eat_finetuned_{layout}{suffix}", tmp_path / "w.safetensors", with_head=True
    )
    config, params = load_encoder(tmp_path / "w.safetensors")
    tokens, _ = forward(config, params, blocks[length])
    head, eps = load_classifier(tmp_path / "w.safetensors")
    assert eps == (1e-6 if layout == "fairseq" else 1e-5)
    logits = audioset_logits(head, tokens, eps)
    np.testing.assert_allclose(logits, blocks[f"logits_{layout}_{length}"], rtol=0, atol=LOGITS)


def test_gradients_agree(blocks, golden):
    config, params = convert(GOLDEN / "tiny_eat_fairseq.pt")
    reference = golden("grads")
    x = jnp.asarray(blocks["x208"][:, 0], jnp.float32)
    grads = jax.jit(jax.grad(lambda p: jnp.mean(EAT(config).apply({"params": p}, x)[0] ** 2)))(
        params
    )
    flat = {
        "/".join(k.key for k in path): g for path, g in jax.tree_util.tree_leaves_with_path(grads)
    }
    ours = {row.public: row for row in table.rows(table.ENCODER, config.depth)}
    checked = 0
    for name in reference.files:
        row = ours.get(public_name(name.removeprefix("grad:")))
        if row is not None:
            wanted = row.transform.to_ours(reference[name])
            # measured 1.6e-6 of each tensor's largest entry
            np.testing.assert_allclose(
                flat[row.ours], wanted, rtol=0, atol=3.2e-6 * np.abs(wanted).max()
            )
            checked += 1
    assert checked == len(ours) - 12  # blocks.1 is left out of the golden file


@pytest.mark.parametrize("name", ALL)
def test_files_are_reproducible_byte_for_byte_and_name_no_folder(tmp_path, name):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for part in (name, name.replace(".safetensors", "_config.json")):
            (tmp_path / folder / part).write_bytes((GOLDEN / part).read_bytes())
        write(tmp_path / folder / name, tmp_path / folder / "out.safetensors")
    first, second = ((tmp_path / folder / "out.safetensors").read_bytes() for folder in ("a", "b"))
    assert first == second
    assert str(tmp_path).encode() not in first
    header = json.loads(
        safe_open(tmp_path / "a" / "out.safetensors", "numpy").metadata()["asd_jax"]
    )
    assert (
        header["source"] == name
        and header["front_end"]["spacing"] == "mel"
        and len(header["sha256"]) == 64
    )


@pytest.mark.parametrize("name", PRETRAINED)
def test_round_trip_through_huggingface_is_bit_exact(tmp_path, name):
    config, params = convert(GOLDEN / name)
    write(GOLDEN / name, tmp_path / "ours.safetensors")
    assert write_huggingface(tmp_path / "ours.safetensors", tmp_path / "public").config == config
    again, params_again = convert(tmp_path / "public")
    assert again == config
    jax.tree.map(np.testing.assert_array_equal, params, params_again)
    public, original = (
        load_file(tmp_path / "public" / "model.safetensors"),
        load_file(GOLDEN / PRETRAINED[1]),
    )
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
    public, original = load_file(tmp_path / "public" / "model.safetensors"), load_file(source)
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


def test_decoder_travels_along_only_when_asked_for(tmp_path):
    write(GOLDEN / "tiny_eat_fairseq.pt", tmp_path / "w.safetensors", with_decoder=True)
    tensors = load_file(tmp_path / "w.safetensors")
    assert tensors["decoder/conv_1/kernel"].shape == (3, 3, 3, 48) and tensors[
        "decoder/out/kernel"
    ].shape == (48, 48)
    load_encoder(tmp_path / "w.safetensors")  # leaves it aside
    assert "decoder" not in convert(GOLDEN / "tiny_eat_fairseq.pt")[1]


def test_every_tensor_is_used_or_dropped_with_a_reason():
    found = find(GOLDEN / "tiny_eat_fairseq.pt")
    reasons = {name: why for name, why in found.dropped.items() if not name.startswith("_ema: ")}
    assert set(reasons) == {"fixed_positional_encoder.positions"} | {
        f"decoder.{layer}.{kind}"
        for layer in ("blocks.0.0", "blocks.1.0", "proj")
        for kind in ("weight", "bias")
    }
    assert len(found.parameters) == 5 + 12 * 3
