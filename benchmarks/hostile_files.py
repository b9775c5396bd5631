"""Writes small valid files of every kind that has a header, and hostile versions of them."""

import copy
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from asd_jax.detector.detector import Detector
from asd_jax.detector.file import _digest
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.eat import EATConfig
from asd_jax.models.encoder import EncoderConfig, Pooling
from asd_jax.runtime.files import write_json
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.training.weights import Pipeline, random_eat, save_encoder, save_weights
from benchmarks.torch_writer import Call, Reference, save, tensor
from convert.eat import write_huggingface

RATE = 16000
SIZES = EATConfig(32, 2, 2)
# json.dumps cannot write these two values.
DEEP = "a list 5,000 deep"
LONG = "a number of 5,000 digits"
ODD = (None, True, 0, -1, 2.0, 3, 64, 1000, 10**6, 10**9, 10**12, 10**30, 1e-300, 1e38, 1e308)
ODD += (float("nan"), float("inf"), "", "x", "16000", "\udcff\0", [], [1], {}, {"a": 1}, DEEP, LONG)
SHAPES = ("(1000000000000000, 5)", "(1" + "0" * 30 + ",)", "(-1,)", "()", "('a',)", "(" * 500)


def whole_files(folder: Path) -> dict[str, list[Path]]:
    """Returns {kind: files} of weights, detectors, embeddings, JSON and public checkpoints."""
    rng = np.random.default_rng(0)
    params = {"eat": random_eat(SIZES, 0)}
    front_end = FrontEnd("even", simam=SimAM({"fan": "local", "pump": "none"}))
    config = EncoderConfig(front_end, SIZES, Pooling("band_mean", -1, 0))
    save_weights(folder / "eat.safetensors", params["eat"], {"kind": "eat", "eat": vars(SIZES)})
    save_encoder(folder / "encoder.safetensors", config, params, source="x", sha256="0" * 64)
    waves = [0.1 * rng.standard_normal(RATE // 2).astype(np.float32) for _ in range(8)]
    for name, weights in {"plain": None, "encoder": Pipeline(config, params)}.items():
        Detector.fit(waves, RATE, weights=weights, machine="fan").save(folder / f"{name}.detector")
    for name, shape, axes in (
        ("clips", (12, 8), ("clip", "embedding")),
        ("bands", (12, 2, 4), ("clip", "band", "embedding")),
    ):
        _embeddings(rng, shape, axes).save(folder / f"{name}.npz")
    write_json(folder / "config.json", {"seeds": 4, "model": {"size": "tiny", "width": 0}, "x": []})
    write_json(folder / "data.json", {f"fan/{n}.wav": {"sha256": "0" * 64} for n in range(9)})
    write_huggingface(folder / "eat.safetensors", folder / "public")
    _fairseq(folder)
    return {
        "weights": [folder / "eat.safetensors", folder / "encoder.safetensors"],
        "detector": [folder / "plain.detector", folder / "encoder.detector"],
        "npz": [folder / "clips.npz", folder / "bands.npz"],
        "json": [folder / "config.json", folder / "data.json"],
        "torch": [folder / "public.pt"],
    }


def hostile(whole: Path, path: Path, rng: np.random.Generator) -> None:
    """Writes a hostile version of a valid file, with changes to its bytes or its content."""
    if rng.random() < 0.25:
        path.write_bytes(damaged(whole.read_bytes(), rng))
    elif whole.suffix in (".safetensors", ".detector"):
        _safetensors(whole, path, rng)
    elif whole.suffix == ".npz":
        _npz(whole, path, rng)
    elif whole.suffix == ".json":
        path.write_text(_text(changed(json.loads(whole.read_text()), rng)))
    else:
        _torch(whole, path, rng)


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Returns bytes with one kind of damage, mostly near the beginning."""
    new = bytearray(content)
    at = int(rng.integers(len(new)) if rng.random() < 0.3 else rng.integers(min(2000, len(new))))
    match rng.integers(6):
        case 0:  # truncated
            del new[at:]
        case 1:  # flipped bits
            for place in rng.integers(min(at + 200, len(new)), size=rng.integers(1, 9)):
                new[place] ^= 1 << rng.integers(8)
        case 2:  # an odd number
            new[at : at + 8] = struct.pack("<Q", (0, 99, 1 << 31, (1 << 64) - 1)[rng.integers(4)])
        case 3:  # digits
            new[at:at] = b"9" * int(rng.choice([1, 12, 5000]))
        case 4:  # zeros
            new[at : at + 64] = bytes(64)
        case 5:  # a repeated part
            new[at:at] = new[at // 2 : at]
    return bytes(new)


def changed(value: Any, rng: np.random.Generator) -> Any:
    """Returns a JSON value with one or two of its values or keys changed."""
    value = copy.deepcopy(value)
    for _ in range(rng.integers(1, 3)):
        places = list(_places(value))
        holder, key = places[rng.integers(len(places))] if places else (value, "x")
        odd = ODD[rng.integers(len(ODD))]
        if rng.random() < 0.1:
            del holder[key]
        elif rng.random() < 0.1 and isinstance(holder, dict):
            holder[str(odd)[:20]] = odd
        else:
            holder[key] = odd
    return value


def _places(value):
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


def _text(value: Any) -> str:
    text = json.dumps(value).replace(f'"{LONG}"', "9" * 5000)
    return text.replace(f'"{DEEP}"', "[" * 5000 + "]" * 5000)


def other(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns an array of another rank, size or type, or with other numbers."""
    size = len(array) if array.ndim else 0
    number = rng.choice([0.0, 1.0, -1.0, 1e38, np.nan, 255.0, 10**9])
    ways: tuple[Callable[[], np.ndarray], ...] = (
        lambda: array[..., None],
        lambda: array.reshape(-1),
        lambda: array[: size // 2] if size else array,
        lambda: np.repeat(array, 2, axis=-1) if array.ndim else array[None],
        lambda: array[..., :0],
        lambda: array[::-1] if array.ndim else array,
        lambda: (1.5 * array).astype(array.dtype),
        lambda: array.astype(rng.choice(["f8", "f2", "i4", "i8", "u1"])),
        lambda: np.full(array.shape, number).astype(array.dtype),
        lambda: np.where(rng.random(array.shape) < 0.1, number, array).astype(array.dtype),
    )
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(ways[rng.integers(len(ways))]())


def _tensors(tensors: dict, rng: np.random.Generator) -> None:
    """Changes, removes or duplicates one of the tensors."""
    name = sorted(tensors)[rng.integers(len(tensors))]
    chance = rng.random()
    if chance < 0.1:
        del tensors[name]
    elif chance < 0.2:
        tensors[name + "x"] = tensors[name]
    else:
        tensors[name] = other(tensors[name], rng)


def _safetensors(whole: Path, path: Path, rng: np.random.Generator) -> None:
    tensors = safetensors.numpy.load_file(whole)
    with safetensors.safe_open(whole, "numpy") as file:
        header = json.loads(file.metadata()["asd_jax"])
    if rng.random() < 0.4:
        _tensors(tensors, rng)
    else:
        header = changed(header, rng)
    # An attacker would update the checksum too.
    if whole.suffix == ".detector" and isinstance(header, dict):
        hashed = {key: of for key, of in header.items() if key not in ("format", "sha256")}
        header["sha256"] = _digest(tensors, hashed)
    content = safetensors.numpy.save(tensors, {"asd_jax": _text(header)})
    if rng.random() < 0.2:  # the header of the safetensors format itself
        size = int.from_bytes(content[:8], "little")
        own = _text(changed(json.loads(content[8 : 8 + size]), rng)).encode()
        content = len(own).to_bytes(8, "little") + own + content[8 + size :]
    path.write_bytes(content)


def _npz(whole: Path, path: Path, rng: np.random.Generator) -> None:
    arrays = dict(np.load(whole))
    if rng.random() < 0.6:
        try:
            _tensors(arrays, rng)
        except (TypeError, ValueError):  # the text is not a number
            arrays["files"] = arrays["files"][:, None]
        (np.savez_compressed if rng.random() < 0.5 else np.savez)(path, **arrays)
        return
    np.savez(path, **arrays)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    name = sorted(entries)[rng.integers(len(entries))]
    shape = SHAPES[rng.integers(len(SHAPES))]
    descr = rng.choice(["<f4", "<f8", "|O", "<U9", "<U0", "[('a', '<f4')]"])
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    entries[name] = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(40)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def _torch(whole: Path, path: Path, rng: np.random.Generator) -> None:
    tensors = safetensors.numpy.load_file(whole.with_suffix("") / "model.safetensors")
    settings = {"num_heads": 2, "depth": 2, "embed_dim": 32, "mel_bins": 128, "mlp_ratio": 4.0}
    if rng.random() < 0.5:
        _tensors(tensors, rng)
    else:
        settings = changed(settings, rng)
    model: dict = {
        name: tensor(array) for name, array in tensors.items() if array.dtype == np.float32
    }
    if rng.random() < 0.2:
        model[f"x{rng.integers(9)}"] = Call(Reference("argparse", "Namespace"), ((1,), (2,)))
    save(path, {"cfg": {"model": _plain(settings)}, "model": model})
    if rng.random() < 0.4:
        with zipfile.ZipFile(path) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        pickle = bytearray(entries["archive/data.pkl"])
        for at in rng.integers(len(pickle), size=rng.integers(1, 4)):
            pickle[at : at + rng.integers(2)] = bytes(rng.choice(list(b"]})(0hRbst.Q\x85\x86\x8f")))
        entries["archive/data.pkl"] = bytes(pickle)
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in entries.items():
                archive.writestr(name, content)


def _plain(value: Any) -> Any:
    """Returns a value in a form that the checkpoint writer supports."""
    if isinstance(value, dict):
        return {_plain(key): _plain(of) for key, of in value.items()}
    if isinstance(value, str) or (isinstance(value, int) and abs(value) >= 1 << 31):
        return str(value).encode(errors="ignore").decode()[:40]
    return value


def _embeddings(rng: np.random.Generator, shape: tuple[int, ...], axes: tuple[str, ...]):
    n = shape[0]
    return Embeddings(
        vectors=rng.standard_normal(shape).astype(np.float32),
        files=np.array([f"{k}.wav" for k in range(n)]),
        section=np.array(["00"] * n),
        split=np.array(["train", "test"] * (n // 2)),
        domain=np.array(["source"] * n),
        label=np.array([0, 1] * (n // 2)),
        attribute=np.array([""] * n),
        axes=axes,
    )


def _fairseq(folder: Path) -> None:
    tensors = safetensors.numpy.load_file(folder / "public" / "model.safetensors")
    model = {name: tensor(array) for name, array in tensors.items()}
    save(folder / "public.pt", {"cfg": {"model": {"num_heads": 2}}, "model": model})
