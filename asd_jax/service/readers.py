"""Opens the source of a machine's sound: a device, a stream, a folder or a file."""

from pathlib import Path

from asd_jax.monitoring.store import Store
from asd_jax.service import files, pipes, streams
from asd_jax.service.configuration import Machine
from asd_jax.service.sources import Reader


def reader_of(machine: Machine, store: Store | None = None) -> tuple[Reader, bool]:
    """Returns (function that yields the sound of a machine, whether the source is live).

    A live source goes on whether or not anyone listens; files wait for their reader. The recordings
    of a folder that the store knows as read are left out.
    """
    source = machine.source
    if source == "-":
        return pipes.standard_input(machine), True
    if source.startswith("alsa:"):
        return pipes.alsa(machine), True
    # The protocols that are known were checked when the configuration was read.
    if "://" in source:
        return streams.stream(machine), True
    if Path(source).is_dir():
        return files.folder(machine, store), False
    return files.file(machine), machine.realtime
