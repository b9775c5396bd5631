"""Estimates the cost of the main job: operations and bytes of each stage, its bottleneck, and the
expected time on GPUs.

    python -m benchmarks.cost_model --readme=benchmarks/README.md

The command prints the tables; --readme writes them between the markers of that file. All numbers
are counted from shapes: operations are those of the matrix products (2 per multiply-add), bytes
count each tensor as read and written once, and intermediates inside a fused operation are left out.
The rates of a GPU are assumptions, stated in the table; a measured run of benchmarks.throughput
replaces them.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from asd_jax.features.filter_bank import dft_size
from asd_jax.models.eat import PATCH, EATConfig
from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import atomic_file

FLAGS = flags.FLAGS

CLIP_SECONDS = 10
FRAMES = 1024
REAL_FRAMES = 998
# DCASE 2024 has 16 machines with 1,000 + 200 clips each.
TRAIN_CLIPS = 16_000
ALL_CLIPS = 19_200
EPOCHS = 10
BATCH = 32
# The backward pass multiplies by the transposes of both the weights and the inputs.
BACKWARD = 2
# The rates of an H100 SXM: bfloat16 products as cuBLAS reaches them (not the 989 of the data
# sheet), float32 outside the tensor cores, memory, and NVLink per direction; and the utilisation
# that the project aims at.
TENSOR_RATE = 800e12
FLOAT32_RATE = 50e12
MEMORY_RATE = 3.0e12
LINK_RATE = 450e9
FORWARD_SHARE = 0.50
TRAIN_SHARE = 0.45


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of one clip: operations, bytes to and from memory, and the maximum rate of the
    operations.
    """

    name: str
    flops: float
    bytes: float
    rate: float = TENSOR_RATE

    @property
    def bound(self) -> str:
        """The bottleneck, "arithmetic" or "memory"."""
        return "arithmetic" if self.flops / self.rate > self.bytes / MEMORY_RATE else "memory"

    @property
    def seconds(self) -> float:
        """The seconds at the full rate of the bottleneck."""
        return max(self.flops / self.rate, self.bytes / MEMORY_RATE)


def parameters(eat: EATConfig) -> float:
    """Returns the number of weights in EAT's matrices."""
    d = eat.embed_dim
    return eat.depth * (4 * d * d + 2 * d * d * eat.mlp_ratio) + PATCH * PATCH * d


def tokens(eat: EATConfig, frames: int = FRAMES) -> int:
    """Returns the number of tokens of a clip, including CLS."""
    return 1 + frames // PATCH * (eat.mel_bins // PATCH)


def forward_flops(eat: EATConfig, frames: int = FRAMES) -> float:
    """Returns the operations of EAT on one clip."""
    n = tokens(eat, frames)
    return 2 * n * parameters(eat) + eat.depth * 4 * n * n * eat.embed_dim


