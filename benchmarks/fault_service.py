"""The service that the sweep of faults runs: it reads a folder in which an alarm begins and ends.

Its threads take turns as they like, so that the n-th call is now one and now another, and the bytes
of its store vary. What must hold is asked of what the store says.
"""

import contextlib
import io
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from asd_jax.detector.evidence import PICTURE, SOUND, VERDICT
from asd_jax.runtime.errors import InputError
from benchmarks.fault_cases import Scenario
from benchmarks.fault_commands import RATE, sounds
from benchmarks.fault_detector import fitted

if TYPE_CHECKING:
    from asd_jax.service.service import Service

FIRST = 1.7e9  # Unix time of the end of the first recording
FAULTY = range(2, 5)  # numbers of the recordings with a whistle
RECORDINGS = 8
SECONDS = 60.0  # without a change after which the service counts as stuck
PATIENCE = 1.0  # seconds without a change after which a refusal counts as one for good
CONFIGURATION = """
state = "state"
[[machine]]
name = "pump"
detector = "pump.detector"
source = "microphone"
hold_seconds = 1
"""


def _prepare(folder: Path) -> None:
    """Writes a detector, the recordings of a day, and the configuration."""
    fitted(folder)
    sounds(folder / "microphone", RECORDINGS)
    whistle = 0.3 * np.sin(2 * np.pi * 3000 * np.arange(RATE) / RATE)
    for number in range(RECORDINGS):
        path = folder / "microphone" / f"{number:02}.wav"
        if number in FAULTY:
            soundfile.write(path, soundfile.read(path)[0] + whistle, RATE)
        os.utime(path, (FIRST + number, FIRST + number))
    (folder / "machines.toml").write_text(CONFIGURATION)


def _serve(folder: Path) -> None:
    """Serves until the recordings are read and the alarm is recorded, with its evidence.

    Raises:
        InputError: the disk refuses one of them; the message is that of the service.
    """
    from asd_jax.monitoring import recorder
    from asd_jax.runtime.lock import lock_folder
    from asd_jax.service import evidence, files
    from asd_jax.service.configuration import read_configuration
    from asd_jax.service.service import Service

    # A service tries again after seconds, as long as it runs.
    recorder._RETRY_SECONDS = 0.05
    evidence._RETRY_SECONDS = 0.05
    files.LOOK_SECONDS = 0.05
    configuration = read_configuration(folder / "machines.toml")
    errors = io.StringIO()
    with lock_folder(configuration.state, "state folder"), contextlib.redirect_stderr(errors):
        service = Service(configuration)
        service.start(lambda: None)
        try:
            refusal = _refusal(service, errors)
        finally:
            service.end()
    if refusal:
        raise InputError(refusal)


def _refusal(service: "Service", errors: io.StringIO) -> str:
    """Returns "" once all is recorded, or what is missing and why once the disk refuses it."""
    watcher = service.watchers["pump"]
    changed = time.monotonic()
    before: tuple | None = None
    while missing := _not_recorded(service):
        state = missing, watcher.windows
        if state != before:
            before = state
            changed = time.monotonic()
        why = service.failure or watcher.recorder.failure or errors.getvalue()[:500]
        # Programs are compiled and pictures drawn, before which nothing changes either.
        if time.monotonic() - changed > (PATIENCE if why else SECONDS):
            return f"{missing}: {why}"
        time.sleep(0.02)
    return ""


def _not_recorded(service: "Service") -> str:
    """Returns what the store and the evidence do not hold yet, "" if nothing is missing.

    Raises:
        AssertionError: an alarm comes twice.
    """
    from asd_jax.monitoring.cases import cases
    from asd_jax.monitoring.database import NotStored

    watcher = service.watchers["pump"]
    try:
        read = service.store.read_files("pump")
        ends = service.store.readings("pump").time + 1
        alarms = cases(service.store)
    except NotStored as error:
        return str(error)
    if watcher.recorder.unwritten:
        return f"{watcher.recorder.unwritten} entries wait"
    occurrences = [occurrence for alarm in alarms for occurrence in alarm.occurrences]
    if len(occurrences) > 1:
        raise AssertionError(f"one alarm, recorded {len(occurrences)} times")
    if len(read) < RECORDINGS:
        return f"{len(read)} recordings are read"
    if {round(end - FIRST) for end in ends} != set(range(RECORDINGS)):
        raise AssertionError(f"read, and not recorded: {sorted(ends - FIRST)}")
    if not occurrences or occurrences[0].ended is None:
        raise AssertionError(f"read, and no alarm that began and ended: {occurrences}")
    folder = Path(occurrences[0].evidence)
    # What an earlier process read is read no more, so that it cannot be kept any more either.
    gone = watcher.windows < RECORDINGS and not (folder / SOUND).is_file()
    missing = [name for name in (SOUND, PICTURE, VERDICT) if not (folder / name).is_file()]
    return f"{folder}: {', '.join(missing)} is missing" if missing and not gone else ""


SCENARIOS: dict[str, Scenario] = {
    "service": Scenario(
        _prepare,
        _serve,
        varying=("state/service.db", "state/evidence", "state/evidence/*"),
        growing=("state",),
    )
}
