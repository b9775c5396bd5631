"""Pseudo-anomalies are what they say; every machine gets its own candidate; ranks."""

import numpy as np
import pytest
from scoring.machines import machine

from asd_jax.config import RunConfig
from asd_jax.data.factory import write_factory
from asd_jax.models.settings import Tokens
from asd_jax.run.clips import find_data
from asd_jax.run.embed import embed_machine
from asd_jax.run.frozen import frozen_encoder
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import write_json
from asd_jax.runtime.settings import with_values
from asd_jax.scoring.automatic import CANDIDATES
from benchmarks import automatic_choice, choice_regret
from benchmarks.token_views import View, view_embeddings, with_front_end
from benchmarks.verdict import row_of

RNG = np.random.default_rng(0)


def test_the_other_machine_is_mixed_in_10_db_below():
    wave = RNG.normal(size=16000).astype(np.float32)
    other = RNG.normal(size=5000).astype(np.float32) * 40
    added = automatic_choice.mixed(wave, other) - wave
    assert 10 * np.log10(np.mean(added**2) / np.mean(wave**2)) == pytest.approx(-10, abs=1e-3)
    np.testing.assert_array_equal(automatic_choice.mixed(wave, np.zeros(10, np.float32)), wave)


def test_surgery_changes_half_an_octave_by_9_db_and_nothing_else():
    wave = RNG.normal(size=16000).astype(np.float32)
    gain = np.abs(np.fft.rfft(automatic_choice.surgery(wave, np.random.default_rng(1)))) / np.abs(
        np.fft.rfft(wave)
    )
    decibels = np.abs(20 * np.log10(gain))
    changed = np.flatnonzero(decibels > 4.5)
    assert decibels[changed] == pytest.approx(9, abs=0.05)  # float32 waves
    assert changed.max() / changed.min() == pytest.approx(2**0.5, rel=0.01)
    assert len(changed) == changed.max() - changed.min() + 1
    assert np.delete(decibels, changed) == pytest.approx(0, abs=0.05)


def test_every_machine_is_scored_by_its_own_candidate():
    clips = [
        (m, "00", d, label)
        for m in ("fan", "pump")
        for d in ("source", "target")
        for label in (0, 1)
    ]
    truth = np.array([clip[3] for clip in clips], float)
    of_fan = np.array([clip[0] == "fan" for clip in clips])
    tests = {
        "knows fans": row_of(clips, np.where(of_fan, truth, -truth)[None], 2024),
        "knows pumps": row_of(clips, np.where(of_fan, -truth, truth)[None], 2024),
    }
    right = automatic_choice.assembled(tests, {"fan": "knows fans", "pump": "knows pumps"}, 2024)
    assert right.official == [1.0]
    assert automatic_choice.machine_score(tests["knows fans"], "fan") == 1.0
    wrong = automatic_choice.assembled(tests, {"fan": "knows pumps", "pump": "knows fans"}, 2024)
    assert wrong.official[0] < 0.01


def test_ranks_are_averaged_and_correlated():
    up = {"a": {"fan": 1.0}, "b": {"fan": 2.0}, "c": {"fan": 3.0}}
    down = {"a": {"fan": 9.0}, "b": {"fan": 8.0}, "c": {"fan": 7.0}}
    assert automatic_choice.mean_ranks([up, down]) == {name: {"fan": 2.0} for name in "abc"}
    assert automatic_choice.rank_correlation(up, down, "fan") == pytest.approx(-1)
    assert automatic_choice.rank_correlation({name: {"fan": 0.0} for name in "abc"}, up, "fan") == 0


