import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from public_eat import CONFIG, GOLDEN, equal, resaved, state
from safetensors.numpy import load_file, save_file

from asd_jax.runtime.errors import InputError
from asd_jax.training.weights import (
    read_weights,
)
from benchmarks.torch_writer import Call, Reference, save
from convert.checkpoint import is_ours
from convert.eat import convert, find, write


def test_names_that_become_one_and_files_of_two_models_are_refused(tmp_path, public):
    save(tmp_path / "a.pt", state(public | {"module.pre_norm.bias": public["model.pre_norm.bias"]}))
    with pytest.raises(InputError, match="two tensors are called 'pre_norm.bias'"):
        convert(tmp_path / "a.pt", heads=4)
    plain = {name.removeprefix("model."): array for name, array in public.items()}
    both = {f"{part}.{name}": a for part in ("student", "teacher") for name, a in plain.items()}
    save(tmp_path / "b.pt", state(both))
    with pytest.raises(InputError, match=r"2 models, under 'student\.', 'teacher\.'"):
        convert(tmp_path / "b.pt", heads=4)
    save(
        tmp_path / "c.pt",
        state({f"eat.{n}": a for n, a in plain.items()} | {"arc.w": plain["pre_norm.bias"]}),
    )
    with pytest.raises(InputError, match="not known 'arc.w'"):
        convert(tmp_path / "c.pt", heads=4)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_a_state_dict_of_a_training_checkpoint(key, tmp_path, public, expected):
    save(tmp_path / "a.ckpt", {"epoch": 3, "lr": 0.1, key: state(public), "callbacks": {}})
    equal(convert(tmp_path / "a.ckpt", heads=4), expected)


def sharded(folder, public, ending="safetensors"):
    """Writes two shards and their index, and returns the path of the index and its content."""
    names = sorted(public)
    parts = names[: len(names) // 2], names[len(names) // 2 :]
    stem = "model" if ending == "safetensors" else "pytorch_model"
    index = {}
    for number, part in enumerate(parts, 1):
        name = f"{stem}-0000{number}-of-00002.{ending}"
        own = {tensor_name: public[tensor_name] for tensor_name in part}
        if ending == "safetensors":
            save_file(own, folder / name)
        else:
            save(folder / name, state(own))
        index |= dict.fromkeys(part, name)
    path = folder / f"{stem}.{ending}.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": index}))
    shutil.copy(CONFIG, folder / "config.json")
    return path, index


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_shards_are_put_together(ending, tmp_path, public, expected):
    index, _ = sharded(tmp_path, public, ending)
    equal(convert(tmp_path), expected)
    equal(convert(index), expected)
    write(tmp_path, tmp_path / "ours.safetensors")
    assert read_weights(tmp_path / "ours.safetensors")[1]["sha256"] == find(index).header["sha256"]


def test_the_hash_of_shards_depends_on_each(tmp_path, public):
    first = find(sharded(tmp_path, public)[0]).header["sha256"]
    changed = public | {"model.pre_norm.bias": public["model.pre_norm.bias"] + 1}
    assert find(sharded(tmp_path, changed)[0]).header["sha256"] != first


def again(path, index):
    text = path.read_text()
    name = next(iter(index))
    path.write_text(text.replace('"weight_map": {', f'"weight_map": {{"{name}": "b.bin", '))


def in_two_shards(path, index):
    names = sorted(set(index.values()))
    tensors = load_file(path.with_name(names[0])) | load_file(path.with_name(names[1]))
    save_file(tensors, path.with_name(names[0]))


def not_in_the_index(path, index):
    del index["model.pre_norm.bias"]
    path.write_text(json.dumps({"weight_map": index}))


def elsewhere(path, index):
    index["model.pre_norm.bias"] = "../other.safetensors"
    path.write_text(json.dumps({"weight_map": index}))


def not_there(path, index):
    path.with_name(index["model.pre_norm.bias"]).unlink()


def in_no_shard(path, index):
    index["model.more"] = index["model.pre_norm.bias"]
    path.write_text(json.dumps({"weight_map": index}))


BROKEN = {
    again: "is there twice",
    in_two_shards: "which the index says is model-0000",
    not_in_the_index: "'model.pre_norm.bias', which the index says is in no shard",
    elsewhere: "is a path, not a name",
    not_there: "1 of 2 shards are missing: model-0000",
    in_no_shard: "1 tensors of the index are in no shard: 'model.more'",
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_shards_that_disagree_with_their_index_are_refused(broken, tmp_path, public):
    path, index = sharded(tmp_path, public)
    broken(path, index)
    with pytest.raises(InputError, match=BROKEN[broken]):
        convert(tmp_path)


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


ROOT = Path(__file__).parent.parent.parent
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


def test_what_is_no_file_is_not_ours(tmp_path):
    assert not is_ours("worstchan/EAT-base_epoch30_pretrain") and not is_ours(tmp_path)
