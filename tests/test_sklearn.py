"""asd_jax.sklearn: scikit-learn's rules for an estimator, over sounds."""

import pickle

import numpy as np
import pytest
import soundfile
from machine_sound import RATE, sound
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks

from asd_jax.runtime.errors import InputError
from asd_jax.sklearn import SoundAnomalyDetector

HEALTHY = [sound(n, 0.5) for n in range(12)]
TODAY = [sound(n, 0.5, fault=0.1 * (n % 2)) for n in range(100, 106)]


@pytest.fixture(scope="module")
def fitted():
    return SoundAnomalyDetector(weights=None).fit(HEALTHY)


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_estimator_tags_renamed,
        estimator_checks.check_valid_tag_types,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_mixin_order,
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
    ],
    ids=lambda check: check.__name__,
)
def test_scikit_learns_checks_that_need_no_data(check):
    check("SoundAnomalyDetector", SoundAnomalyDetector())


def test_an_anomalous_sound_is_an_outlier_and_the_methods_agree(fitted):
    score = fitted.score_samples(TODAY)
    assert fitted.predict(TODAY).tolist() == [1, -1] * 3
    np.testing.assert_array_equal(fitted.decision_function(TODAY), score - fitted.offset_)
    alone = [-fitted.detector_.score(wave) for wave in TODAY]
    # A batch and a single sound are two programs; measured: 1e-6.
    np.testing.assert_allclose(score, alone, rtol=2e-5, atol=2e-6)


def test_file_names_give_what_their_waveforms_give(fitted, tmp_path):
    files = [tmp_path / f"{n}.wav" for n in range(len(TODAY))]
    for file, wave in zip(files, TODAY, strict=True):
        soundfile.write(file, wave, RATE, subtype="FLOAT")
    found = fitted.score_samples([str(files[0]), *files[1:]])
    np.testing.assert_array_equal(found, fitted.score_samples(TODAY))
    named = SoundAnomalyDetector(weights=None).fit([*files[::2], *HEALTHY])
    assert named.detector_.names[0] == str(files[0]) and named.detector_.names[3] == "sound 3"


def test_sounds_of_several_lengths_and_an_array_are_lists_of_sounds(fitted):
    mixed = [TODAY[0], np.tile(TODAY[1], 3)]
    assert fitted.predict(mixed).tolist() == [1, -1]
    assert fitted.predict(np.stack(TODAY)).tolist() == [1, -1] * 3


def test_a_clone_is_unfitted_and_a_pickle_scores_the_same(fitted):
    again = clone(fitted.set_params(false_alarm_rate=0.05))
    assert again.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        again.predict(TODAY)
    kept = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(kept.score_samples(TODAY), fitted.score_samples(TODAY))


def test_pipelines_and_cross_validation_take_lists_of_sounds():
    louder = FunctionTransformer(lambda waves: [2 * wave for wave in waves])
    estimator = make_pipeline(louder, SoundAnomalyDetector(weights=None))
    assert estimator.fit(HEALTHY).predict(TODAY).tolist() == [1, -1] * 3
    sounds, truth = HEALTHY + TODAY[1::2], [1] * len(HEALTHY) + [-1] * 3
    folds = [(np.arange(8), np.arange(8, 15))]
    found = cross_val_score(
        SoundAnomalyDetector(weights=None), sounds, truth, cv=folds, scoring="roc_auc"
    )
    assert found.tolist() == [1.0]


@pytest.mark.parametrize(
    ("sounds", "said"),
    [
        ("fan.wav", "expected a list of waveforms or file names, got str"),
        (HEALTHY[0], "give \\[wave\\]"),
        ([np.zeros((3, 2))], "sound 0: float64 of shape \\(3, 2\\)"),
        ([HEALTHY[0], np.arange(9000)], "sound 1: int64"),
        (["nowhere.wav"], "nowhere.wav"),
    ],
)
def test_what_is_no_list_of_sounds_is_named(fitted, sounds, said):
    with pytest.raises(InputError, match=said):
        fitted.score_samples(sounds)
