"""The forms in which checkpoints lie about: every one gives the same parameters, or one remedy."""

import shutil

import numpy as np
import pytest
from public_eat import CONFIG, GOLDEN, equal, state
from safetensors.numpy import save_file

import benchmarks.parity
import convert.eat
from asd_jax.runtime.errors import InputError
from asd_jax.training.weights import load_encoder, load_pipeline
from benchmarks.torch_writer import save
from convert.eat import convert as converted
from convert.eat import write, write_huggingface

RENAMED = {
    "as published": lambda name: name,
    "without prefix": lambda name: name.removeprefix("model."),
    "DataParallel": lambda name: f"module.{name}",
    "compiled": lambda name: f"_orig_mod.{name}",
    "compiled and DataParallel": lambda name: f"module._orig_mod.{name}",
    "FSDP": lambda name: f"_fsdp_wrapped_module.{name}",
    "blocks compiled one by one": lambda name: name.replace("attn.", "_orig_mod.attn."),
    "of a LightningModule": lambda name: f"model.{name}",
    "a part of another model": lambda name: f"system.backbone.{name.removeprefix('model.')}",
}


@pytest.mark.parametrize("how", RENAMED)
def test_a_plain_state_dict_under_any_wrapper(how, tmp_path, public, expected):
    save(tmp_path / "a.pt", state(public, RENAMED[how]))
    equal(converted(tmp_path / "a.pt", heads=4), expected)


def test_pytorch_model_bin_in_a_folder_with_its_config(tmp_path, public, expected):
    save(tmp_path / "pytorch_model.bin", state(public))
    shutil.copy(CONFIG, tmp_path / "config.json")
    equal(converted(tmp_path), expected)


def test_the_command_takes_the_heads_from_its_flag(tmp_path, public, expected, command):
    save_file(public, tmp_path / "a.safetensors")
    flags = f"--source={tmp_path}/a.safetensors", f"--output={tmp_path}/ours.safetensors"
    status, _, err = command(convert.eat, *flags)
    assert status == 2 and "give --heads=N" in err and "Traceback" not in err
    status, _, err = command(convert.eat, *flags, "--heads=4")
    assert status == 0, err
    equal(load_encoder(tmp_path / "ours.safetensors"), expected)


def test_outputs_have_the_ending_of_what_is_written(tmp_path):
    source = GOLDEN / "tiny_eat_hf.safetensors"
    with pytest.raises(InputError, match=r"name it z.safetensors"):
        write(source, tmp_path / "z.pt")
    with pytest.raises(InputError, match="the output is a folder"):
        write_huggingface(source, tmp_path / "z.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_converted_eat_becomes_a_pipeline_by_naming_its_pooling(tmp_path):
    path = tmp_path / "eat.safetensors"
    write(GOLDEN / "tiny_eat_fairseq.pt", path)
    wave = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    with pytest.raises(InputError, match=r'load_pipeline\(path, pooling="cls"\)'):
        load_pipeline(path)
    pipeline = load_pipeline(path, pooling="cls", spacing="mel")
    one = pipeline.embed(wave)
    assert one.shape == (48,)
    np.testing.assert_array_equal(one, pipeline.embed(wave[None])[0])
    even = load_pipeline(path, pooling="cls", spacing="even")
    assert float(np.abs(even.embed(wave) - one).max()) > 1e-3
    with pytest.raises(InputError, match='expected "b s"'):
        pipeline.embed(wave[None, None])
    with pytest.raises(InputError, match="400 samples or more"):
        pipeline.embed(wave[:100])


def test_parity_without_transformers_says_what_to_install(command, monkeypatch):
    monkeypatch.setattr(benchmarks.parity.importlib.util, "find_spec", lambda name: None)
    status, _, err = command(benchmarks.parity, "--reference=transformers", "--checkpoint=a/b")
    assert status == 2 and "pip install transformers timm" in err and "Traceback" not in err
