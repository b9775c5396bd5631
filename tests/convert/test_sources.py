"""Where a checkpoint can come from: old and new fairseq settings, other sizes, the hub, and our own
encoders.
"""

import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from public_eat import FAIRSEQ, GOLDEN
from safetensors.numpy import load_file, save_file

from asd_jax.runtime.errors import InputError
from convert.eat import convert, find, write

ROOT = Path(__file__).parent.parent.parent


def test_our_own_file_as_a_source_says_what_to_do(tmp_path):
    write(FAIRSEQ, tmp_path / "ours.safetensors")
    with pytest.raises(InputError, match="already holds asd_jax weights; --to=huggingface"):
        convert(tmp_path / "ours.safetensors")


def test_bfloat16_safetensors_are_read_exactly(tmp_path, expected):
    import ml_dtypes

    tensors = {
        n: t.astype(ml_dtypes.bfloat16)
        for n, t in load_file(GOLDEN / "tiny_eat_hf.safetensors").items()
    }
    save_file(tensors, tmp_path / "model.safetensors")
    # the rest are defaults
    (tmp_path / "config.json").write_text('{"num_heads": 4, "depth": 3, "embed_dim": 48}')
    assert 1e-3 < find(tmp_path).position_difference < 2e-3
    config, params = convert(tmp_path)
    assert config == expected[0]
    rounded = jax.tree.map(lambda x: x.astype(ml_dtypes.bfloat16).astype(np.float32), expected[1])
    jax.tree.map(np.testing.assert_array_equal, params, rounded)


def test_help_names_every_flag_and_does_not_wait_for_jax():
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "convert.eat", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0
    assert all(
        f"--{name}" in ran.stdout for name in ("source", "output", "to", "weights", "revision")
    )
    assert not any(
        line.endswith(("| jax", "| flax", "| torch")) for line in ran.stderr.splitlines()
    )
