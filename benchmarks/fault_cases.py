"""Runs a scenario again and again, each time with another call that fails, and judges what is left.

Each case begins with the same files in the same place. The scenario runs with the fault and then,
without it, once more. What is asked of it:

- It ends well, or refuses with one message that names a file or a folder, and no traceback.
- A file that was there keeps its content or has the one that the undisturbed run gives it; so has
  each file that the run writes, unless it grows with the run.
- A refused run leaves no other file than the undisturbed one.
- The second run ends well, and leaves the files and the bytes of the undisturbed one.
"""

import contextlib
import dataclasses
import fnmatch
import hashlib
import importlib
import json
import math
import os
import re
import shutil
import sqlite3
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from asd_jax.runtime.errors import InputError
from benchmarks.faults import Kind, faults

SECONDS = 900  # after which a case counts as stuck
_UNIQUE = re.compile(r"[0-9a-f]{32}")  # random names: packs of the clip cache
_VARIABLE = re.compile(r"[0-9a-f]{8,}|\d+")  # parts of names that differ from file to file
ALLOCATIONS = 20  # that fail in a sweep of distinct calls
_SQLITE = "-wal", "-shm", "-journal"  # files beside a database, which belong to it
# Libraries that start threads when they are imported, after which a process must not fork.
_WITH_THREADS = "jax2onnx", "onnxruntime", "openvino"
_REMOVALS = "unlink", "rmdir"  # how the names of calls begin that remove something
_LEFT = " is left"
Files = dict[str, str]


@dataclasses.dataclass(frozen=True)
class Scenario:
    """Something that writes files.

    Attributes:
        prepare: writes what is there before into a folder.
        act: does the work in the folder; raises InputError if it is refused.
        varying: patterns of files whose bytes differ from run to run.
        growing: patterns of files that a refused run may leave in a state of its own, because the
            next one goes on from there.
    """

    prepare: Callable[[Path], None]
    act: Callable[[Path], None]
    varying: tuple[str, ...] = ()
    growing: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class End:
    """How a run ended: "done", "refused", "failed" or "killed", with its message and its files."""

    how: str
    message: str = ""
    files: Files = dataclasses.field(default_factory=dict)
    calls: int = 0
    allocations: int = 0
    modules: list[str] = dataclasses.field(default_factory=list)  # that the process has imported


