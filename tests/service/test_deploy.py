"""The files with which the service is installed, checked without a daemon to run them."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import resources
from pathlib import Path

import pytest

import asd_jax.serve
from asd_jax.service.access import OPEN

DEPLOY = resources.files("asd_jax.service") / "deploy"
ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path):
    unit = (DEPLOY / "asd-jax.service").read_text()
    (tmp_path / "asd-jax.service").write_text(
        unit.replace("/opt/asd_jax/bin/python", sys.executable)
    )
    done = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / "asd-jax.service")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "asd-jax.service:" not in done.stderr, done.stderr


def test_the_state_that_the_unit_asks_for_is_the_folder_that_it_may_write():
    unit = (DEPLOY / "asd-jax.service").read_text()
    keys = dict(re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE))
    (state,) = re.findall(r'state = "(.+)"', unit)
    assert keys["ProtectSystem"] == "strict" and state == f"/var/lib/{keys['StateDirectory']}"
    # The credential of a unit lies in the folder of the unit's name.
    name, _ = re.findall(r"LoadCredential=(\w+):(.+)", unit)[0]
    assert f'token_file = "/run/credentials/asd-jax.service/{name}"' in unit


def test_the_dockerfile_installs_the_extra_and_starts_the_command():
    text = re.sub(r"\\\n", " ", (DEPLOY / "Dockerfile").read_text())
    steps = [line.split(maxsplit=1) for line in text.splitlines() if re.match("[A-Z]", line)]
    given = dict(steps)
    assert steps[0][0] == "FROM" and given["USER"] != "root"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert re.search(r"\.\[(\w+)\]", text)[1] in project["optional-dependencies"]
    command = json.loads(given["CMD"])
    assert command[:3] == ["python", "-m", asd_jax.serve.__name__]
    assert command[3:] == ["--config=machines.toml"]
    (probed,) = re.findall(r"http://127\.0\.0\.1:(\d+)(/\w+)", given["HEALTHCHECK"])
    assert probed == (given["EXPOSE"], "/healthz") and probed[1] in OPEN


@pytest.mark.parametrize("name", ["asd-jax.service", "Dockerfile"])
def test_what_it_needs_is_in_the_package(name):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "deploy/*" in project["tool"]["setuptools"]["package-data"]["asd_jax.service"]
    assert "asd_jax.serve" in (DEPLOY / name).read_text()