@pytest.mark.slow
def test_every_view_is_what_the_encoder_gives_and_is_kept(tmp_path, monkeypatch):
    sizes = {"train_source": 2, "train_target": 1, "test_per_condition": 1}
    write_factory(tmp_path / "data", machines=["fan"], clip_seconds=0.5, **sizes)
    keys = {"data.root": str(tmp_path / "data"), "data.clip_seconds": 0.5, "model.weights": "none"}
    small = {"model.size": "tiny", "model.depth": 2, "model.width": 32, "model.heads": 2}
    config = with_front_end(with_values(RunConfig(), {**keys, **small}), "mel", "global")
    clips = find_data(config, tmp_path)
    tokens = Tokens(bands="apart")
    views = [View(0, "gem", tokens), View(-1, "max", tokens)]
    found = view_embeddings(config, clips, views, tmp_path / "views")
    for view in views:
        keys = {"frozen.block": view.block, "frozen.pooling": view.pooling, "tokens.bands": "apart"}
        one = with_values(config, keys)
        expected, bare = embed_machine(one, *frozen_encoder(one, clips), clips)
        own = found[view.name]["fan"]
        np.testing.assert_allclose(own.vectors, expected.vectors, atol=2e-6)  # measured 7e-7
        assert own.axes == expected.axes == ("clip", "band", "embedding")
    np.testing.assert_allclose(found["filter bank"]["fan"].vectors, bare.vectors, atol=2e-6)
    monkeypatch.setattr("benchmarks.token_views._embed", None)  # nothing is embedded again
    again = view_embeddings(config, clips, views, tmp_path / "views")
    np.testing.assert_array_equal(
        again[views[0].name]["fan"].vectors, found[views[0].name]["fan"].vectors
    )


def test_ratings_are_kept_until_the_embeddings_change(tmp_path, monkeypatch):
    own = {"fan": machine(source=12, target=2)}
    altered = {
        "fan__mixed": machine(seed=1),
        "fan__surgery": machine(seed=2),
        "fan__faults": machine(seed=3),
    }
    given = (own, altered, [machine(seed=3)], RunConfig(), tmp_path, "mean")
    write_json(tmp_path / "clips" / "fan" / "made_of.json", {"made_of": "a"})
    first = automatic_choice.rated_view(*given)
    assert set(first) == set(CANDIDATES) - {"varmin"}  # which needs three target clips
    monkeypatch.setattr(automatic_choice, "rate", lambda *_: {"pseudo AUC": {"fan": 0.5}})
    again = automatic_choice.rated_view(*given)
    assert {name: of["rated"] for name, of in again.items()} == {
        name: of["rated"] for name, of in first.items()
    }
    write_json(tmp_path / "clips" / "fan" / "made_of.json", {"made_of": "b"})
    changed = automatic_choice.rated_view(*given)
    assert changed["knn"]["rated"] == {"pseudo AUC": {"fan": 0.5}}
    assert changed["knn"]["scores"] == first["knn"]["scores"]


SETS = {
    "drone": {"a": {"x": 0.9}, "b": {"x": 0.5}, "c": {"x": 0.7}},
    "fans": {"a": {"y": 0.2, "z": 0.4}, "b": {"y": 0.8, "z": 0.6}, "c": {"y": 0.7, "z": 0.9}},
}


def test_regret_is_what_the_chosen_candidate_lacks_to_the_best():
    found = choice_regret.regret(SETS["fans"], {"y": "c", "z": "b"})
    assert found == pytest.approx({"y": 0.1, "z": 0.3})
    random = choice_regret.random_regret(SETS["fans"])
    assert random == pytest.approx({"y": 0.8 - 1.7 / 3, "z": 0.9 - 1.9 / 3})
    assert choice_regret.best_elsewhere(SETS, "drone") == "c"
    assert choice_regret.best_elsewhere(SETS, "fans") == "a"


def test_several_sets_are_joined_by_their_means(tmp_path, capsys):
    for name, scores in SETS.items():
        chosen = {"proxy": choice_regret.regret(scores, dict.fromkeys(scores["a"], "b"))}
        # Another version's run has a criterion of its own, which cannot be joined.
        chosen[f"criterion of {name}"] = chosen["proxy"]
        write_json(
            tmp_path / name / "automatic_choice.json", {"candidates": scores, "regret": chosen}
        )
    folders = [tmp_path / name for name in SETS]
    found = choice_regret.join(folders, tmp_path)
    assert set(found) == {"proxy", choice_regret.RANDOM, choice_regret.ELSEWHERE}
    assert found["proxy"] == pytest.approx({"drone": 0.4, "fans": 0.15})
    # "c" is the best of the fans, "a" of the drone
    assert found[choice_regret.ELSEWHERE] == pytest.approx({"drone": 0.2, "fans": 0.55})
    assert "27.50" in capsys.readouterr().out
    with pytest.raises(InputError, match="no automatic_choice.json"):
        choice_regret.join([tmp_path / "none"], tmp_path)
