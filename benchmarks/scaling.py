"""Estimates memory, traffic and time of training and embedding on many devices, and compares the
formulas with compiled programs.

    python -m benchmarks.scaling --readme=benchmarks/README.md

The command prints the tables; --readme writes them between the markers of that file. The programs
are compiled for eight fake CPU devices (benchmarks/eight_devices.py), and a small one runs there
for 20 steps. The rates of GPUs are those that benchmarks.cost_model assumes, plus that of the
network, which the table states. The command takes two minutes on two cores.
"""

from collections.abc import Sequence
from pathlib import Path

import jax
from absl import flags

from asd_jax.models.eat import EATConfig
from asd_jax.runtime.command import run
from benchmarks.cost_model import (
    BATCH,
    CLIP_SECONDS,
    FORWARD_SHARE,
    LINK_RATE,
    TENSOR_RATE,
    TRAIN_SHARE,
    costs,
    forward_flops,
    parameters,
    tokens,
    write_between,
)
from benchmarks.eight_devices import collective_table, operation_table, rounding_table

FLAGS = flags.FLAGS
# Assumed: 400 Gbit/s per GPU between hosts of eight GPUs.
NETWORK_RATE = 50e9
ON_A_HOST = 8
SIZES = ("tiny", "base", "large")
DEVICES = (1, 8, 64)


def state_bytes(eat: EATConfig, shards: int) -> float:
    """Returns the bytes of the training state on a device: float32 parameters and two moments,
    sharded.
    """
    return 12 * parameters(eat) / shards


def activation_bytes(eat: EATConfig) -> float:
    """Returns the bytes of the activations of a clip, kept in bfloat16.

    Per block, these are qkv 3, attention, out, norms 2 and fc2 of width d; and fc1 and GELU of
    width r d.
    """
    return eat.depth * (8 + 2 * eat.mlp_ratio) * tokens(eat) * eat.embed_dim * 2


def traffic_bytes(eat: EATConfig, devices: int, batch: int = BATCH) -> dict[str, float]:
    """Returns the bytes that each device receives in a step, by kind of data.

    With a copy on each device, gradients are all-reduced: 2 (n - 1) / n of them. With shards,
    parameters are all-gathered and gradients reduce-scattered: (n - 1) / n each, so the total is
    the same. Mixup's partners can be on any device, so all waveforms are gathered.
    """
    share = (devices - 1) / devices
    waves = batch * devices * 4 * 16000 * CLIP_SECONDS
    return {"gradients": 2 * share * 4 * parameters(eat), "waveforms": share * waves}


def step_seconds(eat: EATConfig, devices: int, batch: int = BATCH) -> tuple[float, float, float]:
    """Returns the seconds of (computing, receiving gradients, receiving waveforms) in a step with
    `batch` clips per device.
    """
    by = {cost.name: cost for cost in costs(eat, batch)}
    small = sum(cost.seconds for name, cost in by.items() if not name.startswith("EAT"))
    computing = batch * (by["EAT forward and backward"].flops / TENSOR_RATE / TRAIN_SHARE + small)
    rate = LINK_RATE if devices <= ON_A_HOST else NETWORK_RATE
    gradients, waveforms = (
        received / rate for received in traffic_bytes(eat, devices, batch).values()
    )
    return computing, gradients, waveforms


def efficiency(eat: EATConfig, devices: int) -> tuple[float, float]:
    """Returns the weak-scaling efficiency (without overlap, with overlap).

    With overlap, gradients are sent during the backward pass, which takes two thirds of the step.
    """
    computing, gradients, waves = step_seconds(eat, devices)
    hidden = max(0.0, gradients - computing * 2 / 3)
    return computing / (computing + gradients + waves), computing / (computing + hidden + waves)


def tables() -> str:
    """Returns the scaling estimates in Markdown."""
    lines = [
        f"{BATCH} clips of {CLIP_SECONDS} s a device. State: 12 P / shards bytes for P "
        "parameters. Kept for the gradient: depth (8 + 2 r) n d 2 bytes a clip. Received in a "
        "step: 2 (n - 1) / n 4 P bytes of gradients (or of parameters and gradients, with "
        "shards) and (n - 1) / n of all waveforms. Assumed: the rates above, "
        f"{NETWORK_RATE / 1e9:.0f} GB/s a GPU between hosts of {ON_A_HOST}, {TRAIN_SHARE:.0%} of "
        f"the product rate in training, {FORWARD_SHARE:.0%} in embedding.",
        "",
        "| EAT | devices | state GB, copy each | state GB, all shards | kept GB | received MB | "
        "computing ms | communicating ms | efficiency | if overlapped |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name in SIZES:
        eat = getattr(EATConfig, name)()
        for devices in DEVICES:
            computing, *receiving = step_seconds(eat, devices)
            plain, overlapped = efficiency(eat, devices)
            lines.append(
                f"| {name} | {devices} | {state_bytes(eat, 1) / 1e9:.2f} | "
                f"{state_bytes(eat, devices) / 1e9:.3f} | "
                f"{BATCH * activation_bytes(eat) / 1e9:.1f} | "
                f"{sum(traffic_bytes(eat, devices).values()) / 1e6:.0f} | {computing * 1e3:.1f} | "
                f"{sum(receiving) * 1e3:.2f} | {plain:.0%} | {overlapped:.0%} |"
            )
    lines += [
        "",
        "| EAT | 10 million clips, GPU hours | 1,000 machines streaming, share of one GPU |",
        "|---|---|---|",
    ]
    for name in SIZES:
        eat = getattr(EATConfig, name)()
        seconds = forward_flops(eat) / TENSOR_RATE / FORWARD_SHARE
        lines.append(
            f"| {name} | {1e7 * seconds / 3600:.2f} | {1000 / CLIP_SECONDS * seconds:.1%} |"
        )
    return "\n".join(lines)


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_string("readme", None, "Markdown file whose tables are rewritten.")


def main() -> None:
    """Prints the tables, and writes them into the file."""
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 8)
    text = "\n\n".join([tables(), collective_table(), operation_table(), rounding_table()])
    print(text)
    if FLAGS.readme:
        write_between(Path(FLAGS.readme), "scaling", text)


if __name__ == "__main__":
    run(main, define_flags)
