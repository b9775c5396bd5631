"""A detector as one safetensors file; a file that was cut, altered or made to harm is refused."""

import dataclasses
import hashlib
import importlib.metadata
import json
import math
from pathlib import Path

import numpy as np
from flax.traverse_util import flatten_dict

from asd_jax.detector.detector import Detector
from asd_jax.detector.hearing import Settings
from asd_jax.detector.heat_map import grid
from asd_jax.detector.views import rate_of, shapes
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.names import check_names
from asd_jax.scoring.normal_bank import DOMAINS, FEWEST, NormalBank
from asd_jax.scoring.options import Scoring
from asd_jax.scoring.patch_bank import PatchBank
from asd_jax.training.weights import BOX, origin, pipeline_of, read_weights, save_weights

# of any number in the header: no file decides how much memory a model of its sizes takes
_LARGEST = 1_000_000


def save(path: str | Path, detector: Detector) -> None:
    """Writes a detector atomically; the same detector gives the same bytes on the same versions.

    The encoder that comes with the package is not in the file: its hash is.
    """
    bank, pipeline = detector.bank, detector.pipeline
    tensors = {f"bank/{view}": vectors for view, vectors in bank.vectors.items()}
    tensors |= {f"rows/{view}": rows.astype(np.int32) for view, rows in bank.rows.items()}
    tensors |= {f"raw/{judge}": raw[bank.counted] for judge, raw in bank.raw.items()}
    tensors |= {
        "counted": bank.counted.astype(np.uint8),
        "domain": np.array([DOMAINS.index(name) for name in bank.domain], np.uint8),
        "group": bank.group.astype(np.int32),
        "recording": detector.recording.astype(np.int32),
        "start": detector.start.astype(np.float64),
    }
    if detector.patches is not None:
        tensors |= {f"patches/{name}": tensor for name, tensor in vars(detector.patches).items()}
    if pipeline is not None and dict(detector.origin) != origin(BOX):
        tensors |= {
            f"encoder/{name}": np.asarray(value)
            for name, value in flatten_dict(pipeline.params, sep="/").items()
        }
    header = {
        "kind": "detector",
        "encoder": None if pipeline is None else dataclasses.asdict(pipeline.config),
        "origin": dict(detector.origin),
        "settings": dataclasses.asdict(detector.settings),
        "scoring": {view: dataclasses.asdict(scoring) for view, scoring in bank.scoring.items()},
        "threshold": detector.threshold,
        "notes": list(detector.notes),
        "names": list(detector.names),
        "reduced": detector.reduced,
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("flax", "jax", "numpy", "scikit-learn")
        },
    }
    save_weights(path, tensors, header | {"sha256": _digest(tensors, header)})


def load(path: str | Path) -> Detector:
    """Reads a detector.

    Raises:
        InputError: missing, truncated, altered, of another kind or a newer format.
    """
    if not Path(path).is_file():
        raise InputError(
            f"{path}: no such detector; python -m asd_jax.detect fit --normal=DIR --output={path} "
            f"makes one"
        )
    tensors, header = read_weights(path, kinds=("detector",))
    _check_sizes(path, header)
    stated = header.pop("sha256", None)
    if stated != _digest(tensors, {key: value for key, value in header.items() if key != "format"}):
        raise InputError(
            f"{path}: altered since it was written (its checksum does not fit); fit the detector "
            f"again"
        )
    try:
        return _detector(path, tensors, header)
    except InputError as error:
        raise InputError(
            f"{path}: {error}" if str(path) not in str(error) else str(error)
        ) from error
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise InputError(
            f"{path}: not a whole detector ({type(error).__name__}: {error})"
        ) from error


