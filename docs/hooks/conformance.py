"""Makes the page of claims from docs/claims.toml: each with its proof, figure, date and machine.

Numbers are not typed where a command wrote them: a figure takes them out of its result file. With
ASD_JUNIT=DIR, a folder of files that `pytest --junit-xml` wrote, the page says how each test ended.
"""

import ast
import functools
import json
import os
import re
import tomllib
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

REPOSITORY = Path(__file__).parents[2]
CLAIMS = REPOSITORY / "docs" / "claims.toml"
RESULTS = REPOSITORY / "benchmarks" / "results"
PAGE = "conformance.md"
VALUE = re.compile(r"\{([^{}]+):([^{}:]*)\}")  # {key/key/key:format} of a result file
NOT_RUN = "not run here"


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is claimed, and what proves it: one of test, result, block and unchecked."""

    claim: str
    figure: str = ""
    test: str = ""  # its name, or FILE::NAME where several files have one, without the ending
    result: str = ""  # a file of benchmarks/results
    block: str = ""  # "DOCUMENT: MARKER", a block that `command` writes into the document
    command: str = ""  # of a block, or of a result that does not name its own
    date: str = ""  # likewise
    machine: str = ""
    unchecked: str = ""  # why it could not be checked


class Test(NamedTuple):
    """Where a test stands, and its source with the constants and comments that belong to it."""

    file: Path
    source: str


class Outcome(NamedTuple):
    """How a test ended, all its parameters taken together."""

    ended: str
    seconds: float
    date: str


class Row(NamedTuple):
    """A claim as the page shows it."""

    claim: str
    figure: str
    proof: str
    ended: str
    when: str  # and on what machine


def read_claims(path: Path = CLAIMS) -> dict[str, list[Claim]]:
    """Returns {topic: its claims}."""
    return msgspec.convert(tomllib.loads(path.read_text()), dict[str, list[Claim]])


@functools.cache
def find_tests() -> dict[str, list[Test]]:
    """Returns {name: the tests of that name}."""
    found = defaultdict(list)
    for path in sorted((REPOSITORY / "tests").rglob("test_*.py")):
        text = path.read_text()
        lines = text.splitlines()
        body = ast.parse(text).body
        constants = [lines[n.lineno - 1 : n.end_lineno] for n in body if isinstance(n, ast.Assign)]
        for before, node in zip([None, *body], body, strict=False):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                own = lines[before.end_lineno if before else 0 : node.end_lineno]
                source = "\n".join([*sum(constants, []), *own])
                found[node.name].append(Test(path.relative_to(REPOSITORY), source))
    return found


def test_of(claim: Claim, tests: Mapping[str, list[Test]]) -> Test:
    """Returns the test of a claim.

    Raises:
        ValueError: There is no such test, or more than one.
    """
    file, _, name = claim.test.rpartition("::")
    found = [
        test
        for test in tests.get(name, [])
        if test.file.with_suffix("").as_posix().endswith(f"/{file}" if file else "")
    ]
    if len(found) != 1:
        places = ", ".join(str(test.file) for test in found) or "no file"
        raise ValueError(f"docs/claims.toml: {claim.test} is in {places}; name one test")
    return found[0]


def result_of(claim: Claim) -> dict:
    """Returns the content of a claim's result file."""
    return json.loads((RESULTS / claim.result).read_text())


def block_of(claim: Claim) -> str:
    """Returns the generated block of a document that a claim names."""
    document, marker = claim.block.split(": ")
    text = (REPOSITORY / document).read_text()
    return text.partition(f"<!-- {marker} -->")[2].partition(f"<!-- end of {marker} -->")[0]


def figure_of(claim: Claim) -> str:
    """Returns the figure, with numbers of the result file in the place of their keys."""
    return VALUE.sub(lambda match: _value(result_of(claim), *match.groups()), claim.figure)


def _value(found, place: str, form: str) -> str:
    """Returns one number; the form `len` counts."""
    for key in place.split("/"):
        found = found[int(key) if isinstance(found, list) else key]
    return str(len(found)) if form == "len" else format(found, form)


