"""Damaged and hostile files: refused with one message, nothing executed, nothing written."""

import json
import math
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from public_eat import GOLDEN

from asd_jax.runtime.errors import InputError
from benchmarks.torch_writer import Call, Reference, Storage, Tensor, save, tensor
from convert.eat import write
from convert.torch_file import read_torch

ROOT = Path(__file__).parent.parent.parent
SYSTEM = Reference("os", "system")
TOUCH = ("touch executed",)  # tests run in their own folder
PREFIX = "modality_encoders.IMAGE."


def checkpoint(**changes):
    """The golden fairseq checkpoint as writable objects, some of its weights changed (None:
    removed).
    """
    saved = read_torch(GOLDEN / "tiny_eat_fairseq.pt")
    model = {name: tensor(t.read()) for name, t in saved["model"].items() if name != "_ema"}
    model |= changes.pop("model", {})
    model = {name: value for name, value in model.items() if value is not None}
    settings = {**saved["cfg"]["model"], **changes.pop("settings", {})}
    return {"cfg": {"model": settings}, "model": model, **changes}


def raw(data, **kinds):
    """Builder of an archive around any bytes as its pickle."""

    def build(path):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", data, **kinds)
            archive.writestr("archive/version", b"3\n")

    return build


def saved(**changes):
    return lambda path: save(path, checkpoint(**changes))


def entry(name, data=b"x", **kinds):
    """Builder of a good checkpoint with one more archive entry."""

    def build(path):
        save(path, checkpoint())
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(name, data, **kinds)

    return build


def flags_encrypted(path):
    save(path, {"model": {}})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)


def huge_pickle(path):
    with path.open("wb") as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", bytes((64 << 20) + 1))


def tuple_keys(path):
    """A tuple of two tuples of two tuples ...: 60 doublings through the memo, whose hash takes 2^60
    steps.
    """
    raw(b"\x80\x02)q\x00" + b"h\x00h\x00\x86q\x00" * 60 + b"}h\x00K\x01s.")(path)


STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n%sX\x03\x00\x00\x00cpuK\x01tQ."
MODEL = b"}X\x05\x00\x00\x00model}cargparse\nNamespace\n%s\x85RK\x01ss."
ENDLESS = b"\x80\x02](" + b")q\x00" + b"h\x00h\x00\x86q\x00" * 60 + b"e"  # memo 0: a tuple of 2^60
DEEP = b")" + b"\x85" * 100_000


def called_again_and_again(path):
    """A list of 50,000 that is made a tuple for each of 50,000 objects: 20 GB."""
    items = b"](" + b"N" * 50_000 + b"eq\x00cargparse\nNamespace\nq\x01"
    raw(b"\x80\x02" + items + b"h\x01h\x00R0" * 50_000 + b"}.")(path)


def shapes_of_lists(path):
    """Tensors whose shape is a list of 50,000 numbers, 20,000 times."""
    items = b"](" + b"K\x01" * 50_000 + b"eq\x00ctorch._utils\n_rebuild_tensor_v2\nq\x01"
    raw(b"\x80\x02" + items + b"h\x01(NK\x00h\x00h\x00tR0" * 20_000 + b"}.")(path)


def one_storage_for_all(path):
    """48 blocks that are all the same few numbers."""
    numbers = Storage(np.zeros(48 * 256, np.float32))
    model = {}
    for name, t in read_torch(GOLDEN / "tiny_eat_fairseq.pt")["model"].items():
        if name == "_ema" or "decoder" in name or "positions" in name:
            continue
        strides = tuple(int(np.prod(t.shape[n + 1 :])) for n in range(len(t.shape)))
        first = name.startswith("blocks.0.")
        for block in range(48) if first else (0,):
            model[name.replace("blocks.0.", f"blocks.{block}.")] = Tensor(
                numbers, 0, t.shape, strides
            )
    save(path, {"cfg": {"model": {"num_heads": 4}}, "model": model})


def changed(name, shape):
    return {"model": {name: tensor(np.zeros(shape, np.float32))}}


def filled(name, value, dtype=np.float32):
    shape = read_torch(GOLDEN / "tiny_eat_fairseq.pt")["model"][name].shape
    return {"model": {name: tensor(np.full(shape, value, dtype))}}


