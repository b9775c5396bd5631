import json
import shutil

import numpy as np
import pytest
from public_eat import CONFIG, GOLDEN, POSITIONS, equal, resaved
from safetensors.numpy import save_file

from asd_jax.models.eat import EATConfig, position_table
from asd_jax.runtime.errors import InputError
from benchmarks.convert_memory import encoder
from benchmarks.torch_writer import save, tensor
from convert.eat import convert, find, write


def test_heads_are_asked_for_where_nothing_says_them_and_may_not_contradict(tmp_path, public):
    save_file(public, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=r"config.json beside it .* or give --heads=N"):
        convert(tmp_path / "a.safetensors")
    assert convert(tmp_path / "a.safetensors", heads=4)[0].num_heads == 4
    shutil.copy(CONFIG, tmp_path / "config.json")
    with pytest.raises(InputError, match="--heads=8, but the settings say num_heads=4"):
        convert(tmp_path / "a.safetensors", heads=8)


@pytest.mark.parametrize("times", [8, 64, 768, 1024])
def test_position_table_may_have_any_length_or_be_absent(tmp_path, expected, times):
    settings = {"cfg": {"model": {"num_heads": 4}}}
    path = resaved(
        tmp_path / "a.pt", settings, **{POSITIONS: tensor(position_table(48, times, 8)[None])}
    )
    assert find(path).position_difference == 0
    equal(convert(path), expected)
    equal(convert(resaved(tmp_path / "b.pt", settings, **{POSITIONS: None})), expected)


@pytest.mark.parametrize(
    "config, parameters",
    [
        (EATConfig(64, 5, 2, 2.5), 204_640),
        (EATConfig.base(), 85_254_144),
        pytest.param(EATConfig.large(), 302_575_616, marks=pytest.mark.slow),
    ],
)
def test_any_size_is_recognised_from_the_tensors(tmp_path, config, parameters):
    save(
        tmp_path / "a.pt",
        {"cfg": {"model": {"num_heads": config.num_heads}}, "model": encoder(config)},
    )
    found = find(tmp_path / "a.pt")
    assert found.config == config
    assert (
        sum(int(np.prod(parameter.shape)) for parameter in found.parameters.values()) == parameters
    )


def test_sizes_beyond_any_model_are_told_from_those_that_do_not_fit(tmp_path):
    (tmp_path / "model.safetensors").write_bytes((GOLDEN / "tiny_eat_hf.safetensors").read_bytes())
    for heads, words in (
        (65, "num_heads=65 must lie in 1..64"),
        (64, "must be divisible by 64 heads"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({"num_heads": heads}))
        with pytest.raises(InputError, match=words):
            write(tmp_path, tmp_path / "output.safetensors")
