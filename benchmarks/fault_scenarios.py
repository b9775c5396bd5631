"""What the sweep of faults runs: small cases of everything that writes files."""

from pathlib import Path

import numpy as np
import soundfile

from asd_jax.runtime.errors import InputError
from benchmarks import fault_commands, fault_detector, fault_runs, fault_service
from benchmarks.fault_cases import Scenario
from benchmarks.fault_commands import RATE, four_sounds, nothing


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


def _compiled(folder: Path) -> None:
    """Compiles a program as a service does that was started anew, and keeps it."""
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    from asd_jax.runtime.cut_programs import is_cut
    from asd_jax.runtime.start import keep_compiled

    # Nothing may be known from the run before, which was in this process.
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()
    jax.clear_caches()
    keep_compiled(folder / "compiled")
    if cut := [path.name for path in folder.glob("*/*/*-cache") if is_cut(path.read_bytes())]:
        raise AssertionError(f"cut, and not removed: {cut}")
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    if float(jax.jit(lambda x: (2 * x).sum())(np.arange(4.0))) != 12.0:
        raise AssertionError("a wrong sum")


SCENARIOS: dict[str, Scenario] = {
    "one file": Scenario(_old_json, _write_json),
    "lock": Scenario(nothing, _locked),
    "store": Scenario(nothing, _store, growing=("*.db",)),
    "recorder": Scenario(nothing, _recorder, varying=("*.db",)),
    "clip cache": Scenario(four_sounds, _cache, varying=("cache/*",), growing=("cache",)),
    "factory": Scenario(nothing, _factory),
    "compiled": Scenario(nothing, _compiled, varying=("compiled", "compiled/*")),
    **fault_runs.SCENARIOS,
    **fault_commands.SCENARIOS,
    **fault_detector.SCENARIOS,
    **fault_service.SCENARIOS,
}
