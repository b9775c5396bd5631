import dataclasses
import functools

import numpy as np
import pytest
from scoring.banks import BANK, SOURCE, TEST, z_scores

from asd_jax.runtime.errors import InputError
from asd_jax.scoring import options
from asd_jax.scoring.back_ends import chosen
from asd_jax.scoring.back_ends.chosen import fit_back_end
from asd_jax.scoring.back_ends.fusion import on_columns
from asd_jax.scoring.back_ends.knn import knn
from asd_jax.scoring.options import DEFAULT


def test_layers_are_averaged_by_their_z_scores():
    layered = {domain: v.reshape(-1, 2, 4) for domain, v in BANK.items()}
    found = fit_back_end(layered, DEFAULT, ("clip", "layer", "embedding")).score(TEST)["target"]
    layers = [
        functools.partial(z_scores, "target", on_columns(knn, slice(i, i + 4))) for i in (0, 4)
    ]
    assert found == pytest.approx(np.mean([layer() for layer in layers], axis=0), abs=1e-12)


def test_an_unknown_back_end_lists_the_known_ones():
    with pytest.raises(InputError, match="'knm'.*knn, smote"):
        fit_back_end(
            {"source": SOURCE[:, None]},
            dataclasses.replace(DEFAULT, back_end="knn+knm"),
            ("clip", "e"),
        )


def test_options_name_every_back_end_there_is():
    assert set(options.BACK_ENDS) == set(chosen.BACK_ENDS)
