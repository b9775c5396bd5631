"""Makes a command start quickly: compiled programs are kept, and small matrices use one thread.

JAX's key of a program names its own version and the kind of device, but not the processor. A
program that was compiled for another processor would be run all the same, and may end the process
or compute something else: on CPUs each kind of processor has a folder of its own. JAX runs what it
finds there, so a folder that others may write to is not used.
"""

import hashlib
import os
import re
import stat
from pathlib import Path

import jax
import jaxlib.version
from threadpoolctl import threadpool_limits

from asd_jax.runtime.cut_programs import remove_cut_programs
from asd_jax.runtime.log import print_error

FOLDER = "~/.cache/asd_jax"
_CPUINFO = Path("/proc/cpuinfo")
# What the kernel says of a processor's kind: x86 names its features "flags", Arm "Features".
_KIND = ("vendor_id", "model name", "flags", "bugs", "Features", "CPU implementer", "CPU part")
# For Intel's processors with slow gathers ("gds" among their bugs) XLA compiles without gathers,
# takes that for a feature that the processor lacks, and refuses what it has compiled itself, with
# an error message for each program (github.com/jax-ml/jax/issues/38445).
_SLOW_GATHER = re.compile(r"GenuineIntel.*(\bgds\b|\bavx512f\b)", re.DOTALL)


def start_quickly(folder: str | Path = FOLDER) -> None:
    """Keeps compiled programs in a folder, and makes numpy's linear algebra use one thread.

    The matrices of one machine's bank are small. Several threads wait for each other in loops:
    they took 13 s instead of 1 s until the first score when one of two cores was busy.
    """
    threadpool_limits(1, user_api="blas")
    keep_compiled(folder)


def keep_compiled(folder: str | Path = FOLDER) -> None:
    """Makes JAX keep compiled programs in a folder, unless its own settings name another one.

    On CPUs this needs Linux, which describes the processor. An empty name keeps nothing.
    """
    # The attribute is made at run time, so pyright does not know it.
    named = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    if not folder or named:
        return
    place = Path(folder).expanduser()
    if jax.default_backend() == "cpu":
        if (kind := kind_of_processor()) is None:
            return
        place = place / f"cpu-{kind}"
        # Nearly all programs of a detector compile in less than a second, JAX's own limit.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    if why := _unfit(place):
        print_error(f"note: compiled programs are not kept in {place}: {why}")
        return
    remove_cut_programs(place)
    jax.config.update("jax_compilation_cache_dir", str(place))


def kind_of_processor(cpuinfo: Path = _CPUINFO) -> str | None:
    """Returns a name for this kind of processor and version of jaxlib, as part of a file name.

    None if there is none: the system does not describe its processor, or XLA would refuse its own
    programs.
    """
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return None
    models = {line for line in lines if line.partition(":")[0].strip() in _KIND}
    text = "\n".join(sorted(models, reverse=True))
    if not models or _SLOW_GATHER.search(text):
        return None
    return hashlib.sha256(f"{jaxlib.version.__version__}\n{text}".encode()).hexdigest()[:16]


def _unfit(place: Path) -> str:
    """Returns why a folder cannot keep programs, "" if it can; makes it if it is missing."""
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = place.stat()
    except OSError as error:
        return error.strerror or str(error)
    if hasattr(os, "getuid") and status.st_uid != os.getuid():
        return "it belongs to another user, whose programs would be run"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "others may write to it, whose programs would be run: chmod go-w"
    return "" if os.access(place, os.W_OK) else "it cannot be written"
