"""Records the command, commit, device and date of a measurement."""

import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

from asd_jax.reporting.page import Section, Table
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import write_json
from asd_jax.runtime.provenance import made_by

# Two runs can be compared only if these properties are equal.
SAME = ("device", "processor", "cores")


def machine() -> dict:
    """Returns the properties that distinguish machines, and the versions of the libraries."""
    import jax

    device = jax.devices()[0]
    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        names = [
            line.partition(":")[2].strip()
            for line in open("/proc/cpuinfo")
            if line.startswith("model name")
        ]
        processor = names[0] if names else processor
    kind = device.device_kind if device.platform != "cpu" else f"{processor} {os.cpu_count()} cores"
    return {"device": kind, "processor": processor, "cores": os.cpu_count(), "jax": jax.__version__}


def check_same_machine(earlier: dict, here: dict, path: str) -> None:
    """Checks that an earlier run is from the same machine, since figures of different machines say
    nothing about the program.

    Raises:
        InputError: The earlier run is from another machine.
    """
    for key in SAME:
        theirs = earlier["machine"][key]
        ours = here[key]
        if theirs != ours:
            raise InputError(
                f"{path}: measured on another machine ({key} {theirs!r}, here {ours!r}): not "
                "comparable"
            )


def write_provenance(output: Path, seconds: Mapping[str, float]) -> None:
    """Writes timing.json: {cell: seconds}, with the command, commit, device and date."""
    write_json(output / "timing.json", {"seconds": dict(seconds), **provenance()})


def provenance() -> dict[str, str]:
    """Returns the command, commit, device and date of the current measurement."""
    return {**made_by(), "device": machine()["device"]}


def cost_section(seconds: Mapping[str, float]) -> Section:
    """Returns a report section with the seconds of each cell on this device."""
    rows = [[cell, f"{value:.1f}"] for cell, value in seconds.items()]
    return Section(
        "Cost", [Table(["cell", "seconds, all seeds"], rows)], [f"On {machine()['device']}."]
    )


def peak_memory_mb() -> float:
    """Returns the peak memory of this process, in MB of 2^20 bytes.

    Not ru_maxrss, which begins with the memory of the process that started this one.
    """
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1024
