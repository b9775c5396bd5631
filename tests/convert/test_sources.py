"""Where a checkpoint can come from: old and new fairseq settings, other sizes, the hub, and our own
encoders.
"""

import http.server
import os
import subprocess
import sys
import threading
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from asd_jax.detector.views import load_pipeline_or_eat
from asd_jax.features.front_end import FrontEnd
from asd_jax.models.eat import EATConfig, position_table
from asd_jax.models.encoder import EncoderConfig, Pooling
from asd_jax.runtime.errors import InputError
from asd_jax.training.weights import abstract_encoder, load_encoder, read_weights, save_encoder
from benchmarks.convert_memory import encoder
from benchmarks.torch_writer import Call, Reference, save, tensor
from convert.eat import convert, find, write, write_huggingface
from convert.torch_file import read_torch

GOLDEN = Path(__file__).parent.parent / "golden"
ROOT = Path(__file__).parent.parent.parent
FAIRSEQ = GOLDEN / "tiny_eat_fairseq.pt"
POSITIONS = "modality_encoders.IMAGE.fixed_positional_encoder.positions"


@pytest.fixture(scope="module")
def expected():
    return convert(FAIRSEQ)


def resaved(path, settings, **changes):
    model = {
        name: tensor(t.read()) for name, t in read_torch(FAIRSEQ)["model"].items() if name != "_ema"
    }
    model = {name: t for name, t in (model | changes).items() if t is not None}
    save(path, {"args": None, "cfg": None, "model": model} | settings)
    return path


def equal(found, expected):
    assert found[0] == expected[0]
    jax.tree.map(np.testing.assert_array_equal, found[1], expected[1])


def omegaconf(value):
    """A value as omegaconf pickles it: containers with `_content`, leaves with `_val`."""
    if isinstance(value, dict):
        content = {"_content": {name: omegaconf(v) for name, v in value.items()}, "_parent": None}
        content["_metadata"] = Call(
            Reference("omegaconf.base", "ContainerMetadata"), (Reference("__builtin__", "long"),)
        )
        return Call(Reference("omegaconf.dictconfig", "DictConfig"), (), content)
    return Call(Reference("omegaconf.nodes", "AnyNode"), (), {"_val": value, "_parent": None})


def test_omegaconf_settings_are_understood_without_omegaconf(tmp_path, expected):
    cfg = omegaconf(
        {"model": {"num_heads": 4, "depth": 3, "modalities": {"image": {"patch_size": 16}}}}
    )
    equal(convert(resaved(tmp_path / "a.pt", {"cfg": cfg})), expected)
    cfg = omegaconf(
        {"model": {"num_heads": 4, "depth": 3, "modalities": {"image": {"patch_size": 8}}}}
    )
    with pytest.raises(InputError, match="patch_size=8"):
        convert(resaved(tmp_path / "b.pt", {"cfg": cfg}))


def test_argparse_settings_are_understood(tmp_path, expected):
    args = Call(Reference("argparse", "Namespace"), (), {"num_heads": 4, "seed": 1})
    equal(convert(resaved(tmp_path / "a.pt", {"args": args})), expected)


@pytest.mark.parametrize("times", [8, 64, 768, 1024])
def test_position_table_may_have_any_length_or_be_absent(tmp_path, expected, times):
    settings = {"cfg": {"model": {"num_heads": 4}}}
    path = resaved(
        tmp_path / "a.pt", settings, **{POSITIONS: tensor(position_table(48, times, 8)[None])}
    )
    assert find(path).position_difference == 0
    equal(convert(path), expected)
    equal(convert(resaved(tmp_path / "b.pt", settings, **{POSITIONS: None})), expected)


def test_january_2024_names_are_known(tmp_path, expected):
    old = POSITIONS.replace("positions", "pos_embed")
    changes = {POSITIONS: None, old: tensor(position_table(48, 64, 8)[None])}
    path = resaved(tmp_path / "a.pt", {"cfg": {"model": {"num_heads": 4}}}, **changes)
    equal(convert(path), expected)


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


COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(http.server.BaseHTTPRequestHandler):
    """Serves the golden Hugging Face files as the hub does."""

    def do_HEAD(self):
        names = {
            "config.json": "tiny_eat_hf_config.json",
            "model.safetensors": "tiny_eat_hf.safetensors",
        }
        owner, name, _, revision, file = self.path.strip("/").split("/")
        if (owner, name) != ("worstchan", "tiny") or revision not in ("main", COMMIT):
            self.send_error(404)
            return None
        data = (GOLDEN / names[file]).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{file}-1"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        return data

    def do_GET(self):
        data = self.do_HEAD()
        if data:
            self.wfile.write(data)

    def log_message(self, *arguments):
        pass


def command(folder, endpoint, source):
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "convert.eat",
            f"--source={source}",
            f"--output={folder / 'out.safetensors'}",
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(folder / "cache"),
            "JAX_PLATFORMS": "cpu",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_hub_id_is_fetched_at_one_commit_and_works_from_the_cache_afterwards(tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    ran = command(tmp_path, endpoint, "worstchan/tiny")
    server.shutdown()
    server.server_close()
    assert ran.returncode == 0, ran.stderr
    assert read_weights(tmp_path / "out.safetensors")[1]["source"] == f"worstchan/tiny@{COMMIT}"
    first = (tmp_path / "out.safetensors").read_bytes()
    ran = command(tmp_path, endpoint, "worstchan/tiny")  # nobody answers any more
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "out.safetensors").read_bytes() == first


def test_offline_message_gives_the_addresses_and_the_folder(tmp_path):
    ran = command(tmp_path, "http://127.0.0.1:9", "worstchan/EAT-base_epoch30_pretrain")
    assert ran.returncode == 2 and "Traceback" not in ran.stderr
    for file in ("model.safetensors", "config.json"):
        assert (
            f"https://huggingface.co/worstchan/EAT-base_epoch30_pretrain/resolve/main/{file}"
            in ran.stderr
        )
    assert "--source=weights/EAT-base_epoch30_pretrain " in ran.stderr


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