class Bench:
    """A scenario in a folder, with its undisturbed run.

    Attributes:
        before: the files before.
        wanted: the end of the undisturbed run.
        log: names the calls of the last run.
    """

    def __init__(self, scenario: Scenario, folder: Path):
        self.scenario = scenario
        self.template = folder / "before"
        self.place = folder / "here"
        self.log = folder / "calls.txt"
        self._report = folder / "report.json"
        self.template.mkdir(parents=True)
        # Prepared in the place itself, since files may name it.
        self.place.mkdir()
        in_child(lambda: scenario.prepare(self.place))
        shutil.copytree(self.place, self.template, dirs_exist_ok=True)
        self.before = self._files()
        self.wanted = self._runs(Kind.COUNT, 0, times=1)[0]
        # Imported here, so that the processes forked for the cases need not import them again.
        for name in self.wanted.modules:
            if name.startswith(_WITH_THREADS):
                continue
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        self._calls = self.log.read_text().splitlines()
        if self.wanted.how != "done":
            raise InputError(f"the undisturbed run: {self.wanted.how}: {self.wanted.message}")

    def numbers(self, kind: Kind, distinct: bool) -> list[int]:
        """Returns the numbers of the calls or allocations to fail; arguments as for `sweep`."""
        if kind is Kind.MEMORY:
            step = max(1, self.wanted.allocations // ALLOCATIONS) if distinct else 1
            return list(range(1, self.wanted.allocations + 1, step))
        found = {}
        for number, call in enumerate(self._calls, 1):
            found.setdefault(_VARIABLE.sub("*", call) if distinct else number, number)
        return list(found.values())

    def case(self, kind: Kind, number: int) -> tuple[str, list[str]]:
        """Returns how the run with the fault ended, and what is wrong with it or the next one."""
        first, second = self._runs(kind, number, times=2)
        wrong = [f"first run: {fault}" for fault in self._judge(first, kind)]
        if second.how != "done":
            wrong.append(f"second run: {second.how}: {second.message}")
        else:
            wrong += [f"second run: {fault}" for fault in self._differences(second.files)]
        return first.how, wrong

    def failed_call(self) -> str:
        """Returns the first call of the last case that failed."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return next((line[2:] for line in lines if line.startswith("! ")), "none")

    def _judge(self, end: End, kind: Kind) -> list[str]:
        wrong = []
        if end.how == "failed":
            wrong.append(end.message)
        if end.how == "refused":
            wrong += self._judge_message(end.message, kind)
        # What cannot be removed stays until the next run.
        may_stay = kind is Kind.BROKEN or end.how == "killed"
        may_stay = may_stay or self.failed_call().startswith(_REMOVALS)
        if end.how == "done":
            wrong += self._differences(end.files)
            return [fault for fault in wrong if not (may_stay and fault.endswith(_LEFT))]
        for name, content in end.files.items():
            free = self._matches(name, self.scenario.varying + self.scenario.growing)
            known = {self.before.get(name), self.wanted.files.get(name)} - {None}
            if known and not free and content not in known:
                wrong.append(f"{name} is neither the old file nor the new one")
            if not known and not free and not may_stay:
                wrong.append(name + _LEFT)
        for name in self.before:
            made_anew = self._matches(name, self.scenario.growing)
            if name in self.wanted.files and name not in end.files and not made_anew:
                wrong.append(f"{name} is lost")
        return wrong

    def _judge_message(self, message: str, kind: Kind) -> list[str]:
        names = {Path(name).name for name in (*self.before, *self.wanted.files)}
        named = str(self.place) in message or any(name in message for name in names)
        if kind is Kind.MEMORY:
            named = named or "memory" in message
        wrong = [] if named else [f"the message names nothing: {message}"]
        if "Traceback" in message or len(message) > 1500 or message.count("\nerror: ") > 0:
            wrong.append(f"not one clear message: {message}")
        return wrong

    def _differences(self, files: Files) -> list[str]:
        wanted = self.wanted.files
        varying = self.scenario.varying
        wrong = [
            f"{name} is missing"
            for name in wanted
            if name not in files and not self._matches(name, varying)
        ]
        for name, content in files.items():
            if self._matches(name, varying):
                continue
            if name not in wanted:
                wrong.append(name + _LEFT)
            elif content != wanted[name]:
                wrong.append(f"{name} differs from the undisturbed one")
        return wrong

    def _matches(self, name: str, patterns: tuple[str, ...]) -> bool:
        return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)

    def _files(self) -> Files:
        return files_of(self.place)

    def _runs(self, kind: Kind, number: int, times: int) -> list[End]:
        """Returns the ends of runs one after another, of which the first meets the fault."""
        shutil.rmtree(self.place)
        shutil.copytree(self.template, self.place, symlinks=True)
        self.log.unlink(missing_ok=True)
        ends: list[End] = []
        while len(ends) < times:
            self._report.write_text("[]")
            left = times - len(ends)
            first = kind if not ends else Kind.COUNT
            in_child(lambda first=first, left=left: self._run(first, number, left))
            found = [End(**end) for end in json.loads(self._report.read_text())]
            ends += found or [End("killed", files=self._files())]
        return ends

    def _run(self, kind: Kind, number: int, times: int) -> None:
        """Runs the scenario in this process, and reports the ends."""
        ends = []
        for turn in range(times):
            log = None if turn or (number and kind is Kind.COUNT) else self.log
            with faults(self.place, Kind.COUNT if turn else kind, number, log) as counted:
                how, message = self._ended()
            modules = [] if number else list(sys.modules)
            end = End(how, message, self._files(), counted.calls, counted.allocations, modules)
            ends.append(dataclasses.asdict(end))
        self._report.write_text(json.dumps(ends))

    def _ended(self) -> tuple[str, str]:
        """Runs the scenario, and returns how it ended and the message."""
        try:
            self.scenario.act(self.place)
        except InputError as error:
            return "refused", str(error)
        # The library raises these as they are; a command makes one message of each.
        except MemoryError as error:
            return "refused", f"out of memory: {error}"
        except OSError as error:
            name = error.filename2 or error.filename
            return "refused" if name else "failed", f"{name}: {error.strerror}"
        except BaseException:
            return "failed", _last_lines(traceback.format_exc())
        return "done", ""


def sweep(
    bench: Bench, kind: Kind, *, distinct: bool, most: int, tell: Callable[[str], None]
) -> dict:
    """Returns how the cases of a kind of fault ended, {end: cases}, and how many defects they show.

    Args:
        bench: the scenario.
        kind: of fault.
        distinct: of equal calls on the same file only the first one fails, of the allocations only
            ALLOCATIONS.
        most: of all of them, only so many fail, evenly spread; 0: all.
        tell: prints a line for each defect.
    """
    ends: Counter[str] = Counter()
    defects = 0
    every = bench.numbers(kind, distinct=False)
    numbers = bench.numbers(kind, distinct)
    step = math.ceil(len(numbers) / most) if most else 1
    numbers = numbers[:: step or 1]
    for number in numbers:
        how, wrong = bench.case(kind, number)
        ends[how] += 1
        defects += len(wrong)
        for fault in wrong:
            tell(f"{kind.name} at {number} ({bench.failed_call()}): {fault}")
    return {
        "every": len(numbers) == len(every),
        "cases": len(numbers),
        "ends": dict(ends),
        "defects": defects,
    }


def files_of(folder: Path) -> Files:
    """Returns {name: hash of the content} of the files below a folder, "" for a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = _UNIQUE.sub("*", str(path.relative_to(folder)))
        if not name.endswith(_SQLITE):
            # A library's thread may still be removing its own files.
            with contextlib.suppress(FileNotFoundError):
                found[name] = "" if path.is_dir() else _content(path)
    return found


def _content(path: Path) -> str:
    """Returns the hash of a file, or of what a database holds."""
    content = path.read_bytes()
    if content.startswith(b"SQLite format 3"):
        # Of a copy, since reading a database writes what its process left undone.
        with tempfile.TemporaryDirectory() as folder:
            for part in path.parent.glob(f"{path.name}*"):
                shutil.copy(part, folder)
            with contextlib.closing(sqlite3.connect(Path(folder) / path.name)) as opened:
                content = "\n".join(opened.iterdump()).encode()
    return hashlib.sha256(content).hexdigest()


def _last_lines(trace: str) -> str:
    """Returns the end of a traceback in one line."""
    return " | ".join(line.strip() for line in trace.splitlines()[-5:])


def in_child(act: Callable[[], None]) -> None:
    """Runs a function in a process of its own, which may be killed."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        status = 1
        try:
            act()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            # Threads and libraries must not clean up what the parent still uses.
            os._exit(status)
    end = time.monotonic() + SECONDS
    while not os.waitpid(child, os.WNOHANG)[0]:
        if time.monotonic() > end:
            os.kill(child, 9)
        time.sleep(0.002)
