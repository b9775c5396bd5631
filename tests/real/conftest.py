"""Tests on recordings and scores that may not be redistributed: `ASD_SHARED=DIR pytest -m real`."""

import os
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("real")


@pytest.fixture(scope="session")
def shared():
    """The folder with audio/ and scores/."""
    folder = os.environ.get("ASD_SHARED")
    assert folder, "set ASD_SHARED to the folder that holds audio/ and scores/"
    return Path(folder)
