"""Exports an encoder or a detector to StableHLO or ONNX, and checks it against the original."""

import dataclasses
import importlib.metadata
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from asd_jax.data.audio import fit_length, read_clip, resample
from asd_jax.data.machines import FAULTS, MACHINES
from asd_jax.data.synthesis import factory_clip
from asd_jax.detector.detector import Detector
from asd_jax.detector.recordings import recordings
from asd_jax.detector.score_function import score_function
from asd_jax.detector.views import for_machine, load_pipeline_or_eat
from asd_jax.models.encoder import Encoder
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import atomic_file
from asd_jax.runtime.log import print_line
from asd_jax.scoring.back_ends.fusion import fused
from asd_jax.training.weights import origin_entries

PLATFORMS = ("cpu", "cuda", "tpu")
TOLERANCE = 1e-4
BATCH = 4  # waveforms per batch of the check
MOST_CLIPS = 20  # recordings of --clips that are checked
Outputs = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Model:
    """A model to export.

    Attributes:
        function: maps wave "b s" to {output: array}, in JAX.
        original: computes the same outputs by the code path that the rest of the package uses.
        about: the metadata.
    """

    function: Callable
    original: Callable[[np.ndarray], Outputs]
    about: Mapping

    def samples(self, seconds: float) -> int:
        """Returns the number of samples in so many seconds, or the model's own fixed number."""
        return self.about["samples"] or round(seconds * self.about["sample_rate"])


def export_model(
    model: Model, form: str, output: str | Path, *, seconds: float, clips: str | None = None
) -> None:
    """Writes the exported model to a file if it reproduces the original, and prints by how much.

    Args:
        model: the model to export.
        form: "stablehlo" or "onnx".
        output: path of the file.
        seconds: length of the waveforms of the check, if the model takes any length.
        clips: file, folder or csv list of recordings to check on, too.

    Raises:
        InputError: a library is missing, or the recordings cannot be read.
        RuntimeError: as for `check`; no file is written.
    """
    waves = synthetic_waveforms(model, seconds)
    if clips:
        waves += recorded_waveforms(model, clips, seconds)
    with atomic_file(output) as file:
        content, exported = EXPORTERS[form](model)
        # Before the file appears under its name: what does not agree is never written.
        worst = check(model, exported, waves)
        file.write(content)
    print_line(
        f"wrote {output}; on {sum(map(len, waves))} waveforms within {worst:.1e} of the original"
    )


def model_of_weights(
    path: str | Path, machine: str | None = None, seconds: float | None = None
) -> Model:
    """Returns the encoder of a weight file, for waveforms of one length or (None) of any length."""
    pipeline = for_machine(load_pipeline_or_eat(path), machine)
    rate = pipeline.config.front_end.sample_rate

    def function(wave):
        return {"embedding": Encoder(pipeline.config).apply({"params": pipeline.params}, wave)[0]}

    def original(wave):
        return {"embedding": np.asarray(pipeline.embed(wave))}

    # None stays None: the length is left open.
    samples = seconds and round(seconds * rate)
    return Model(function, original, _about("encoder", path, rate, samples, ["embedding"]))


def model_of_detector(path: str | Path) -> Model:
    """Returns the detector of a file as a model with the outputs score and threshold."""
    detector = Detector.load(path)
    score = score_function(detector)
    rate = detector.input_rate
    samples = round(detector.settings.window_seconds * rate)

    def function(wave):
        return {"score": score(wave), "threshold": jnp.float32(detector.threshold)}

    def original(wave):
        return {
            "score": fused(detector.process(wave)[0]),
            "threshold": np.float32(detector.threshold),
        }

    about = _about("detector", path, rate, samples, ["score", "threshold"])
    return Model(function, original, about | {"recorded_rate": detector.recorded_rate})


def to_stablehlo(model: Model) -> tuple[bytes, Callable[[np.ndarray], Outputs]]:
    """Returns the content of a StableHLO file, and a function that runs it."""
    # JAX needs flatbuffers, which is optional here and not imported by `import jax`.
    if importlib.util.find_spec("flatbuffers") is None:
        raise InputError(
            "--format=stablehlo: pip install 'asd_jax[export]' (flatbuffers is missing)"
        )
    samples = model.about["samples"]
    # With fewer samples than one frame there is no spectrogram.
    frame = model.samples(0.025)
    # Open sizes, so that one file takes any number of clips, and any length if wanted.
    shape = jax.export.symbolic_shape(
        f"b, {samples or 's'}", constraints=() if samples else (f"s >= {frame}",)
    )
    exported = jax.export.export(jax.jit(model.function), platforms=PLATFORMS)(
        jax.ShapeDtypeStruct(shape, jnp.float32)
    )
    # The format has no field for metadata, so the name of the function carries it.
    content = dataclasses.replace(exported, fun_name=json.dumps(model.about)).serialize()
    # Reads back what was serialised, so that the check covers the file itself.
    call = jax.export.deserialize(bytearray(content)).call
    return bytes(content), lambda wave: jax.tree.map(np.asarray, call(wave))


