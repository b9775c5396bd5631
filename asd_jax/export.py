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

from collections.abc import Sequence

from absl import flags

from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError

FLAGS = flags.FLAGS
FORMATS = ("stablehlo", "onnx")


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


def main() -> None:
    """Loads the model, exports it, checks the result and writes the file."""
    if (FLAGS.weights is None) == (FLAGS.detector is None):
        raise InputError("give --weights=FILE or --detector=FILE, one of them")
    # 0.025 s is one frame of the filter bank; with less there is nothing to embed.
    if not 0.025 <= FLAGS.seconds <= 600:
        raise InputError(f"--seconds={FLAGS.seconds:g} must lie in 0.025..600")
    # JAX and the models are imported only now, so that --help and a wrong flag cost nothing.
    from asd_jax.run import export_graph

    if FLAGS.detector:
        model = export_graph.model_of_detector(FLAGS.detector)
    else:
        # An encoder in ONNX takes waveforms of one length, in StableHLO of any length.
        seconds = FLAGS.seconds if FLAGS.format == "onnx" else None
        model = export_graph.model_of_weights(FLAGS.weights, FLAGS.machine, seconds)
    export_graph.export_model(
        model, FLAGS.format, FLAGS.output, seconds=FLAGS.seconds, clips=FLAGS.clips
    )


if __name__ == "__main__":
    run(main, define_flags)
