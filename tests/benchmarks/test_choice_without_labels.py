import json

import numpy as np
import pytest

import benchmarks.choice_without_labels
from asd_jax.data.factory import write_factory
from asd_jax.scoring.options import Scoring
from benchmarks.choice_without_labels import scores


@pytest.mark.slow
def test_every_row_is_rated_from_normal_clips_alone(command, tmp_path, encoder_file):
    sizes = {"train_source": 10, "train_target": 2, "test_per_condition": 1}
    write_factory(tmp_path / "data", machines=["fan"], clip_seconds=1.0, **sizes)
    for clip in (tmp_path / "data" / "fan" / "test").glob("*.wav"):
        clip.write_bytes(b"")  # a test clip that was read would be an error
    flags = [f"--root={tmp_path / 'data'}", f"--weights={encoder_file}", "--clips=8"]
    found = []
    for name in ("first", "again"):
        output = tmp_path / name
        status, out, err = command(benchmarks.choice_without_labels, *flags, f"--output={output}")
        assert status == 0, err
        found.append(json.loads((output / "choice_without_labels.json").read_text()))
    assert found[0] == found[1]
    # Seven poolings of one block and two of the filter bank, two modes, two levels, three scores.
    assert len(found[0]["rows"]) == (7 + 2) * 2 * 2 * 3
    assert all(0 <= row["machines"]["fan"] <= 1 for row in found[0]["rows"])
    assert "level=keep" in out


def test_what_is_far_from_the_bank_scores_high():
    rng = np.random.default_rng(0)
    bank = rng.normal(size=(20, 4)).astype(np.float32)
    test = np.concatenate([bank[:3] + 0.01, bank[:3] + 30]).astype(np.float32)
    found = scores(Scoring(distance="euclidean", standardize=True), bank, test)
    assert found[:3].max() < found[3:].min()
