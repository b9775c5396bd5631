"""Chooses without labels which tokens of a frozen encoder are compared, and how.

    python -m benchmarks.choice_without_labels --root=DIR --weights=FILE --output=DIR

For every machine below --root, half of the normal training clips are the bank. The others are given
the sound of another session, without and with a simulated fault, and the AUC separates these two.
The rows are the SimAM modes of the front end, the blocks, the poolings of their tokens (mean, mean
and deviation, GeM, maximum; by band or not), the level (kept or normalised) and the scores (1-NN by
cosine, 1-NN of standardised vectors, Ledoit-Wolf Mahalanobis). No test clip is read. The command
writes choice_without_labels.json and prints the best rows.
"""

import dataclasses
import functools
import itertools
import statistics
import zlib
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from jaxtyping import Float

from asd_jax.data.audio import fit_length, leveled, read_clip
from asd_jax.data.clips import find_clips
from asd_jax.data.simulated_session import simulated_session
from asd_jax.features.front_end import FrontEnd
from asd_jax.features.simam import MODES
from asd_jax.models.eat import PATCH
from asd_jax.models.encoder import Encoder, EncoderConfig
from asd_jax.models.settings import Tokens
from asd_jax.models.token_pooling import by_band, pooled
from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import write_json
from asd_jax.runtime.log import print_line
from asd_jax.scoring.auc import auc, tie_groups
from asd_jax.scoring.back_ends.chosen import fit_back_end
from asd_jax.scoring.options import Scoring
from asd_jax.scoring.preparation import Preparation
from asd_jax.training.weights import load_pipeline
from benchmarks.simulated_faults import simulated_fault

LONGEST_SECONDS = 5.0
BATCH = 10
SCORINGS = {
    "cosine": Scoring(),
    "standardised": Scoring(distance="euclidean", standardize=True),
    "Mahalanobis": Scoring(back_end="mahalanobis"),
}
POOLINGS = ("mean", "gem", "max")
AXES = ("clip", "embedding")


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_string("root", None, "folder of machines", required=True)
    flags.DEFINE_string("weights", "box", "file of the encoder")
    flags.DEFINE_list("modes", ["none", "local"], "SimAM modes of the front end")
    flags.DEFINE_integer("clips", 80, "number of normal clips of each machine", lower_bound=8)
    flags.DEFINE_integer("seed", 0, "seed of the choice of the clips")
    flags.DEFINE_string("output", None, "folder for choice_without_labels.json", required=True)


def main() -> None:
    """Prints the rows of the highest mean AUC, and writes all of them."""
    args = flags.FLAGS
    if unknown := set(args.modes) - set(MODES):
        raise InputError(f"--modes={min(unknown)}: known are {', '.join(MODES)}")
    pipeline = load_pipeline(args.weights)
    machines: dict[str, list[str]] = {}
    for clip in find_clips(args.root):
        if clip.split == "train":
            machines.setdefault(clip.machine, []).append(clip.path)
    found: dict[str, dict[str, float]] = {}
    for name, paths in machines.items():
        if len(paths) < 4:
            raise InputError(f"{name}: {len(paths)} normal clips; at least 4 are needed")
        print_line(name)
        rng = np.random.default_rng(args.seed)
        chosen = sorted(rng.permutation(len(paths))[: args.clips])
        for mode in args.modes:
            config = with_simam(pipeline.config, mode)
            for row, value in rated(config, pipeline.params, [paths[n] for n in chosen]):
                found.setdefault(f"SimAM {mode}, {row}", {})[name] = value
    means = {row: statistics.fmean(of.values()) for row, of in found.items()}
    best = sorted(means, key=means.__getitem__, reverse=True)
    rows = [{"row": row, "mean": means[row], "machines": found[row]} for row in best]
    write_json(Path(args.output) / "choice_without_labels.json", {"rows": rows})
    for row in best[:10]:
        each = ", ".join(f"{name} {value:.3f}" for name, value in found[row].items())
        print_line(f"{means[row]:.3f}  {row}  ({each})")


