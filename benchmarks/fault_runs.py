"""The runs that the sweep of faults repeats: training, embedding, scoring, the entry's zip."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

from benchmarks.fault_cases import Scenario
from benchmarks.fault_commands import command, four_sounds, nothing, sounds

# Files that tell how long a run took or when its recordings were written, and checkpoints.
TIMED = ("*/timing.json", "*/metrics.jsonl", "*/checkpoints*", "*/embeddings/made_of.json")
STEPS = ("run", "run/*")  # what the next run goes on from
SMOKE = (
    "--config=configs/quickstart.py:smoke",
    "--config.data.clip_seconds=0.5",
    "--config.model.depth=1",
    "--config.optimizer.batch_size=4",
    "--config.optimizer.steps=2",
    "--config.log.checkpoint_every=1",
    "--config.log.every=1",
    "--config.report.page=False",
)
SIZES: dict[str, Any] = {"train_source": 4, "train_target": 2, "test_per_condition": 1}
# A frozen EAT, whose tokens are cached, and weights that are kept on the way.
FROZEN = (
    "--config.augment.mask_probability=0",
    "--config.backbone.strategy=frozen",
    "--config.backbone.cache_tokens=True",
    "--config.optimizer.snapshots=3",  # of two steps, the first alone is kept
)


def _recordings(folder: Path) -> None:
    """Writes a machine's recordings; the factory inside a run is a scenario of its own."""
    from asd_jax.data.factory import write_factory

    write_factory(folder / "data", machines=["fan"], clip_seconds=0.5, **SIZES)


def _first(folder: Path) -> None:
    """Writes recordings, and weights to begin from."""
    _recordings(folder)
    _train(folder)
    (folder / "run" / "weights.safetensors").rename(folder / "first.safetensors")
    shutil.rmtree(folder / "run")


def _train(folder: Path, *flags: str) -> None:
    data = f"--config.data.root={folder / 'data'}"
    command("asd_jax.train", *SMOKE, data, *flags, f"--workdir={folder / 'run'}")


def _cached_tokens(folder: Path) -> None:
    _train(folder, f"--config.model.weights={folder / 'first.safetensors'}", *FROZEN)


class State(NamedTuple):
    """What the training loop carries here."""

    step: Any
    weights: Any


def steps(total: int, after_step: Callable[[int, State], None] = lambda *_: None) -> Any:
    """Returns the steps of a training of something tiny."""
    import jax
    import jax.numpy as jnp

    from asd_jax.training.loop import Steps

    def take(state: State, batch, key):
        weights = state.weights + batch * jax.random.normal(key, state.weights.shape)
        return State(state.step + 1, weights), {"loss": weights.sum()}

    return Steps(
        take,
        State(jnp.array(0), jnp.zeros(1000)),
        lambda done: (jnp.float32(number) for number in range(done, total)),
        total=total,
        key=jax.random.key(0),
        batch_size=1,
        after_step=after_step,
    )


def _steps(folder: Path) -> None:
    """Trains by the loop and the checkpoints of every training."""
    from asd_jax.runtime.files import write_json
    from asd_jax.training.loop import Job, run_steps
    from asd_jax.training.settings import Log

    state = run_steps(steps(6), Job(folder / "run", log=Log(every=1, checkpoint_every=2)))
    write_json(folder / "run" / "weights.json", {"weights": state.weights.tolist()})


def _loop(encoder, eat, data, settings, job, *, keep):
    """Trains as `fine_tune` does, but something tiny, whose sum is added to the pooled weights."""
    import jax

    from asd_jax.training.loop import run_steps
    from asd_jax.training.weights import abstract_encoder

    zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), abstract_encoder(encoder))

    def params_of(state):
        scale = eat["pre_norm"]["scale"] + state.weights.sum()
        return zeros | {"eat": eat | {"pre_norm": eat["pre_norm"] | {"scale": scale}}}

    kept = settings.snapshot_steps(settings.steps)

    def after_step(step, state):
        if step in kept:
            keep(step, params_of(state))

    return params_of(run_steps(steps(settings.steps, after_step), job))


