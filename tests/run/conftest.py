import pytest
from embedded import save


@pytest.fixture
def folder(tmp_path):
    for seed, machine in enumerate(("fan", "pump")):
        save(tmp_path / "e" / f"{machine}.npz", seed=seed)
    return tmp_path / "e"
