import pytest
from public_eat import GOLDEN
from safetensors.numpy import load_file

from convert.eat import convert as converted


@pytest.fixture(scope="module")
def public():
    return load_file(GOLDEN / "tiny_eat_hf.safetensors")


@pytest.fixture(scope="module")
def expected(public):
    return converted(GOLDEN / "tiny_eat_hf.safetensors")


@pytest.fixture(scope="module")
def blocks(golden):
    return golden("blocks")
