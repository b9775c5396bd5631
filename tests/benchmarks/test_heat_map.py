import numpy as np
import pytest

from asd_jax.data.machines import FAULTS
from asd_jax.data.synthesis import factory_clip
from asd_jax.features.front_end import FrontEnd
from asd_jax.runtime.files import read_json
from benchmarks import heat_map


def test_support_lies_where_the_fault_is_loud():
    clip = factory_clip("fan", fault_kind="tone", grade=1.0)
    front_end = FrontEnd("even")
    cells = heat_map.support_cells(clip, front_end)
    loud = np.asarray(front_end.log_energies(clip.fault[None]))[0]
    assert (
        cells.shape == loud.shape
        and cells.mean() < 0.1
        and cells[np.arange(len(loud)), loud.argmax(1)].mean() > 0.9
    )


@pytest.mark.slow
def test_heat_map_points_at_every_kind_of_fault(command, tmp_path):
    flags = ["--spacings=even", "--clips=2", f"--output={tmp_path}"]
    status, out, error = command(heat_map, *flags)
    assert status == 0 and "Points less often than twice chance: nowhere." in out, error
    assert (tmp_path / "heat_map.md").read_text() in out
    found = read_json(tmp_path / "heat_map.json")["found"]["patches, even"]
    assert list(found) == [*FAULTS, "all"]
    for fault, of in found.items():
        # measured 3.5 to 17 times
        assert of["pointing, heat map"][0] > 1.5 * of["chance"][0], fault
