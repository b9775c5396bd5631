"""The records and archives that the server of the tests has."""

from collections import namedtuple

import numpy as np
from zenodo_server import zipped

from asd_jax.data.dcase import EDITIONS

DEV, TRAIN, EVAL = EDITIONS[2024].records
Done = namedtuple("Done", "returncode stdout stderr")


def noise(seed, size=200_000):
    return np.random.default_rng(seed).bytes(size)


def dev_zip(machine, seed=0):
    return zipped(
        {
            f"{machine}/train/section_00_source_train_normal_0000_v_1.wav": noise(seed),
            f"{machine}/test/section_00_target_test_anomaly_0000_v_1.wav": noise(seed + 1),
            f"{machine}/attributes_00.csv": "file_name,d1p,d1v\n",
        }
    )
