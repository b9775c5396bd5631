import numpy as np
import pytest
from public_eat import GOLDEN, POSITIONS, equal, resaved, state

from asd_jax.models.eat import position_table
from asd_jax.runtime.errors import InputError
from benchmarks.torch_writer import save, tensor
from convert.eat import convert, find


def test_other_models_are_named_and_all_missing_tensors_listed(tmp_path, public):
    beats = {"encoder.layers.0.self_attn.k_proj.weight": tensor(np.zeros((4, 4), np.float32))}
    save(tmp_path / "beats.pt", {"cfg": {"encoder_layers": 12}, "model": beats})
    with pytest.raises(InputError, match="no EAT: the names of its tensors are those of BEATs"):
        convert(tmp_path / "beats.pt")
    lost = ["local_encoder.proj.weight", "blocks.0.mlp.fc1.weight", "blocks.2.norm2.bias"]
    rest = {name: t for name, t in public.items() if name.removeprefix("model.") not in lost}
    save(tmp_path / "part.pt", state(rest))
    with pytest.raises(InputError, match="not those of an EAT") as error:
        convert(tmp_path / "part.pt", heads=4)
    assert all(f"missing {name}" in str(error.value) for name in lost)


def test_january_2024_names_are_known(tmp_path, expected):
    old = POSITIONS.replace("positions", "pos_embed")
    changes = {POSITIONS: None, old: tensor(position_table(48, 64, 8)[None])}
    path = resaved(tmp_path / "a.pt", {"cfg": {"model": {"num_heads": 4}}}, **changes)
    equal(convert(path), expected)


def test_every_tensor_is_used_or_dropped_with_a_reason():
    found = find(GOLDEN / "tiny_eat_fairseq.pt")
    reasons = {name: why for name, why in found.dropped.items() if not name.startswith("_ema: ")}
    assert set(reasons) == {"fixed_positional_encoder.positions"} | {
        f"decoder.{layer}.{kind}"
        for layer in ("blocks.0.0", "blocks.1.0", "proj")
        for kind in ("weight", "bias")
    }
    assert len(found.parameters) == 5 + 12 * 3