def _detector(path, tensors, header) -> Detector:
    pipeline, scoring = (
        None,
        {view: Scoring(**values) for view, values in header["scoring"].items()},
    )
    if header["encoder"] is not None:
        depth = len(
            {name.split("/")[2] for name in tensors if name.startswith("encoder/eat/block")} or {0}
        )
        if (header["encoder"]["eat"] or {}).get("depth", 0) > max(len(tensors), depth):
            raise InputError("the encoder's sizes are not those of its weights")
        weights = {
            name.removeprefix("encoder/"): t
            for name, t in tensors.items()
            if name.startswith("encoder/")
        }
        weights = weights or _from_the_package(header["origin"])
        pipeline = pipeline_of(weights, header["encoder"], path)
    settings = Settings(**header["settings"])
    expected = shapes(pipeline, round(settings.window_seconds * rate_of(pipeline)))
    if {view: tensors[f"bank/{view}"].shape[1:] for view in scoring} != expected:
        raise InputError("its bank is not of the views that its encoder gives")
    n = len(tensors["domain"])
    counted = tensors["counted"].astype(bool)
    domain = np.array(DOMAINS)[tensors["domain"]]
    rows = {view: tensors[f"rows/{view}"].astype(np.int64) for view in scoring}
    vectors = {view: tensors[f"bank/{view}"] for view in scoring}
    banks = [name for name in DOMAINS if name in domain]
    for view in scoring:
        if len(rows[view]) != len(vectors[view]) or len(np.unique(rows[view])) != len(rows[view]):
            raise InputError(f"the bank of {view} does not fit its rows")
        _ = domain[rows[view]]  # within bounds
    columns = (counted, tensors["group"], tensors["recording"], tensors["start"])
    if n < FEWEST or any(len(column) != n for column in columns) or counted.sum() < FEWEST:
        raise InputError("its columns differ in length")
    names = tuple(map(str, header["names"]))
    check_names("attribute", names)  # paths, where a list named the recordings
    if tensors["recording"].min() < 0 or tensors["recording"].max() >= len(names):
        raise InputError("windows of recordings that it does not name")
    threshold = float(header["threshold"])
    if not math.isfinite(threshold):
        raise InputError(f"a threshold of {threshold}")
    raw: dict[str, np.ndarray] = {}
    bank = NormalBank(scoring, vectors, rows, domain, tensors["group"].astype(np.int64), raw)
    for judge in bank.judges:
        raw[judge] = np.full((n, len(banks)), np.nan)
        raw[judge][counted] = tensors[f"raw/{judge}"]
    return Detector(
        pipeline,
        bank,
        settings,
        threshold,
        tuple(map(str, header["notes"])),
        names,
        tensors["recording"].astype(np.int64),
        tensors["start"],
        bool(header["reduced"]),
        dict(header["origin"]),
        _patches(tensors, pipeline, settings.tokens) if "patches/vectors" in tensors else None,
    )


def _from_the_package(named) -> dict[str, np.ndarray]:
    """The weights of the encoder in the box, if it is the one that the detector was fitted with."""
    if named != origin(BOX):
        raise InputError(
            f"fitted with an encoder that does not come with this version of asd_jax ({named}); "
            f"fit the detector "
            "again, or load it with the version that wrote it"
        )
    return read_weights(BOX)[0]


def _patches(tensors, pipeline, tokens) -> PatchBank:
    """The patches, if they are of the kind that the settings say."""
    bank = PatchBank(*(tensors[f"patches/{name}"] for name in ("vectors", "recording", "usual")))
    of, (bands, kept, width) = grid(pipeline, tokens), bank.vectors.shape
    expected = (of.front_end.bins // of.filters, of.width), (bands, kept), (bands, 2)
    if ((bands, width), bank.recording.shape, bank.usual.shape) != expected:
        raise InputError("its patches are not of the kind that its settings say")
    return bank


def _digest(tensors, header) -> str:
    """SHA-256 of everything in the file but itself."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        digest.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
        digest.update(tensor.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _check_sizes(path, values) -> None:
    """No absurd number anywhere in the header."""
    if isinstance(values, dict | list):
        for value in values.values() if isinstance(values, dict) else values:
            _check_sizes(path, value)
    elif isinstance(values, int | float) and not abs(values) <= _LARGEST:
        raise InputError(f"{path}: a number of {values} in its header")
