"""Runs the exported encoder in other runtimes on CPUs in float32, bfloat16 and int8, for
benchmarks.throughput --exported.
"""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np

from asd_jax.data.audio import read_clip
from asd_jax.data.clips import find_clips
from asd_jax.data.factory import write_factory
from asd_jax.models.eat import EAT, EATConfig
from asd_jax.models.encoder import Encoder, EncoderConfig
from asd_jax.run.export_graph import model_of_weights, to_onnx
from asd_jax.runtime.errors import InputError
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.scoring.options import Scoring
from asd_jax.training.runtime import PRECISIONS, embed_in, openvino_module
from asd_jax.training.weights import BOX
from benchmarks.grid import scored
from benchmarks.stages import SAMPLES

try:
    import onnx
    import onnxruntime
    from onnxruntime import quantization

    from asd_jax.training.onnx_model import onnx_model
except ImportError as error:
    raise InputError(f"--exported: pip install 'asd_jax[export]' ({error})") from error

Run = Callable[[np.ndarray], np.ndarray]


def prepare(
    eat: EATConfig, spectrogram: np.ndarray, folder: Path
) -> dict[str, Callable[[], object]]:
    """Returns {runtime and precision: a function that computes EAT's tokens of spectrograms "b t f"
    once}.

    The weights are random.
    """
    params = jax.jit(EAT(eat).init)(jax.random.key(0), spectrogram[:1])["params"]
    shape = ("batch", *spectrogram.shape[1:])
    made = onnx_model(lambda x: EAT(eat).apply({"params": params}, x)[0], shape, "x", ["tokens"])
    (folder / "eat.onnx").write_bytes(made.SerializeToString())
    ways = runtimes(folder / "eat.onnx", [spectrogram[:1]])
    return {name: functools.partial(way, spectrogram) for name, way in ways.items()}


def embedding(eat: EATConfig, batch: int) -> dict[str, Callable[[], object]]:
    """Returns {value of model.runtime: a function that embeds waveforms of 10 s once}.

    The weights are random. bfloat16 is included if the CPU supports it.
    """
    config = EncoderConfig(eat=eat)
    key = jax.random.key(0)
    wave = np.array(0.1 * jax.random.normal(key, (batch, SAMPLES)))
    params = jax.jit(Encoder(config).init)(key, wave[:1])["params"]
    found = {}
    for name in PRECISIONS:
        try:
            found[name] = functools.partial(embed_in(name, config, params), wave)
        except InputError as error:
            print(f"{name}: {error}")
    return found


def runtimes(file: Path, calibration: Sequence[np.ndarray]) -> dict[str, Run]:
    """Returns {runtime and precision: a function that runs an ONNX file of one input and one
    output}.

    int8 uses onnxruntime's static quantisation of the products with weights, with one scale per
    output channel and the ranges that the calibration batches reach. The operations before the
    logarithm of the energies stay in float32, because 8 bits do not span their range. bfloat16 is
    included if OpenVINO finds that the CPU supports it.
    """
    core = openvino_module().Core()
    quantized = file.with_suffix(".int8.onnx")
    nodes = list(onnx.load(file).graph.node)
    logarithm = next((n for n, node in enumerate(nodes) if node.op_type == "Log"), 0)
    name = onnxruntime.InferenceSession(file).get_inputs()[0].name

    class Batches(quantization.CalibrationDataReader):
        def __init__(self):
            self.left = iter(calibration)

        def get_next(self):
            batch = next(self.left, None)
            return None if batch is None else {name: batch}

    quantization.quantize_static(
        file,
        quantized,
        Batches(),
        per_channel=True,
        nodes_to_exclude=[node.name for node in nodes[:logarithm]],
        op_types_to_quantize=["MatMul", "Gemm"],
        activation_type=quantization.QuantType.QUInt8,
        extra_options={"MatMulConstBOnly": True},
    )

    def by_onnxruntime(path) -> Run:
        session = onnxruntime.InferenceSession(path)
        return lambda x: session.run(None, {name: x})[0]

    def by_openvino(path, precision) -> Run:
        compiled = core.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": precision})
        return lambda x: compiled(x)[0]

    found = {
        "onnxruntime float32": by_onnxruntime(file),
        "openvino float32": by_openvino(file, "f32"),
    }
    if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        found["openvino bfloat16"] = by_openvino(file, "bf16")
    return found | {
        "onnxruntime int8": by_onnxruntime(quantized),
        "openvino int8": by_openvino(quantized, "f32"),
    }


def scores(folder: Path, weights: str | Path = BOX, **counts) -> dict[str, float]:
    """Returns {runtime and precision: official score 2024 on the factory} of an exported encoder.

    The scores use per-band embeddings and the Mahalanobis distance. As in practice, the int8 ranges
    are those of training clips.

    Args:
        folder: Folder for the factory and the exported files.
        weights: The weight file.
        counts: Numbers of clips of the factory, see write_factory.
    """
    write_factory(folder / "factory", clip_seconds=2.0, **counts)
    clips = find_clips(folder / "factory")
    waves = np.stack([read_clip(clip.path) for clip in clips])
    model = model_of_weights(weights, seconds=2.0)
    (folder / "encoder.onnx").write_bytes(to_onnx(model)[0])
    normal = waves[[clip.split == "train" for clip in clips]]
    ways = {"asd_jax": lambda x: model.original(x)["embedding"]}
    ways |= runtimes(
        folder / "encoder.onnx", np.array_split(normal[:: max(1, len(normal) // 64)], 8)
    )
    found = {}
    for name, way in ways.items():
        vectors = np.concatenate([way(waves[n : n + 8]) for n in range(0, len(waves), 8)])
        machines = {}
        for machine in dict.fromkeys(clip.machine for clip in clips):
            own = np.array([clip.machine == machine for clip in clips])
            about = [clip for clip in clips if clip.machine == machine]
            columns = [
                [getattr(c, k) for c in about]
                for k in ("section", "split", "domain", "label", "attribute")
            ]
            files = np.array([Path(clip.path).name for clip in about])
            machines[machine] = Embeddings(
                vectors[own], files, *map(np.array, columns), axes=("clip", "band", "embedding")
            )
        found[name] = scored([machines], Scoring(back_end="mahalanobis"), 2024).official[0]
    return found