def vectors(config, encoder, params, clips):
    """Returns embeddings as those of a model: the beginnings of the clips, times a weight."""
    from asd_jax.scoring.embeddings import Embeddings

    names = ("section", "split", "domain", "label", "attribute")
    columns = [np.array([getattr(clip, name) for clip in clips]) for name in names]
    files = np.array([Path(clip.path).name for clip in clips])
    weight = float(params["eat"]["pre_norm"]["scale"].sum()) if params else 1.0
    waves = np.stack([soundfile.read(clip.path)[0][:500] for clip in clips])
    section, split, domain, label, attribute = columns
    vectors = (weight * waves).astype(np.float32)
    one = Embeddings(vectors, files, section, split, domain, label, attribute)
    return one, one


def _whole_run(folder: Path) -> None:
    """Trains and scores without a model: tokens, checkpoints, snapshots, shards and scores."""
    from asd_jax.run import cached_tokens, embed, train

    cached_tokens._tokens_of = lambda encoder, dtype, params, wave, mode: wave[:, None, :64]
    embed.embed_machine = vectors
    train.fine_tune = _loop
    _cached_tokens(folder)


def _seeds(folder: Path) -> None:
    """Trains and scores with two seeds, without a model, and fuses their scores."""
    from asd_jax.run import embed, train

    embed.embed_machine = vectors
    train.fine_tune = _loop
    weights = f"--config.model.weights={folder / 'first.safetensors'}"
    _train(folder, weights, "--config.seeds=2")


def _embed(folder: Path) -> None:
    """Claims a workdir, and embeds its recordings shard by shard, without a model."""
    _claimed(folder, overwrite=False)


def _other_run(folder: Path) -> None:
    """Writes a run with scores of other recordings, and a note that is not the run's."""
    sounds(folder / "sounds", 3, 0.5)
    _claimed(folder, overwrite=False)
    sounds(folder / "sounds", 4, 0.5)
    (folder / "run" / "note.txt").write_text("bearing changed on Monday")


def _overwrite(folder: Path) -> None:
    _claimed(folder, overwrite=True)


def _claimed(folder: Path, *, overwrite: bool) -> None:
    from asd_jax.config import RunConfig
    from asd_jax.data.clips import Clip
    from asd_jax.features.front_end import FrontEnd
    from asd_jax.models.eat import EATConfig
    from asd_jax.models.encoder import EncoderConfig, Pooling
    from asd_jax.run import embed, shards
    from asd_jax.run.workdir import Run
    from asd_jax.runtime.settings import to_dict

    shards.SHARD = 2
    embed.embed_machine = vectors
    config = RunConfig()
    encoder = EncoderConfig(FrontEnd("even"), EATConfig(32, 1, 2), Pooling("mean", -1, 0))
    clips = [
        Clip(str(path), "fan", "00", "train", "source", 0, "")
        for path in sorted((folder / "sounds").iterdir())
    ]
    run = Run(folder / "run")
    with run.claim(to_dict(config), clips, overwrite=overwrite):
        embed.embed_clips(config, encoder, {}, clips, run.embeddings)


def _frozen(folder: Path) -> None:
    command(
        "asd_jax.evaluate",
        *SMOKE,
        f"--config.data.root={folder / 'data'}",
        "--config.model.encoder=filter_bank",
        "--config.report.page=True",
        f"--config.data.cache={folder / 'cache'}",
        f"--workdir={folder / 'run'}",
    )


