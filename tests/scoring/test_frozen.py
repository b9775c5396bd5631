"""Values that are computed once, and kept beside what they were computed from."""

import dataclasses

import pytest

from asd_jax.scoring.anomaly_score import MachineScores
from asd_jax.scoring.back_ends.fitted import Fitted
from asd_jax.scoring.bank_fitting import Known, NormalSounds, Views
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.scoring.intervals import Comparison, Interval, Jackknife
from asd_jax.scoring.normal_bank import NormalBank
from asd_jax.scoring.normal_windows import NormalWindows, SelfScores, SimulatedWindows
from asd_jax.scoring.official_score import OfficialScore
from asd_jax.scoring.options import Scoring
from asd_jax.scoring.patch_bank import PatchBank
from asd_jax.scoring.preparation import Preparation
from asd_jax.scoring.standardization import Standardization

FROZEN = [
    *(Comparison, Embeddings, Fitted, Interval, Jackknife, Known, MachineScores, NormalBank),
    *(NormalSounds, NormalWindows, OfficialScore, PatchBank, Preparation, Scoring, SelfScores),
    *(SimulatedWindows, Standardization, Views),
]


@pytest.mark.parametrize("cls", FROZEN)
def test_no_field_can_be_changed_once_it_is_set(cls):
    """A changed bank, for one, would keep the statistics of the former one."""
    instance = object.__new__(cls)
    for field in dataclasses.fields(cls):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(instance, field.name, None)