def front_end_flops(frames: int = REAL_FRAMES, bins: int = 128, sample_rate: int = 16000) -> float:
    """Returns the operations of the filter bank on one clip: frames to spectrum, and spectrum to
    filters.
    """
    spectrum = dft_size(sample_rate) // 2 + 1
    return 2 * frames * (2 * spectrum * sample_rate * 25 // 1000 + spectrum * bins)


def costs(eat: EATConfig, batch: int = BATCH) -> list[Cost]:
    """Returns the cost per clip of every stage of fine-tuning and embedding in bfloat16."""
    n = tokens(eat)
    d = eat.embed_dim
    samples = 16000 * CLIP_SECONDS
    spectrogram = 4 * FRAMES * eat.mel_bins
    # Tensors of n x d: qkv 4, attention 4, out 2, norm 3, fc1 1 + r, fc2 r + 1, norm 3; r is the
    # MLP's ratio.
    activations = eat.depth * (18 + 2 * eat.mlp_ratio) * n * d * 2
    weights = parameters(eat) * 2 / batch
    # The float32 weight and two moments are read and written; the gradient is read.
    update = parameters(eat) * 28 / batch
    forward = forward_flops(eat)
    spectrum = 4 * REAL_FRAMES * (dft_size(16000) + 2)
    return [
        Cost(
            "draw, mix (int16 to float32)", 3 * samples, 2 * 2 * samples + 4 * samples, FLOAT32_RATE
        ),
        Cost(
            "front end", front_end_flops(), 4 * samples + 2 * spectrum + spectrogram, FLOAT32_RATE
        ),
        Cost("SpecAugment, SimAM", 15 * FRAMES * eat.mel_bins, 4 * spectrogram, FLOAT32_RATE),
        Cost("EAT forward", forward, activations + weights),
        Cost("EAT forward and backward", (1 + BACKWARD) * forward, 3 * activations + 3 * weights),
        Cost("AdamW", 12 * parameters(eat) / batch, update, FLOAT32_RATE),
    ]


def experiment(eat: EATConfig, devices: int, batch: int = BATCH) -> tuple[float, float]:
    """Returns (PFLOP, seconds) for all machines of DCASE 2024: 10 epochs and all embeddings,
    without reading the files.
    """
    by = {cost.name: cost for cost in costs(eat, batch)}
    small = sum(
        by[name].seconds
        for name in ("draw, mix (int16 to float32)", "front end", "SpecAugment, SimAM")
    )
    train = by["EAT forward and backward"].flops / TENSOR_RATE / TRAIN_SHARE + small
    steps = TRAIN_CLIPS * EPOCHS / batch / devices
    exchange = 2 * (devices - 1) / devices * 4 * parameters(eat) / LINK_RATE
    seconds = TRAIN_CLIPS * EPOCHS * train / devices + steps * (
        batch * by["AdamW"].seconds + exchange
    )
    embed = by["EAT forward"].flops / TENSOR_RATE / FORWARD_SHARE + small
    flops = (
        TRAIN_CLIPS * EPOCHS * by["EAT forward and backward"].flops
        + ALL_CLIPS * by["EAT forward"].flops
    )
    return flops / 1e15, seconds + ALL_CLIPS * embed / devices


def tables() -> str:
    """Returns both tables in Markdown."""
    lines = [
        f"One clip of {CLIP_SECONDS} s ({FRAMES} frames), EAT-base in bfloat16, batches of "
        f"{BATCH}. Assumed of an H100: {TENSOR_RATE / 1e12:.0f} TFLOP/s in bfloat16 products, "
        f"{FLOAT32_RATE / 1e12:.0f} in float32, {MEMORY_RATE / 1e12:.1f} TB/s, "
        f"{LINK_RATE / 1e9:.0f} GB/s a direction between GPUs.",
        "",
        "| stage | GFLOP | MB | FLOP a byte | bound by | at least, µs |",
        "|---|---|---|---|---|---|",
    ]
    for cost in costs(EATConfig.base()):
        lines.append(
            f"| {cost.name} | {cost.flops / 1e9:.3g} | {cost.bytes / 1e6:.3g} | "
            f"{cost.flops / cost.bytes:.0f} | {cost.bound} | {cost.seconds * 1e6:.1f} |"
        )
    lines += [
        "",
        f"All of DCASE 2024 (16 machines, {TRAIN_CLIPS:,} training clips, {EPOCHS} epochs, "
        f"{ALL_CLIPS:,} embeddings) at {TRAIN_SHARE:.0%} of the product rate in training and "
        f"{FORWARD_SHARE:.0%} in embedding; {BATCH} clips a GPU, data-parallel; files read "
        "beforehand:",
        "",
        "| | PFLOP | 1 GPU, s | 8 GPUs, s |",
        "|---|---|---|---|",
    ]
    for name in ("tiny", "base", "large"):
        eat = getattr(EATConfig, name)()
        flops, one = experiment(eat, 1)
        _, eight = experiment(eat, 8)
        lines.append(f"| EAT-{name} | {flops:.3g} | {one:.0f} | {eight:.0f} |")
    return "\n".join(lines)


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_string("readme", None, "Markdown file whose tables are rewritten.")


def main() -> None:
    """Prints the tables, and writes them into the file."""
    print(tables())
    if FLAGS.readme:
        write_between(Path(FLAGS.readme), "cost model", tables())


def write_between(path: Path, name: str, text: str) -> None:
    """Writes the text between a file's lines <!-- name --> and <!-- end of name -->.

    Raises:
        InputError: The file does not exist, or has no such lines.
    """
    begin = f"<!-- {name} -->"
    end = f"<!-- end of {name} -->"
    try:
        before, found, rest = path.read_text().partition(begin)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise InputError(f"{path}: has no lines {begin} and {end}")
    with atomic_file(path) as file:
        file.write(f"{before}{begin}\n{text}\n{end}{after}".encode())


if __name__ == "__main__":
    run(main, define_flags)