def with_simam(config: EncoderConfig, mode: str) -> EncoderConfig:
    """Returns the encoder with another SimAM mode in its front end."""
    simam = dataclasses.replace(config.front_end.simam, mode=mode)
    return dataclasses.replace(config, front_end=dataclasses.replace(config.front_end, simam=simam))


def rated(config: EncoderConfig, params: dict, paths: Sequence[str]):
    """Yields (name of a row, AUC of simulated faults) for the normal clips of a machine."""
    rate = FrontEnd.sample_rate
    waves = [read_clip(path) for path in paths]
    length = round(min(np.median([len(wave) for wave in waves]), LONGEST_SECONDS * rate))
    bank = [fit_length(wave, length) for wave in waves[::2]]
    healthy = []
    faulty = []
    for wave in waves[1::2]:
        wave = fit_length(wave, length)
        healthy.append(simulated_session(wave, rate))
        rng = np.random.default_rng(zlib.crc32(np.ascontiguousarray(wave)))
        faulty.append(simulated_fault(healthy[-1], rate, rng).clip(-1, 1))
    label = np.repeat([0, 1], len(healthy))
    for level in ("keep", "normalize"):
        every = [*bank, *healthy, *faulty]
        if level == "normalize":
            every = [leveled(wave) for wave in every]
        vectors = embedded(config, params, np.stack(every))
        for (row, of), (back_end, scoring) in itertools.product(vectors.items(), SCORINGS.items()):
            score = scores(scoring, of[: len(bank)], of[len(bank) :])
            name = f"{row}, level={level}, {back_end}"
            yield name, float(auc(*tie_groups(label, score)))


def scores(
    scoring: Scoring, bank: Float[np.ndarray, "r e"], test: Float[np.ndarray, "n e"]
) -> Float[np.ndarray, "n"]:
    """Returns the anomaly scores of test vectors against a bank."""
    prepare = Preparation.fit({"source": bank}, scoring, AXES)
    fitted = fit_back_end({"source": prepare(bank)}, scoring, AXES)
    found = prepare(test)
    return fitted.score(found.reshape(len(found), -1))["source"]


def embedded(
    config: EncoderConfig, params: dict, waves: Float[np.ndarray, "n s"]
) -> dict[str, Float[np.ndarray, "n e"]]:
    """Returns {row: vectors} of waveforms, for each block and pooling, and of the filter bank."""
    parts = []
    for start in range(0, len(waves), BATCH):
        batch = waves[start : start + BATCH]
        padded = np.concatenate([batch, np.repeat(batch[:1], BATCH - len(batch), axis=0)])
        found = _pooled(config, params, padded)
        parts.append({row: np.asarray(of)[: len(batch)] for row, of in found.items()})
    return {row: np.concatenate([part[row] for part in parts]) for row in parts[0]}


@functools.partial(jax.jit, static_argnames="config")
def _pooled(config: EncoderConfig, params: dict, wave) -> dict[str, jax.Array]:
    blocks = Encoder(config).apply({"params": params}, wave)[1]["blocks"]
    found = {}
    for number, block in enumerate(blocks):
        patches = block[:, 1:]
        tokens = by_band(patches, config.backbone.mel_bins // PATCH)
        of_block = {f"{kind} by band": pooled(tokens, kind, Tokens()) for kind in POOLINGS}
        of_block |= {kind: pooled(patches, kind, Tokens()) for kind in POOLINGS}
        mean_and_deviation = jnp.concatenate([tokens.mean(1), tokens.std(1)], -1)
        of_block["mean and deviation by band"] = mean_and_deviation
        for name, of in of_block.items():
            found[f"block {number}, {name}"] = of.reshape(len(of), -1)
    energies = config.front_end.log_energies(wave)
    found["filter bank, mean"] = energies.mean(1)
    found["filter bank, mean and deviation"] = jnp.concatenate(
        [energies.mean(1), energies.std(1)], 1
    )
    return found


if __name__ == "__main__":
    run(main, define_flags)