PICKLES = {
    "os.system": saved(extra=Call(SYSTEM, TOUCH)),
    "posix.system": saved(extra=Call(Reference("posix", "system"), TOUCH)),
    "builtins.eval": saved(extra=Call(Reference("builtins", "eval"), ("open('executed', 'w')",))),
    "builtins.exec": saved(
        extra=Call(Reference("__builtin__", "exec"), ("open('executed', 'w')",))
    ),
    "builtins.getattr": saved(extra=Call(Reference("builtins", "getattr"), (SYSTEM, "__call__"))),
    "subprocess.Popen": saved(
        extra=Call(Reference("subprocess", "Popen"), (["touch", "executed"],))
    ),
    "importlib.import_module": saved(
        extra=Call(Reference("importlib", "import_module"), ("antigravity",))
    ),
    "torch.storage._load_from_bytes": saved(
        extra=Call(Reference("torch.storage", "_load_from_bytes"), ("x",))
    ),
    "torch.hub.load": saved(extra=Call(Reference("torch.hub", "load"), ("a/b", "c"))),
    "omegaconf then os": saved(extra=Call(Reference("omegaconf os", "system"), TOUCH)),
    "nested reduce": saved(extra=Call(Call(SYSTEM, TOUCH), TOUCH)),
    "call of a stand-in": saved(extra=Call(Call(Reference("omegaconf", "DictConfig"), ()), TOUCH)),
    "hidden in the optimizer": saved(last_optimizer_state={"state": [Call(SYSTEM, TOUCH)]}),
    "hidden in a state": saved(
        cfg=Call(Reference("argparse", "Namespace"), (), {"x": Call(SYSTEM, TOUCH)})
    ),
    "hidden in a tensor": saved(
        extra=Call(
            Reference("torch._utils", "_rebuild_parameter"), (Call(SYSTEM, TOUCH), True, None)
        )
    ),
    "parameter of no tensor": saved(
        extra=Call(Reference("torch._utils", "_rebuild_parameter"), ("x", True, None))
    ),
    "protocol 0": raw(b"cos\nsystem\n(S'touch executed'\ntR."),
    "INST": raw(b"(S'touch executed'\nios\nsystem\n."),
    "OBJ": raw(b"(cos\nsystem\nS'touch executed'\no."),
    "STACK_GLOBAL": raw(b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0etouch executed\x85R."),
    "EXT1": raw(b"\x80\x02\x82\x01)R."),
    "text persistent id": raw(b"Pexecuted\n."),
    "tuples as keys": tuple_keys,
    "storage called by an endless tuple": raw(ENDLESS + STORAGE % b"h\x00"),
    "storage called by a deep tuple": raw(b"\x80\x02" + STORAGE % DEEP),
    "weights called by an endless object": raw(ENDLESS + MODEL % b"h\x00"),
    "weights called by a deep object": raw(b"\x80\x02" + MODEL % DEEP),
    "2 million empty lists": raw(b"\x80\x02" + b"]" * (2 << 20) + b"."),
    "2 million empty dicts": raw(b"\x80\x02" + b"}" * (2 << 20) + b"."),
    "2 million marks": raw(b"\x80\x02" + b"(" * (2 << 20) + b"."),
    "2 million sets": raw(b"\x80\x04" + b"\x8f" * (2 << 20) + b"."),
    "60 MB of empty lists": raw(b"\x80\x02" + b"]" * (60 << 20) + b"."),
    "an object of a list, again and again": called_again_and_again,
    "shapes that are lists": shapes_of_lists,
    "integer of 5,000 digits": raw(
        b"\x80\x02}X\x05\x00\x00\x00model\x8b\x00\x10\x00\x00" + b"\x7f" * 4096 + b"s."
    ),
    "stack underflow": raw(b"\x80\x02R."),
    "no end": raw(b"\x80\x02}"),
    "string beyond the end": raw(b"\x80\x02X\xff\xff\xff\x7fabc."),
    "integer of 2 GB": raw(b"\x80\x02\x8b\xff\xff\xff\x7f1."),
    "empty pickle": raw(b""),
    "list for a dict": raw(b"\x80\x02]."),
}
ARCHIVES = {
    "compressed pickle (bomb)": raw(bytes(1 << 24), compress_type=zipfile.ZIP_DEFLATED),
    "compressed storage (bomb)": entry(
        "archive/data/999", bytes(1 << 24), compress_type=zipfile.ZIP_DEFLATED
    ),
    "pickle of 64 MB": huge_pickle,
    "parent folder": entry("archive/../../executed"),
    "absolute name": entry("/executed"),
    "backslashes": entry("archive\\..\\executed"),
    "two pickles": entry("other/data.pkl"),
    "TorchScript": entry("archive/constants.pkl"),
    "encrypted": flags_encrypted,
    "big-endian": lambda path: save(path, checkpoint(), byteorder=b"big"),
    "no pickle": lambda path: zipfile.ZipFile(path, "w").writestr("readme.txt", "hello"),
    "plain pickle": lambda path: path.write_bytes(pickle.dumps({"model": {}})),
    "before torch 1.6": lambda path: path.write_bytes(
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."
    ),
    "empty file": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("404: not found"),
    "only a zip signature": lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)),
}
MODELS = {
    "no model": lambda path: save(path, {"cfg": {}}),
    "model is a list": lambda path: save(path, {"model": [1, 2]}),
    "weights that are no tensors": saved(model={"blocks.0.mlp.fc1.weight": "weights"}),
    "missing key": saved(model={"blocks.1.attn.qkv.bias": None}),
    "missing block": saved(
        model={
            f"blocks.1.{n}.{k}": None
            for n in ("norm1", "norm2", "attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
            for k in ("weight", "bias")
        }
    ),
    "extra key": saved(**changed("blocks.0.attn.alibi_scale", (4,))),
    "extra block": saved(**changed("blocks.99999999999.norm1.weight", (48,))),
    "one name twice": saved(**changed("model.blocks.0.norm1.weight", (48,))),
    "wrong shape": saved(**changed("blocks.2.mlp.fc2.weight", (48, 191))),
    "wrong rank": saved(**changed("blocks.2.mlp.fc2.weight", (48 * 192,))),
    "two CLS tokens": saved(**changed(PREFIX + "extra_tokens", (1, 2, 48))),
    "stereo patches": saved(**changed(PREFIX + "local_encoder.proj.weight", (48, 2, 16, 16))),
    "patches of 8 x 32": saved(**changed(PREFIX + "local_encoder.proj.weight", (48, 1, 8, 32))),
    "scalar patches": saved(**changed(PREFIX + "local_encoder.proj.weight", ())),
    "empty patches": saved(**changed(PREFIX + "local_encoder.proj.weight", (0, 1, 16, 16))),
    "other positions": saved(**filled(PREFIX + "fixed_positional_encoder.positions", 0.5)),
    "NaN positions": saved(**filled(PREFIX + "fixed_positional_encoder.positions", math.nan)),
    "positions without rows": saved(
        **changed(PREFIX + "fixed_positional_encoder.positions", (1, 0, 48))
    ),
    "NaN weights": saved(**filled("blocks.1.attn.proj.weight", math.nan)),
    "infinite weights": saved(**filled("blocks.1.attn.proj.weight", math.inf)),
    "float64 weights beyond float32": saved(
        **filled("blocks.1.attn.proj.weight", 1e300, np.float64)
    ),
    "integer weights": saved(**filled("blocks.1.attn.proj.weight", 1, np.int64)),
    "a tensor that repeats one number": saved(
        model={
            "blocks.0.norm1.weight": Tensor(Storage(np.ones(1, np.float32)), 0, (1 << 40,), (0,))
        }
    ),
    "48 blocks of one storage": one_storage_for_all,
    "sizes as a float": saved(settings={"num_heads": 4.0}),
    "sizes as a truth": saved(settings={"num_heads": True}),
    "a mel bank of a million": saved(settings={"mel_bins": 1 << 20}),
    "teacher is a list": saved(model={"_ema": [1]}),
    "heads that do not divide the width": saved(settings={"num_heads": 7}),
    "no heads": saved(settings={"num_heads": 0}),
    "heads as text": saved(settings={"num_heads": "4"}),
    "heads unknown": lambda path: save(path, checkpoint() | {"cfg": {"model": {}}}),
    "pre-norm": saved(settings={"layer_norm_first": True}),
    "another eps": saved(settings={"norm_eps": 1e-5}),
    "depth that contradicts the tensors": saved(settings={"depth": 4}),
    "MLP that contradicts the tensors": saved(settings={"mlp_ratio": 2.0}),
}


@pytest.mark.parametrize("name", [*PICKLES, *ARCHIVES, *MODELS])
def test_hostile_torch_file_is_refused_and_nothing_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pt"
    {**PICKLES, **ARCHIVES, **MODELS}[name](path)
    refused(path, tmp_path)


@pytest.mark.parametrize("place", range(20))
def test_truncated_file_is_refused(place, tmp_path):
    whole = (GOLDEN / "tiny_eat_finetuned_fairseq.pt").read_bytes()
    path = tmp_path / "short.pt"
    path.write_bytes(whole[: len(whole) * place // 20 + 1])
    refused(path, tmp_path)


@pytest.mark.parametrize("place", range(1, 10))
def test_file_with_a_part_missing_in_the_middle_is_refused(place, tmp_path):
    whole = (GOLDEN / "tiny_eat_finetuned_fairseq.pt").read_bytes()
    path = tmp_path / "gap.pt"
    path.write_bytes(whole[: len(whole) * place // 10] + whole[len(whole) * place // 10 + 64 :])
    refused(path, tmp_path)


def header(tensors, data=bytes(16), length=None, text=None):
    """Builder of a safetensors file with any header."""

    def build(path):
        encoded = json.dumps(tensors).encode() if text is None else text
        path.write_bytes(
            struct.pack("<Q", len(encoded) if length is None else length) + encoded + data
        )

    return build


def f32(start, stop, shape=(2,)):
    return {"dtype": "F32", "shape": list(shape), "data_offsets": [start, stop]}


def huggingface(change):
    """Builder of the golden Hugging Face file after `change(tensors)`."""

    def build(path):
        from safetensors.numpy import load_file, save_file

        tensors = load_file(GOLDEN / "tiny_eat_hf.safetensors")
        change(tensors)
        save_file(tensors, path)

    return build


def nan_in(tensors):
    tensors["model.blocks.0.norm1.weight"][0] = math.nan


SAFETENSORS = {
    "overlapping offsets": header({"a": f32(0, 8), "b": f32(4, 12)}),
    "offsets beyond the end": header({"a": f32(0, 8), "b": f32(8, 1 << 40)}),
    "offsets backwards": header({"a": f32(8, 0)}),
    "shape larger than its data": header({"a": f32(0, 8, (1 << 40,))}),
    "header of 10 GB": header({}, length=10 << 30),
    "header that is no JSON": header({}, text=b"{nonsense"),
    "unknown type": header({"a": {"dtype": "F99", "shape": [2], "data_offsets": [0, 8]}}),
    "no EAT": header({"a": f32(0, 8), "b": f32(8, 16)}),
    "missing tensor": huggingface(lambda tensors: tensors.pop("model.pre_norm.bias")),
    "left over tensor": huggingface(
        lambda tensors: tensors.update({"model.extra": np.zeros(3, np.float32)})
    ),
    "integer tensor": huggingface(
        lambda tensors: tensors.update({"model.pre_norm.bias": np.zeros(48, np.int64)})
    ),
    "NaN": huggingface(nan_in),
}
CONFIGS = {
    "no heads": b'{"num_heads": 0}',
    "negative heads": b'{"num_heads": -4}',
    "heads of a million": b'{"num_heads": 1000000}',
    "a list": b"[]",
    "not JSON": b"num_heads: 4",
    "deeply nested": b"[" * 100_000,
    "integer of many digits": b'{"num_heads": ' + b"9" * 5000 + b"}",
    "another patch size": b'{"num_heads": 4, "patch_size": 8}',
    "a mel bank of a billion": b'{"num_heads": 4, "mel_bins": 1600000000}',
    "a mel bank of another size": b'{"num_heads": 4, "mel_bins": 64}',
    "another front end": b'{"num_heads": 4, "asd_jax_front_end": {"spacing": "bark"}}',
    "2 MB": b'{"num_heads": 4, "x": "' + bytes(2 << 20) + b'"}',
}


@pytest.mark.parametrize("name", SAFETENSORS)
def test_hostile_safetensors_is_refused(name, tmp_path):
    (tmp_path / "config.json").write_bytes((GOLDEN / "tiny_eat_hf_config.json").read_bytes())
    SAFETENSORS[name](tmp_path / "model.safetensors")
    refused(tmp_path, tmp_path)


@pytest.mark.parametrize("name", CONFIGS)
def test_hostile_config_is_refused(name, tmp_path):
    (tmp_path / "model.safetensors").write_bytes((GOLDEN / "tiny_eat_hf.safetensors").read_bytes())
    (tmp_path / "config.json").write_bytes(CONFIGS[name])
    refused(tmp_path, tmp_path)


def refused(source, folder):
    before = {path.name for path in folder.iterdir()}
    with pytest.raises(InputError) as error:
        write(source, folder / "output.safetensors")
    assert str(folder) in str(error.value)  # the message names the file
    assert len(str(error.value)) < 2500
    assert {path.name for path in folder.iterdir()} == before, "something was executed or written"


def command(folder, *arguments):
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "convert.eat",
            f"--output={folder / 'output.safetensors'}",
            *arguments,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_command_asks_for_an_output():
    ran = subprocess.run(
        [sys.executable, "-m", "convert.eat", "--source=x.pt"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 2 and "--output=... is needed" in ran.stderr


@pytest.mark.parametrize("name", ["os.system", "wrong shape", "compressed pickle (bomb)"])
def test_command_says_one_thing_and_exits_with_2(name, tmp_path):
    path = tmp_path / "evil.pt"
    {**PICKLES, **ARCHIVES, **MODELS}[name](path)
    ran = command(tmp_path, f"--source={path}")
    assert ran.returncode == 2 and ran.stderr.startswith("error: ") and ran.stderr.count("\n") == 1
    assert (
        str(path) in ran.stderr
        and ran.stdout == ""
        and [p.name for p in tmp_path.iterdir()] == ["evil.pt"]
    )


def test_what_is_said_of_a_damaged_entry_is_short_whatever_its_bytes_say(tmp_path):
    path = tmp_path / "a.pt"
    save(path, {"model": ["x" * 10_000]})
    whole = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        first = archive.getinfo(name).header_offset
    whole[first + 26 : first + 28] = (6_000).to_bytes(2, "little")  # the length of its own name
    path.write_bytes(whole)
    refused(path, tmp_path)