def read_junit(folder: Path) -> dict[tuple[str, str], Outcome]:
    """Returns {(module, name of the test): how it ended}.

    Raises:
        ValueError: The folder holds no results.
    """
    runs = defaultdict(list)
    for path in sorted(folder.glob("*.xml")):
        for suite in ElementTree.parse(path).iter("testsuite"):
            for case in suite.iter("testcase"):
                module = case.get("classname", "")
                name = case.get("name", "").partition("[")[0]
                marks = {child.tag for child in case}
                ended = "failed" if marks & {"failure", "error"} else "passed"
                ended = "skipped" if "skipped" in marks else ended
                seconds = float(case.get("time", 0))
                runs[module, name].append(Outcome(ended, seconds, suite.get("timestamp", "")[:10]))
    if not runs:
        raise ValueError(f"ASD_JUNIT={folder}: no file of pytest --junit-xml")
    return {test: _together(outcomes) for test, outcomes in runs.items()}


def _together(outcomes: list[Outcome]) -> Outcome:
    every = {outcome.ended for outcome in outcomes}
    worst = next(ended for ended in ("failed", "passed", "skipped") if ended in every)
    return Outcome(worst, sum(o.seconds for o in outcomes), max(o.date for o in outcomes))


def row_of(claim: Claim, tests: Mapping, outcomes: Mapping, machine: str) -> Row:
    """Returns the cells of a claim; `outcomes` is empty where no results of tests are given."""
    if claim.unchecked:
        return Row(claim.claim, "", claim.unchecked, "not checked", "")
    if claim.test:
        file = test_of(claim, tests).file
        name = claim.test.rpartition("::")[2]
        proof = f"<code>{_breakable(name)}</code> in {_breakable(file)}"
        module = ".".join(file.with_suffix("").parts)
        if outcome := outcomes.get((module, name)):
            ended = f"{outcome.ended}, {outcome.seconds:.2f} s"
            return Row(claim.claim, claim.figure, proof, ended, f"{outcome.date}, {machine}")
        return Row(claim.claim, claim.figure, proof, NOT_RUN, "each run of .ci/run")
    made = result_of(claim) if claim.result else {}
    place = f"benchmarks/results/{claim.result}" if claim.result else claim.block.split(": ")[0]
    proof = f"`{claim.command or made['command']}`: {_breakable(place)}"
    when = f"{claim.date or made['date']}, {claim.machine or made['device']}"
    return Row(claim.claim, figure_of(claim), proof, "measured", when)


def _breakable(name: str | Path) -> str:
    """Returns a long name that a narrow column may break at its parts."""
    return re.sub(r"([_/])", r"\1<wbr>", str(name))


def page(claims: Mapping[str, list[Claim]], junit: Path | None = None) -> str:
    """Returns the page as Markdown."""
    tests = find_tests()
    outcomes = read_junit(junit) if junit else {}
    machine = _this_machine() if junit else ""
    rows = {
        topic: [row_of(claim, tests, outcomes, machine) for claim in of]
        for topic, of in claims.items()
    }
    total = sum(map(len, rows.values()))
    ended = Counter(row.ended.partition(",")[0] for of in rows.values() for row in of)
    counts = ", ".join(f"{count} {word}" for word, count in ended.most_common())
    parts = [
        f"# Conformance\n\nWhat this project claims, and what proves it: {total} claims in "
        f"{len(rows)} topics, {counts}.\n\n"
        "A figure of a test is what the test demands, with what was measured when it was written. "
        "A figure of a command was read from the file that the command wrote. Rows that are not "
        "checked say why."
    ]
    head = "| claim | figure | proof | outcome | date, machine |\n|---|---|---|---|---|"
    for topic, of in rows.items():
        lines = [f"| {' | '.join(row)} |" for row in of]
        parts.append("\n".join([f"## {topic}\n", head, *lines]))
    return "\n\n".join(parts) + "\n"


def _this_machine() -> str:
    from benchmarks.provenance import machine

    here = machine()
    return f"{here['processor']}, {here['cores']} cores"


def on_files(files, config):
    """Returns the site's files with the page."""
    from mkdocs.structure.files import File

    junit = os.environ.get("ASD_JUNIT")
    text = page(read_claims(), Path(junit) if junit else None)
    files.append(File.generated(config, PAGE, content=text))
    return files
