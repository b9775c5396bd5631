"""With what, on what and when a figure was measured."""

import datetime
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from asd_jax.reporting.page import Section, Table
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import write_json

SAME = ("device", "processor", "cores")  # what two runs must share to be compared


def machine() -> dict:
    """What tells one machine from another, and the versions."""
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
    """Figures of different machines say nothing about the program.

    Raises:
        InputError: the earlier run is of another machine.
    """
    for key in SAME:
        theirs, ours = earlier["machine"][key], here[key]
        if theirs != ours:
            raise InputError(
                f"{path}: measured on another machine ({key} {theirs!r}, here {ours!r}): not "
                "comparable"
            )


def write_provenance(output: Path, seconds: Mapping[str, float]) -> None:
    """Writes timing.json: {cell: seconds}, and with what, on what and when they were measured."""
    write_json(output / "timing.json", {"seconds": dict(seconds), **provenance()})


def provenance() -> dict[str, str]:
    """With what command, of what commit, on what device and when figures are measured."""
    describe = [
        "git",
        "-C",
        str(Path(__file__).parent),
        "describe",
        "--always",
        "--dirty",
        "--exclude=*",
    ]
    commit = (
        subprocess.run(describe, capture_output=True, text=True, check=False).stdout
        if shutil.which("git")
        else ""
    )
    command = shlex.join(
        [
            "python",
            "-m",
            f"benchmarks.{Path(sys.argv[0]).stem}",
            *map(without_folders, sys.argv[1:]),
        ]
    )
    date = datetime.date.today().isoformat()
    return {
        "command": command,
        "commit": commit.strip() or "unknown",
        "date": date,
        "device": machine()["device"],
    }


def without_folders(argument: str) -> str:
    """An argument, and of files outside the working folder only the names: where they lie is the
    user's own.
    """
    flag, equals, value = (
        argument.partition("=") if argument.startswith("-") else ("", "", argument)
    )
    files = re.split(r",(?=[/~]|\.\.)", value)
    return (
        flag
        + equals
        + ",".join(Path(one).name if one.startswith(("/", "~", "..")) else one for one in files)
    )


def cost_section(seconds: Mapping[str, float]) -> Section:
    """{cell: seconds} -> what it cost on this device."""
    rows = [[cell, f"{value:.1f}"] for cell, value in seconds.items()]
    return Section(
        "Cost", [Table(["cell", "seconds, all seeds"], rows)], [f"On {machine()['device']}."]
    )
