"""Collectives in a process that is alone; test_processes.py runs two."""

import numpy as np
import pytest

from asd_jax.runtime import collectives


@pytest.mark.parametrize("flag", [True, False])
def test_alone_the_flag_of_any_process_is_its_own(flag):
    assert collectives.any_process(flag) is flag


def test_alone_the_rows_of_all_processes_are_its_own():
    rows = np.arange(6.0, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(collectives.gather(rows), rows)


def test_alone_nobody_is_waited_for():
    collectives.wait()
    collectives.wait_for_the_living()
