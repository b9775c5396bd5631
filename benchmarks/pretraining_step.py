"""Compares the cost of a pre-training step with its parts: teacher forward + views x (student
forward and backward).

    python -m benchmarks.pretraining_step --size=tiny --clips=2 --output=DIR

The figures are medians of alternating runs after a warm-up. The time in which the zoo generates the
step's sounds is measured too. The command writes pretraining_step.json to --output.
"""

import dataclasses
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from absl import flags

from asd_jax.data.zoo import zoo_waves
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.eat import EAT, PATCH, EATConfig
from asd_jax.runtime.command import run
from asd_jax.runtime.files import write_json
from asd_jax.training.masks import kept_patches
from asd_jax.training.optimizer import adamw
from asd_jax.training.pretraining import (
    Pretraining,
    Student,
    initial_state,
    make_pretraining_step,
)
from benchmarks.provenance import machine


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_enum("size", "tiny", ["tiny", "base", "large"], "size of EAT")
    flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "dtype of the computation")
    flags.DEFINE_integer("clips", 2, "number of clips in a step", lower_bound=1)
    flags.DEFINE_integer("rounds", 5, "number of rounds, whose medians are reported", lower_bound=1)
    flags.DEFINE_string("output", None, "folder for pretraining_step.json", required=True)


def main() -> None:
    """Times the parts and the step in turn, round by round."""
    args = flags.FLAGS
    seconds: dict[str, list[float]] = {}
    for number, took in enumerate(rounds(args.size, args.dtype, args.clips, args.rounds + 1)):
        # The first round compiles, so it is not counted.
        for name, value in took.items() if number else ():
            seconds.setdefault(name, []).append(value)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    found = {
        "device": machine()["device"],
        "settings": {
            "size": args.size,
            "clips": args.clips,
            "views": Pretraining.views,
            "dtype": args.dtype,
        },
        "eat": dataclasses.asdict(getattr(EATConfig, args.size)()),
        "median_seconds": medians,
        "step_over_parts": medians["step"] / (medians["teacher"] + medians["student"]),
        "step_over_parts_without_decoder": medians["step"]
        / (medians["teacher"] + medians["encoder of the student"]),
        "zoo_over_step": medians["zoo"] / medians["step"],
    }
    write_json(Path(args.output) / "pretraining_step.json", found)
    for name, value in medians.items():
        print(f"{name:24} {value:8.3f} s")
    print(
        f"step / (teacher + student): {found['step_over_parts']:.2f}; zoo / step: "
        f"{found['zoo_over_step']:.3f}"
    )


def rounds(size: str, dtype: str, clips: int, count: int) -> Iterator[dict[str, float]]:
    """Yields {part: seconds} of each round, with the whole step under "step"."""
    config = getattr(EATConfig, size)()
    settings = Pretraining(batch_size=clips)
    frames = 1024
    front = FrontEnd(simam=SimAM("none"))
    optimizer = adamw(lambda step: 1e-4, weight_decay=0.05, clip_norm=4.0)
    key = jax.random.key(0)
    samples = front.samples(frames)
    learner = Student(config, settings, jnp.dtype(dtype))
    state = initial_state(learner, optimizer, key)
    step = make_pretraining_step(learner, front, optimizer, schedule=lambda step: 1e-4)
    step = jax.jit(step, donate_argnums=0)
    wave = zoo_waves(key, clips=clips, samples=samples)
    spectrogram = front.spectrogram(wave)
    kept = kept_patches(
        key, clips, settings.views, (frames // PATCH, 8), mask_share=0.8, adjust=0.07, block=5
    )
    eat = EAT(config, jnp.dtype(dtype))

    @jax.jit
    def teacher(params):
        return eat.apply({"params": params}, spectrogram)[1]["ffn"]

    @jax.jit
    @jax.grad
    def encoder(params):
        return (
            jnp.square(eat.apply({"params": params["eat"]}, spectrogram, kept)[0])
            .mean()
            .astype(jnp.float32)
        )

    @jax.jit
    @jax.grad
    def student(params):
        tokens, _ = eat.apply({"params": params["eat"]}, spectrogram, kept)
        place = (tokens[:, 1:], kept.reshape(-1, kept.shape[2]), frames // PATCH, 8)
        weights = {"params": params["decoder"]}
        predictions: Any = learner.decoder.apply(weights, *place, rngs={"noise": key})
        return jnp.square(predictions).mean().astype(jnp.float32)

    for _ in range(count):
        took = {"zoo": _timed(lambda: zoo_waves(key, clips=clips, samples=samples))[0]}
        took["teacher"] = _timed(teacher, state.teacher)[0]
        took["encoder of the student"] = _timed(encoder, state.params)[0]
        took["student"] = _timed(student, state.params)[0]
        took["step"], (state, _) = _timed(step, state, {"wave": wave}, key)
        yield took


def _timed(function, *arguments):
    begin = time.perf_counter()
    result = jax.block_until_ready(function(*arguments))
    return time.perf_counter() - begin, result


if __name__ == "__main__":
    run(main, define_flags)
