"""Converted golden checkpoints against the public PyTorch code's own outputs."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from public_eat import ALL, GOLDEN, PRETRAINED, forward
from safetensors import safe_open
from safetensors.numpy import load_file

from asd_jax.models import eat
from asd_jax.models.eat import EAT, EATConfig
from asd_jax.training.weights import load_encoder
from convert import table
from convert.eat import convert, find, write
from convert.table import public_name

BLOCKS = 1.5e-5  # measured 7.3e-6


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


def test_decoder_travels_along_only_when_asked_for(tmp_path):
    write(GOLDEN / "tiny_eat_fairseq.pt", tmp_path / "w.safetensors", with_decoder=True)
    tensors = load_file(tmp_path / "w.safetensors")
    assert tensors["decoder/conv_1/kernel"].shape == (3, 3, 3, 48) and tensors[
        "decoder/out/kernel"
    ].shape == (48, 48)
    load_encoder(tmp_path / "w.safetensors")  # leaves it aside
    assert "decoder" not in convert(GOLDEN / "tiny_eat_fairseq.pt")[1]