def to_onnx(model: Model) -> tuple[bytes, Callable[[np.ndarray], Outputs]]:
    """Returns the content of an ONNX file, and a function that runs it with onnxruntime."""
    # These libraries are optional, and take seconds to import.
    try:
        import onnxruntime

        from asd_jax.training.onnx_model import onnx_model
    except ImportError as error:
        raise InputError(f"--format=onnx: pip install 'asd_jax[export]' ({error})") from error
    names = model.about["outputs"]
    shape = ("batch", model.about["samples"])
    graph = onnx_model(
        # The outputs of a graph have an order, so the dictionary becomes a tuple.
        lambda wave: tuple(model.function(wave)[name] for name in names),
        shape,
        "wave",
        names,
        properties={"asd_jax": json.dumps(model.about)},
    )
    content = graph.SerializeToString()
    # The CPU provider is part of every build of onnxruntime.
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return content, lambda wave: dict(zip(names, session.run(names, {"wave": wave}), strict=True))


EXPORTERS = {"stablehlo": to_stablehlo, "onnx": to_onnx}


def check(
    model: Model, exported: Callable[[np.ndarray], Outputs], waves: Sequence[np.ndarray]
) -> float:
    """Returns the largest difference between the exported model and the original.

    `waves` are batches of waveforms "b s".

    Raises:
        RuntimeError: the outputs differ by more than 1e-4 (relative for values above 1), or a
            waveform gets another verdict.
    """
    worst = 0.0
    for batch in waves:
        expected = model.original(batch)
        computed = exported(batch)
        for name in model.about["outputs"]:
            scale = np.maximum(1, np.abs(expected[name]))
            difference = np.abs(computed[name] - expected[name]) / scale
            # np.maximum propagates NaN, which then fails the comparison below.
            worst = float(np.maximum(worst, difference.max()))
        if not worst <= TOLERANCE:
            raise RuntimeError(
                f"nothing written: the exported {model.about['kind']} differs by {worst:.1e}"
            )
        if "score" in expected and (_is_anomaly(expected) != _is_anomaly(computed)).any():
            raise RuntimeError(
                "nothing written: the exported detector gives a waveform another verdict than the "
                "original"
            )
    return worst


def _is_anomaly(outputs: Outputs) -> np.ndarray:
    """Returns the verdict of a detector on each waveform."""
    return outputs["score"] > outputs["threshold"]


def synthetic_waveforms(model: Model, seconds: float) -> list[np.ndarray]:
    """Returns batches "b s" of waveforms to check on.

    They are loud and quiet noise, silence and the synthetic machines of the factory, in two lengths
    where the model accepts any length from one frame on.
    """
    # A fixed seed, so that an export passes or fails in the same way each time.
    rng = np.random.default_rng(0)
    batches = []
    machines = [
        # Two seconds, as clips are by default, are enough, because fit_length repeats them.
        factory_clip(machine, fault_kind=fault).wave
        for machine, fault in zip(MACHINES, FAULTS, strict=True)
    ]
    lengths = (model.samples(seconds), model.samples(max(0.025, 0.37 * seconds)))
    # dict.fromkeys drops the second length where the model has only one.
    for length in dict.fromkeys(lengths):
        noise = [amplitude * rng.standard_normal(length) for amplitude in (0.1, 1e-3, 0.0)]
        sounds = [fit_length(wave, length) for wave in machines]
        stack = np.stack([*noise, *sounds]).astype(np.float32)
        batches += np.array_split(stack, range(BATCH, len(stack), BATCH))
    return batches


def recorded_waveforms(model: Model, clips: str, seconds: float) -> list[np.ndarray]:
    """Returns the first seconds of the recordings, one batch "1 s" per recording."""
    rate = model.about["sample_rate"]
    samples = model.samples(seconds)
    # Recordings pass the rate that the detector was fitted at, as in `detect score`.
    recorded_rate = model.about.get("recorded_rate", rate)
    waves = (
        resample(read_clip(path, sample_rate=recorded_rate), recorded_rate, rate)
        for path in recordings([clips])[:MOST_CLIPS]
    )
    return [fit_length(wave, samples)[None] for wave in waves]


def _about(
    kind: str, path: str | Path, rate: int, samples: int | None, outputs: Sequence[str]
) -> dict:
    """Returns the metadata of a model; `samples` is None if it takes any number of them."""
    return {
        "kind": kind,
        "sample_rate": rate,
        "samples": samples,
        "outputs": outputs,
        **origin_entries(path),
        "versions": {name: importlib.metadata.version(name) for name in ("flax", "jax")},
    }
