"""Exports the encoder or a whole detector, from the waveform on, to a file that other runtimes run.

  python -m asd_jax.export --weights=weights.safetensors --format=stablehlo \\
      --output=encoder.stablehlo
  python -m asd_jax.export --detector=pump.detector --format=onnx --output=pump.onnx \\
      --clips=recordings/

The input is "wave", float32 (batch, samples), mono in [-1, 1], with any batch size, at the sampling
rate that the metadata names as sample_rate. If a detector learnt from recordings of a lower rate,
recorded_rate, resample the sound to that rate first and then to sample_rate. The output of
--weights is "embedding", float32 (batch, e) or (batch, bands, e). The outputs of --detector are
"score", float32 (batch,), in standard deviations of normal sounds, and "threshold", float32 (). To
score a recording that is longer than a detector's window, cut it into windows and average their
scores; the recording is anomalous if the average exceeds the threshold.

A StableHLO encoder accepts any number of samples from one frame (25 ms) on, an ONNX encoder that of
--seconds, and a detector that of its window. StableHLO runs on the version of JAX that wrote it and
later ones, on CPUs, NVIDIA GPUs and TPUs. The metadata, in ONNX metadata_props["asd_jax"], is JSON
{"kind", "sample_rate", "samples" (null: any), "outputs", "source", "sha256", "versions"}, and for a
detector also "recorded_rate".

    exported = jax.export.deserialize(bytearray(open("encoder.stablehlo", "rb").read()))
        # needs jax alone
    exported.call(wave)["embedding"], json.loads(exported.fun_name)
    onnxruntime.InferenceSession("pump.onnx").run(["score", "threshold"], {"wave": wave})
        # or OpenVINO

The file is written only if the exported model reproduces the original on noise, silence, synthetic
machines and the recordings of --clips: within 1e-4 (relative for values above 1), and with the same
verdicts.
"""

import dataclasses
import importlib.metadata
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import flags

from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError

FLAGS = flags.FLAGS
FORMATS = ("stablehlo", "onnx")
PLATFORMS = ("cpu", "cuda", "tpu")
TOLERANCE = 1e-4
BATCH = 4  # waveforms per batch of the check
Outputs = Mapping[str, np.ndarray]


def define_flags(argv: Sequence[str]) -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("weights", None, "encoder to export, a .safetensors file")
    flags.DEFINE_string("detector", None, "detector to export, a file of asd_jax.detect fit")
    flags.DEFINE_enum("format", None, FORMATS, "of the file", required=True)
    flags.DEFINE_string("output", None, "file to write", required=True)
    flags.DEFINE_string(
        "machine", None, "whose SimAM mode to use, where the weights have one per machine"
    )
    flags.DEFINE_float("seconds", 10.0, "of the waveforms that an encoder in ONNX takes")
    flags.DEFINE_string(
        "clips", None, "recordings (file, folder, csv list) to check on, the first 20"
    )


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
        """Returns the number of samples in so many seconds, or the fixed number if the model has
        one.
        """
        return self.about["samples"] or round(seconds * self.about["sample_rate"])


def main() -> None:
    """Loads the model, exports it, checks the result and writes the file."""
    from asd_jax.runtime.files import atomic_file
    from asd_jax.runtime.log import print_line

    if (FLAGS.weights is None) == (FLAGS.detector is None):
        raise InputError("give --weights=FILE or --detector=FILE, one of them")
    if not 0.025 <= FLAGS.seconds <= 600:
        raise InputError(f"--seconds={FLAGS.seconds:g} must lie in 0.025..600")
    if FLAGS.detector:
        model = model_of_detector(FLAGS.detector)
    else:
        model = model_of_weights(
            FLAGS.weights, FLAGS.machine, FLAGS.seconds if FLAGS.format == "onnx" else None
        )
    waves = [
        *test_waveforms(model, FLAGS.seconds),
        *(_recorded(model, FLAGS.clips) if FLAGS.clips else []),
    ]
    with atomic_file(FLAGS.output) as file:
        content, exported = EXPORTERS[FLAGS.format](model)
        worst = check(model, exported, waves)
        file.write(content)
    print_line(
        f"wrote {FLAGS.output}; on {sum(map(len, waves))} waveforms within {worst:.1e} of the "
        "original"
    )


def model_of_weights(
    path: str | Path, machine: str | None = None, seconds: float | None = None
) -> Model:
    """Returns the encoder of a weight file, for waveforms of one length or (None) of any length."""
    from asd_jax.detector.views import for_machine, load_pipeline_or_eat
    from asd_jax.models.encoder import Encoder

    pipeline = for_machine(load_pipeline_or_eat(path), machine)
    rate = pipeline.config.front_end.sample_rate

    def function(wave):
        return {"embedding": Encoder(pipeline.config).apply({"params": pipeline.params}, wave)[0]}

    def original(wave):
        return {"embedding": np.asarray(pipeline.embed(wave))}

    return Model(
        function,
        original,
        _about("encoder", path, rate, seconds and round(seconds * rate), ["embedding"]),
    )


