"""What the sweep of faults runs: small cases of everything that writes files."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

from asd_jax.runtime.errors import InputError
from benchmarks import fault_commands
from benchmarks.fault_cases import Scenario
from benchmarks.fault_commands import RATE, nothing, sounds


def _old_json(folder: Path) -> None:
    (folder / "old.json").write_text('{"old": 1}')


def _write_json(folder: Path) -> None:
    from asd_jax.runtime.files import write_json

    write_json(folder / "old.json", {"numbers": list(range(3000))})
    write_json(folder / "new" / "new.json", {"numbers": list(range(3000))})


def _locked(folder: Path) -> None:
    from asd_jax.runtime.files import remove_new_folder_on_error, write_json
    from asd_jax.runtime.lock import lock_folder

    with remove_new_folder_on_error(folder / "run"), lock_folder(folder / "run"):
        write_json(folder / "run" / "results.json", {"score": 1})


def _store(folder: Path) -> None:
    from asd_jax.monitoring.series import Reading
    from asd_jax.monitoring.store import Store

    # What the store accepted is noted outside the folder, where no call fails.
    note = folder.parent / "accepted.txt"
    if not (folder / "plant.db").exists():
        note.write_text("")
    accepted = set(map(int, note.read_text().split()))
    with Store(folder / "plant.db") as store, note.open("a") as file:
        times = {int(time) for time in store.readings("pump").time}
        events = {event["number"] for event in store.events("pump")}
        if lost := accepted - (times & events):
            raise AssertionError(f"accepted, and lost: {sorted(lost)}")
        for number in range(12):
            with store.transaction():
                store.add("pump", Reading(float(number), 10.0, 1.0, 2.0))
                if number not in events:
                    store.event("pump", float(number), "gap", "x" * 3000, number=number)
            file.write(f"{number}\n")
            file.flush()


def _recorder(folder: Path) -> None:
    from asd_jax.monitoring import recorder
    from asd_jax.monitoring.cases import Occurrence
    from asd_jax.monitoring.store import Store

    recorder._RETRY_SECONDS = 0.0
    wave = 0.1 * np.random.default_rng(0).standard_normal(RATE)
    times = [10.0 * number for number in range(8)]
    with Store(folder / "plant.db") as store:
        known = set(store.readings("pump").time)
        kinds = {event["event"] for event in store.events()}
        record = recorder.Recorder(store, "pump")
        for time in times:
            if time not in known:
                record.window(time, wave, RATE, score=1.0, threshold=2.0)
            if time == 30.0 and "alarm_raised" not in kinds:
                record.raised(Occurrence(time, 3.0, 2.0, "loud"))
            if time == 60.0 and "alarm_cleared" not in kinds:
                record.cleared(time, 3.0)
            record.tick(time)
        record.tick(90.0)
        if record.unwritten or record.failure:
            raise InputError(record.failure)
        # A fault moves the time of an announcement, but no entry is lost or comes twice.
        events = [event["event"] for event in store.events()]
        if list(store.readings("pump").time) != times or events.count("alarm_raised") != 1:
            raise AssertionError(f"lost or double: {events}")


def _cached(folder: Path) -> None:
    sounds(folder / "sounds", 4, 0.5)


def _cache(folder: Path) -> None:
    from asd_jax.data.cache import ClipCache

    cache = ClipCache(folder / "cache")
    for path in sorted((folder / "sounds").iterdir()):
        wave = cache.read_int16(path)
        if not np.array_equal(wave, soundfile.read(path, dtype="int16")[0]):
            raise AssertionError(f"{path.name}: other samples")


def _factory(folder: Path) -> None:
    from asd_jax.data.factory import write_factory

    sizes = {"train_source": 2, "train_target": 1, "test_per_condition": 1}
    write_factory(folder / "factory", machines=["fan"], clip_seconds=0.5, **sizes)


class _State(NamedTuple):
    """What the training loop carries here."""

    step: Any
    weights: Any


def _steps(folder: Path) -> None:
    """Trains something tiny, by the loop and the checkpoints of every training."""
    import jax
    import jax.numpy as jnp

    from asd_jax.runtime.files import write_json
    from asd_jax.training.loop import run_steps

    def step_fn(state: _State, batch, key):
        weights = state.weights + batch * jax.random.normal(key, state.weights.shape)
        return _State(state.step + 1, weights), {"loss": weights.sum()}

    state = run_steps(
        step_fn,
        _State(jnp.array(0), jnp.zeros(1000)),
        lambda done: (jnp.float32(number) for number in range(done, 6)),
        workdir=folder / "run",
        steps=6,
        key=jax.random.key(0),
        batch_size=1,
        log_every=1,
        checkpoint_every=2,
    )
    write_json(folder / "run" / "weights.json", {"weights": state.weights.tolist()})


def _vectors(config, encoder, params, clips):
    """Returns embeddings as those of a model, which is not there."""
    from asd_jax.scoring.embeddings import Embeddings

    names = ("section", "split", "domain", "label", "attribute")
    columns = [np.array([getattr(clip, name) for clip in clips]) for name in names]
    files = np.array([Path(clip.path).name for clip in clips])
    vectors = np.stack([soundfile.read(clip.path)[0][:500] for clip in clips]).astype(np.float32)
    one = Embeddings(vectors, files, *columns)
    return one, one


def _embed(folder: Path) -> None:
    """Claims a workdir, and embeds its recordings shard by shard, without a model."""
    from asd_jax.config import RunConfig
    from asd_jax.data.clips import Clip
    from asd_jax.features.front_end import FrontEnd
    from asd_jax.models.eat import EATConfig
    from asd_jax.models.encoder import EncoderConfig, Pooling
    from asd_jax.run import embed, shards
    from asd_jax.run.workdir import Run
    from asd_jax.runtime.settings import to_dict

    shards.SHARD = 2
    embed.embed_machine = _vectors
    config = RunConfig()
    encoder = EncoderConfig(FrontEnd("even"), EATConfig(32, 1, 2), Pooling("mean", -1, 0))
    clips = [
        Clip(str(path), "fan", "00", "train", "source", 0, "")
        for path in sorted((folder / "sounds").iterdir())
    ]
    run = Run(folder / "run")
    with run.claim(to_dict(config), clips):
        embed.embed_clips(config, encoder, {}, clips, run.embeddings)


SCENARIOS: dict[str, Scenario] = {
    "one file": Scenario(_old_json, _write_json),
    "lock": Scenario(nothing, _locked),
    "store": Scenario(nothing, _store, growing=("*.db",)),
    "recorder": Scenario(nothing, _recorder, varying=("*.db",)),
    "clip cache": Scenario(_cached, _cache, varying=("cache/*",), growing=("cache",)),
    "factory": Scenario(nothing, _factory),
    "steps": Scenario(
        nothing,
        _steps,
        varying=("run/metrics.jsonl", "run/checkpoints/*"),
        growing=("run", "run/checkpoints"),
    ),
    "embed": Scenario(_cached, _embed, growing=("run", "run/*")),
    **fault_commands.SCENARIOS,
}
