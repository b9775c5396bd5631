"""Compares our EAT with PyTorch on any public checkpoint, stage by stage from the waveform to the
CLS token.

    python -m benchmarks.parity --checkpoint=worstchan/EAT-base_epoch30_pretrain
    python -m benchmarks.parity --checkpoint=EAT-base_epoch30_pt.pt --output=DIR
    python -m benchmarks.parity --checkpoint=SOURCE --recording=test.wav --features=test.npy

Without --checkpoint, the golden checkpoints are used. There are two comparisons, at several
lengths. "from waveform" compares torchaudio's Kaldi filter bank and PyTorch's encoder with ours.
"encoder alone" gives both encoders the same spectrogram and the exact position table; checkpoints
in float16 store a rounded table, whose difference is a separate stage. In bfloat16, the measure is
the distance of each of the two from PyTorch's float32, and ours may be at most twice as far. The
exit status is 1 if a stage is outside its tolerance.

The command needs torch and torchaudio (pyproject.toml, extra "torch"). --reference=transformers
runs the checkpoint's own published code instead of benchmarks/torch_eat.py, which executes code
from the hub.

--recording and --features compare our tokens with those that another EAT implementation stored in a
numpy file, such as the EAT repository's feature_extract/test.npy. This does not need torch.
"""

import dataclasses
import functools
import importlib.util
import sys
import tempfile
import types
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from asd_jax.data.audio import read_clip
from asd_jax.features.filter_bank import log_filter_bank, normalize
from asd_jax.features.front_end import FRAME_MULTIPLE
from asd_jax.models.eat import EAT, PATCH, position_table
from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import write_json
from convert.checkpoint import is_ours, open_checkpoint
from convert.eat import convert, write_huggingface

FLAGS = flags.FLAGS

GOLDEN = Path(__file__).parent.parent / "tests" / "golden"
SECONDS = (1.0, 2.03, 6.0, 10.0)
# Relative errors are |difference| / |reference| over the whole tensor of a stage. Measured on the
# golden checkpoints: filter bank 2.0e-6, from waveform 4.7e-6, encoder alone 6.0e-7, bfloat16 1.0
# to 1.43 times PyTorch's own. Trained weights may amplify rounding more than random ones, so the
# tolerances leave room. Features from a file may have been computed on a GPU with TF32.
TOLERANCE = {
    "positions": 1e-3,
    "filter bank": 5e-6,
    "from waveform": 5e-5,
    "encoder alone": 5e-6,
    "recording": 2e-2,
}
BFLOAT16_RATIO = 2.0


@dataclasses.dataclass(frozen=True)
class Error:
    """The error of one stage.

    Attributes:
        comparison: "filter bank", "from waveform", "encoder alone" or "bfloat16".
        seconds: Length of the clip in seconds.
        stage: Name of the tensor.
        largest: Largest absolute difference.
        relative: Norm of the difference over the norm of the reference.
        tolerance: Upper limit of `relative`.
    """

    comparison: str
    seconds: float
    stage: str
    largest: float
    relative: float
    tolerance: float

    @property
    def within(self) -> bool:
        """Whether the error is within the tolerance; NaN is not."""
        return self.relative <= self.tolerance


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_multi_string("checkpoint", [], "File, folder or hub id; may be repeated.")
    flags.DEFINE_enum(
        "reference", "ours", ["ours", "transformers"], "PyTorch code to compare with."
    )
    flags.DEFINE_string("recording", None, "Audio file, with --features.")
    flags.DEFINE_string("features", None, "Its tokens (n, d), CLS first, as a .npy file.")
    flags.DEFINE_string("output", None, "Folder for parity.json; nothing is written without it.")


