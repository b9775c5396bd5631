"""Embeds in OpenVINO instead of JAX, on CPUs (extra `export`).

The encoder is converted to ONNX, once for each length of waveform and mode of SimAM. In float32 its
embeddings are those of JAX within 1e-4, relative for values above 1; in bfloat16, which takes half
the time on processors that compute it, they differ by about a hundredth.
"""

import dataclasses
import functools
import importlib.util
import sys
from collections.abc import Callable

import numpy as np

from asd_jax.features.simam import MODES
from asd_jax.models.encoder import Encoder, EncoderConfig
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.log import print_error

# {name: precision}; JAX is the default.
PRECISIONS = {"openvino": "f32", "openvino_bfloat16": "bf16"}
Embed = Callable[[np.ndarray, int | None], tuple[np.ndarray, np.ndarray]]


def check_runtime(name: str) -> None:
    """Raises InputError if the runtime of this name is not installed, or cannot run here."""
    if name not in PRECISIONS:
        raise InputError(f"runtime {name!r}: must be jax, {' or '.join(PRECISIONS)}")
    for library in ("openvino", "jax2onnx"):
        if importlib.util.find_spec(library) is None:
            raise InputError(
                f"runtime {name}: {library} is missing: pip install 'asd_jax[export]', or leave it "
                "at jax"
            )
    able = openvino_module().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if name == "openvino_bfloat16" and "BF16" not in able:
        raise InputError(
            "runtime openvino_bfloat16: this processor does not compute bfloat16; use openvino"
        )


# lru_cache needs arguments that can be hashed, which a tree of arrays cannot.
class _Same:
    """Parameters that are equal only to themselves, as a key of a cache."""

    def __init__(self, params: dict):
        self.params = params

    def __eq__(self, other) -> bool:
        return self.params is other.params

    def __hash__(self) -> int:
        return id(self.params)


def embed_in(name: str, config: EncoderConfig, params: dict) -> Embed:
    """Returns a function from waveforms "b s" and a mode of SimAM to embeddings "b ..." and those
    of the filter bank, "b f", computed by the runtime of this name.

    The same arguments give the same function, whose programs are compiled once.

    Raises:
        InputError: as for `check_runtime`.
    """
    return _embed_in(name, config, _Same(params))


# A few encoders at a time; every program holds a copy of the weights.
@functools.lru_cache(maxsize=8)
def _embed_in(name: str, config: EncoderConfig, held: _Same) -> Embed:
    check_runtime(name)
    print_error(f"embedding by OpenVINO in {PRECISIONS[name]}, which begins with a conversion")

    @functools.cache
    def compiled(samples: int, mode: int | None):
        chosen = config if mode is None else _with_mode(config, mode)
        return _compiled(chosen, held.params, samples, PRECISIONS[name])

    def embed(wave, mode=None):
        wave = np.asarray(wave, np.float32)
        found = compiled(wave.shape[1], mode)(wave)
        return found[0], found[1]

    return embed


def _with_mode(config: EncoderConfig, mode: int) -> EncoderConfig:
    simam = dataclasses.replace(config.front_end.simam, mode=MODES[mode])
    return dataclasses.replace(config, front_end=dataclasses.replace(config.front_end, simam=simam))


def _compiled(config: EncoderConfig, params: dict, samples: int, precision: str):
    # jax2onnx is optional, and takes seconds to import.
    from asd_jax.training.onnx_model import onnx_model

    def function(wave):
        embedding, out = Encoder(config).apply({"params": params}, wave)
        return embedding, out["filter_bank"]

    model = onnx_model(function, ("batch", samples), "wave", ["embedding", "filter_bank"])
    core = openvino_module().Core()
    read = core.read_model(model.SerializeToString())
    return core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": precision})


def openvino_module():
    """Returns the module openvino, without its telemetry.

    Its import would report each use from the user's machine, in a process forked beside JAX's
    threads. Where the package of the telemetry is missing, OpenVINO does without.
    """
    # None makes an import of this name fail, as if the package were not installed.
    sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType]
    return importlib.import_module("openvino")