def model_of_detector(path: str | Path) -> Model:
    """Returns the detector of a file as a model with the outputs score and threshold."""
    import jax.numpy as jnp

    from asd_jax.detector.detector import Detector
    from asd_jax.detector.score_function import score_function
    from asd_jax.scoring.back_ends.fusion import fused

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
    import jax
    import jax.numpy as jnp

    try:
        import flatbuffers  # noqa: F401
    except ImportError as error:
        raise InputError(
            "--format=stablehlo: pip install 'asd_jax[export]' (flatbuffers is missing)"
        ) from error
    samples = model.about["samples"]
    frame = model.samples(0.025)
    shape = jax.export.symbolic_shape(
        f"b, {samples or 's'}", constraints=() if samples else (f"s >= {frame}",)
    )
    exported = jax.export.export(jax.jit(model.function), platforms=PLATFORMS)(
        jax.ShapeDtypeStruct(shape, jnp.float32)
    )
    # The format has no field for metadata, so the name of the function carries it.
    content = dataclasses.replace(exported, fun_name=json.dumps(model.about)).serialize()
    call = jax.export.deserialize(bytearray(content)).call
    return bytes(content), lambda wave: jax.tree.map(np.asarray, call(wave))


def to_onnx(model: Model) -> tuple[bytes, Callable[[np.ndarray], Outputs]]:
    """Returns the content of an ONNX file, and a function that runs it with onnxruntime."""
    try:
        import jax2onnx  # noqa: F401
        import onnx
        import onnxruntime
    except ImportError as error:
        raise InputError(f"--format=onnx: pip install 'asd_jax[export]' ({error})") from error
    from asd_jax.training.onnx_model import onnx_model

    names = model.about["outputs"]
    shape = ("batch", model.about["samples"])
    made = onnx_model(
        lambda wave: tuple(model.function(wave)[name] for name in names), shape, "wave", names
    )
    onnx.helper.set_model_props(made, {"asd_jax": json.dumps(model.about)})
    content = made.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return content, lambda wave: dict(zip(names, session.run(names, {"wave": wave}), strict=True))


EXPORTERS = {"stablehlo": to_stablehlo, "onnx": to_onnx}


def check(
    model: Model, exported: Callable[[np.ndarray], Outputs], waves: Sequence[np.ndarray]
) -> float:
    """Returns the largest difference between the exported model and the original on waveforms "b
    s".

    Raises:
        RuntimeError: the outputs differ by more than 1e-4 (relative for values above 1), or a
            waveform gets another verdict.
    """
    worst = 0.0
    for batch in waves:
        ours = model.original(batch)
        theirs = exported(batch)
        for name in model.about["outputs"]:
            difference = np.abs(theirs[name] - ours[name]) / np.maximum(1, np.abs(ours[name]))
            # np.maximum propagates NaN, which then fails the comparison below.
            worst = float(np.maximum(worst, difference.max()))
        if not worst <= TOLERANCE:
            raise RuntimeError(
                f"nothing written: the exported {model.about['kind']} differs by {worst:.1e}"
            )
        if (
            "score" in ours
            and (
                (ours["score"] > ours["threshold"]) != (theirs["score"] > theirs["threshold"])
            ).any()
        ):
            raise RuntimeError(
                "nothing written: the exported detector calls a waveform otherwise than the "
                "original"
            )
    return worst


def test_waveforms(model: Model, seconds: float) -> list[np.ndarray]:
    """Returns test waveforms: loud and quiet noise, silence and the factory's machines.

    There are two lengths where the model accepts any length from one frame on.
    """
    from asd_jax.data.audio import fit_length
    from asd_jax.data.machines import FAULTS, MACHINES
    from asd_jax.data.synthesis import factory_clip

    rng = np.random.default_rng(0)
    found = []
    faults = zip(MACHINES, FAULTS, strict=True)
    machines = [
        factory_clip(machine, fault_kind=fault, clip_seconds=2).wave for machine, fault in faults
    ]
    # dict.fromkeys drops the second length where the model has only one.
    for length in dict.fromkeys(
        (model.samples(seconds), model.samples(max(0.025, 0.37 * seconds)))
    ):
        noise = [amplitude * rng.standard_normal(length) for amplitude in (0.1, 1e-3, 0.0)]
        stack = (
            np.stack([*noise, *(fit_length(wave, length) for wave in machines)])
            .astype(np.float32)
            .clip(-1, 1)
        )
        found += np.array_split(stack, range(BATCH, len(stack), BATCH))
    return found


def _recorded(model: Model, clips: str, most: int = 20) -> list[np.ndarray]:
    """Returns the first seconds of the recordings, one batch per recording."""
    from asd_jax.data.audio import fit_length, read_clip, resample
    from asd_jax.detector.recordings import recordings

    rate = model.about["sample_rate"]
    samples = model.samples(FLAGS.seconds)
    held = model.about.get("recorded_rate", rate)
    waves = (
        resample(read_clip(path, sample_rate=held), held, rate)
        for path in recordings([clips])[:most]
    )
    return [fit_length(wave, samples)[None] for wave in waves]


def _about(kind, path, rate, samples, outputs) -> dict:
    from asd_jax.training.weights import origin_entries

    return {
        "kind": kind,
        "sample_rate": rate,
        "samples": samples,
        "outputs": outputs,
        **origin_entries(path),
        "versions": {name: importlib.metadata.version(name) for name in ("flax", "jax")},
    }


if __name__ == "__main__":
    run(main, define_flags)