def _embedded(folder: Path) -> None:
    from asd_jax.scoring.embeddings import Embeddings

    rows = [("train", domain, 0) for domain in ("source", "target") for _ in range(8)]
    rows += [("test", d, y) for d in ("source", "target") for y in (0, 1) for _ in range(4)]
    split, domain, label = (np.array(column) for column in zip(*rows, strict=True))
    kind = np.where(label == 1, "anomaly", "normal")
    files = np.array(
        [f"section_00_{domain[n]}_{split[n]}_{kind[n]}_{n:04}.wav" for n in range(len(rows))]
    )
    section = np.full(len(rows), "00")
    attribute = np.full(len(rows), "")
    for machine in ("fan", "valve"):
        vectors = np.random.default_rng(0).normal(size=(len(rows), 4)) * (1 + label[:, None])
        Embeddings(
            vectors.astype(np.float32), files, section, split, domain, label, attribute
        ).save(folder / "embeddings" / f"{machine}.npz")


def _evaluate(folder: Path) -> None:
    command(
        "asd_jax.evaluate",
        f"--embeddings={folder / 'embeddings'}",
        f"--workdir={folder / 'run'}",
    )


def _evaluated(folder: Path) -> None:
    _embedded(folder)
    _evaluate(folder)


def _scores(folder: Path) -> None:
    scores = folder / "run" / "scores"
    command(
        "asd_jax.dcase_score", f"--scores={scores}", "--year=2024", f"--json={folder / 'a.json'}"
    )


def _compare(folder: Path) -> None:
    csv = folder / "table" / "runs.csv"
    command("asd_jax.compare", f"--runs={folder}", f"--csv={csv}")


def _entered(folder: Path) -> None:
    """Writes the scores of the evaluation machines, whose clips' names say nothing."""
    from asd_jax.data.dcase import edition
    from asd_jax.scoring.score_files import ScoredClip
    from asd_jax.scoring.submission import write_submission

    clips = [
        ScoredClip(machine, section, f"section_{section}_{n:04}.wav", "", -1, n / 7, n % 2)
        for machine, sections in edition(2024).evaluation.items()
        for section in sections
        for n in range(8)
    ]
    write_submission(folder / "run" / "scores", clips, year=2024)
    (folder / "temporary").mkdir()


def _submit(folder: Path) -> None:
    # The entry is put together among the temporary files, whose calls fail here as well.
    tempfile.tempdir = str(folder / "temporary")
    command("asd_jax.submit", f"--workdir={folder / 'run'}", "--year=2024")


def _pretrain(folder: Path) -> None:
    command(
        "asd_jax.pretrain",
        "--config=configs/pretrain_tiny.py:smoke",
        "--config.log.checkpoint_every=1",
        "--config.pretraining.steps=2",
        f"--workdir={folder / 'run'}",
    )


SCENARIOS: dict[str, Scenario] = {
    "steps": Scenario(
        nothing,
        _steps,
        varying=("run/metrics.jsonl", "run/checkpoints/*"),
        growing=("run", "run/checkpoints"),
    ),
    "embed": Scenario(four_sounds, _embed, growing=STEPS),
    "overwrite": Scenario(_other_run, _overwrite, growing=("run", "run/*.json", "run/embeddings*")),
    "whole run": Scenario(_first, _whole_run, varying=TIMED, growing=STEPS),
    "seeds": Scenario(_first, _seeds, varying=TIMED, growing=STEPS),
    "train": Scenario(_recordings, _train, varying=TIMED, growing=STEPS),
    "cached tokens": Scenario(_first, _cached_tokens, varying=TIMED, growing=STEPS),
    "pretrain": Scenario(nothing, _pretrain, varying=TIMED, growing=STEPS),
    "frozen": Scenario(
        _recordings,
        _frozen,
        varying=(*TIMED, "cache/*", "run/report/*"),
        growing=(*STEPS, "cache"),
    ),
    "evaluate": Scenario(_embedded, _evaluate, growing=("run/scores",)),
    "dcase_score": Scenario(_evaluated, _scores),
    "compare": Scenario(_evaluated, _compare),
    "submit": Scenario(_entered, _submit, varying=("temporary/*",)),
}