def main() -> int:
    """Prints the error of every stage; returns 1 if one is outside its tolerance."""
    names = FLAGS.checkpoint or [
        str(path) for path in sorted((*GOLDEN.glob("*.pt"), *GOLDEN.glob("*.safetensors")))
    ]
    if not names:
        raise InputError(
            f"{GOLDEN}: no golden checkpoints, only the repository has them; name one by "
            "--checkpoint"
        )
    if FLAGS.reference == "transformers" and not importlib.util.find_spec("transformers"):
        raise InputError(
            "--reference=transformers runs the published code, which needs more: pip install "
            "transformers timm"
        )
    if bool(FLAGS.recording) != bool(FLAGS.features):
        raise InputError("--recording and --features go together")
    results = {}
    for name in names:
        print(name)
        recorded = (
            compare_recording(name, FLAGS.recording, FLAGS.features) if FLAGS.recording else None
        )
        results[name] = recorded or compare(name, FLAGS.reference)
        for error in results[name]:
            mark = "" if error.within else "   OUTSIDE"
            print(
                f"  {error.seconds:5.2f} s  {error.comparison:13}  {error.stage:11}  largest "
                f"{error.largest:8.2e}  relative {error.relative:8.2e}  of "
                f"{error.tolerance:7.1e}{mark}"
            )
    if FLAGS.output:
        rows = {name: [dataclasses.asdict(e) for e in errors] for name, errors in results.items()}
        write_json(Path(FLAGS.output) / "parity.json", rows)
    outside = sum(not error.within for errors in results.values() for error in errors)
    print(f"{outside} of {sum(map(len, results.values()))} stages outside their tolerance")
    return int(outside > 0)


def compare(
    source: str, reference: str = "ours", seconds: tuple[float, ...] = SECONDS
) -> list[Error]:
    """Returns the errors of every stage of one checkpoint."""
    try:
        import torch
    except ImportError as error:
        raise InputError("PyTorch is missing: pip install -e '.[torch]' (Python 3.11)") from error
    # Weights of ours are compared by way of the public layout.
    with tempfile.TemporaryDirectory() as folder:
        if is_ours(source):
            write_huggingface(source, folder)
            source = folder
        config, params = convert(source)
        load = _transformers if reference == "transformers" else _torch
        model = load(source)
        half = load(source)
    errors = _positions(model, config)
    _positions(half, config)
    half.to(torch.bfloat16)
    for length in seconds:
        wave = clip(length)
        kaldi = kaldi_fbank(wave)
        bank = np.asarray(log_filter_bank(jnp.asarray(wave)[None], spacing="mel")[0])
        errors += _errors("filter bank", length, {"energies": kaldi}, {"energies": bank})
        theirs = padded(kaldi)
        ours = padded(bank)
        with torch.no_grad():
            exact = _numpy(model(torch.from_numpy(theirs)))
            rounded = _numpy(half(torch.from_numpy(theirs).to(torch.bfloat16)))
        from_waveform = {"input": ours, **_forward(config, params, ours, jnp.float32)}
        errors += _errors("from waveform", length, {"input": theirs, **exact}, from_waveform)
        errors += _errors(
            "encoder alone", length, exact, _forward(config, params, theirs, jnp.float32)
        )
        limits = {
            error.stage: BFLOAT16_RATIO * error.relative
            for error in _errors("", length, exact, rounded)
        }
        for error in _errors(
            "bfloat16", length, exact, _forward(config, params, theirs, jnp.bfloat16)
        ):
            errors.append(dataclasses.replace(error, tolerance=limits[error.stage]))
    return errors


