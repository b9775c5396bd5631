"""constraints.txt names a tested version of all that the package needs."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("python", ["3.11", "3.12"])
def test_every_dependency_has_a_tested_version_that_is_allowed(python):
    tested = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            one = Requirement(line)
            if one.marker is None or one.marker.evaluate({"python_version": python}):
                tested[canonicalize_name(one.name)] = next(iter(one.specifier)).version
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for needed in map(Requirement, project["dependencies"]):
        version = tested.get(canonicalize_name(needed.name))
        assert version, f"{needed.name}: make constraints.txt anew by .ci/constraints"
        assert needed.specifier.contains(version)