def compare_recording(source: str, recording: str, features: str) -> list[Error]:
    """Compares our tokens of a recording, padded with zeros to the same number, with those in a
    file.
    """
    config, params = convert(source)
    try:
        tokens = np.load(features, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{features}: not readable as a numpy file ({error})") from error
    bands = config.mel_bins // PATCH
    if tokens.ndim != 2 or tokens.shape[1] != config.embed_dim or len(tokens) % bands != 1:
        raise InputError(
            f"{features}: has shape {tokens.shape}, expected (1 + {bands} n, {config.embed_dim})"
        )
    wave = read_clip(recording, resampler="torchaudio")
    bank = np.asarray(log_filter_bank(jnp.asarray(wave)[None], spacing="mel")[0])
    frames = (len(tokens) - 1) // bands * PATCH
    bank = np.pad(bank[:frames], ((0, max(0, frames - len(bank))), (0, 0)))
    ours = _forward(config, params, padded(bank)[:, :frames], jnp.float32)
    last = np.asarray(ours[f"block {config.depth - 1}"])[0]
    return _errors(
        "recording",
        len(wave) / 16000,
        {"tokens": tokens, "CLS": tokens[0]},
        {"tokens": last, "CLS": last[0]},
    )


def _positions(model, config):
    """Compares the stored position table with ours, and replaces it by ours.

    Checkpoints in float16 store a rounded table.
    """
    import torch

    stored = model.get_parameter("fixed_positional_encoder.positions")
    bands = config.mel_bins // PATCH
    ours = position_table(config.embed_dim, stored.shape[1] // bands, bands)[None]
    errors = _errors(
        "positions", 0.0, {"positions": stored.detach().float().numpy()}, {"positions": ours}
    )
    stored.data.copy_(torch.from_numpy(ours))
    return errors


def clip(seconds: float) -> np.ndarray:
    """Returns a machine-like waveform (s,) at 16 kHz: harmonics with a slow beat, in noise."""
    t = np.arange(round(seconds * 16000)) / 16000
    tones = sum(0.05 / k * np.sin(2 * np.pi * 119.3 * k * t + k) for k in range(1, 9))
    noise = 0.02 * np.random.default_rng(0).normal(size=t.size)
    return ((1 + 0.5 * np.sin(2 * np.pi * 0.7 * t)) * tones + noise).astype(np.float32)


def kaldi_fbank(wave: np.ndarray) -> np.ndarray:
    """Returns log mel energies (t, 128) computed by torchaudio with EAT's arguments."""
    import torch

    return (
        _kaldi()
        .fbank(
            torch.from_numpy(wave - wave.mean())[None],
            htk_compat=True,
            sample_frequency=16000,
            use_energy=False,
            window_type="hanning",
            num_mel_bins=128,
            dither=0.0,
            frame_shift=10,
        )
        .numpy()
    )


def _kaldi():
    """Returns torchaudio's Kaldi module without loading torchaudio itself.

    The module is pure Python, whereas torchaudio loads libraries that are built for one version of
    torch.
    """
    if "torchaudio" not in sys.modules:
        if not (found := importlib.util.find_spec("torchaudio")):
            raise InputError("torchaudio is not installed: pip install -e '.[torch]' (Python 3.11)")
        package = types.ModuleType("torchaudio")
        package.__path__ = list(found.submodule_search_locations or ())
        sys.modules["torchaudio"] = package
    return importlib.import_module("torchaudio.compliance.kaldi")


def padded(energies: np.ndarray) -> np.ndarray:
    """Returns energies (t, 128) as (1, t', 128): padded with zeros to a multiple of 32 frames, and
    normalised as EAT does.
    """
    energies = np.pad(energies, ((0, -len(energies) % FRAME_MULTIPLE), (0, 0)))
    # The copy is writable, which torch requires.
    return np.array(normalize(jnp.asarray(energies)[None]))


@functools.partial(jax.jit, static_argnums=(0, 3))
def _forward(config, params, spectrogram, dtype):
    tokens, out = EAT(config, dtype).apply({"params": params}, spectrogram)
    blocks = {f"block {i}": block for i, block in enumerate(out["blocks"])}
    stages = {"pre_norm": out["pre_norm"], **blocks, "CLS": tokens[:, 0]}
    return jax.tree.map(lambda x: x.astype(jnp.float32), stages)


def _errors(comparison, seconds, reference, ours):
    errors = []
    for stage, wanted in reference.items():
        difference = np.asarray(ours[stage]) - wanted
        relative = float(np.linalg.norm(difference) / np.linalg.norm(wanted))
        tolerance = TOLERANCE.get(comparison, np.inf)
        errors.append(
            Error(
                comparison=comparison,
                seconds=seconds,
                stage=stage,
                largest=float(np.abs(difference).max()),
                relative=relative,
                tolerance=tolerance,
            )
        )
    return errors


def _numpy(stages):
    return {name: x.float().numpy() for name, x in stages.items()}


def _torch(source):
    from benchmarks.torch_eat import load

    # A checkpoint on the hub is loaded from its file in the cache, with config.json beside it.
    return load(open_checkpoint(source).path)


def _transformers(source):
    """Returns the checkpoint's own published model, with hooks that record its stages."""
    from transformers import AutoModel

    if Path(source).is_file():
        raise InputError(
            f"{source}: --reference=transformers needs a hub id, or a folder that holds the code "
            "too"
        )
    model = AutoModel.from_pretrained(source, trust_remote_code=True).eval().model
    stages = {}

    def keep(name):
        def hook(module, arguments, output):
            stages[name] = output[0] if isinstance(output, tuple) else output

        return hook

    model.pre_norm.register_forward_hook(keep("pre_norm"))
    for i, block in enumerate(model.blocks):
        block.register_forward_hook(keep(f"block {i}"))

    class Published:
        to = model.to
        get_parameter = model.get_parameter

        def __call__(self, spectrogram):
            features = model.extract_features(spectrogram[:, None])
            return dict(stages) | {"CLS": features[:, 0]}

    return Published()


if __name__ == "__main__":
    run(main, define_flags)
