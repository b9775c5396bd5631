"""Claims about the views of a window."""

import dataclasses

import numpy as np
import pytest
from machine_sound import RATE, sound

from asd_jax.detector.views import (
    for_machine,
    mel_front_end,
    second_starts,
    views,
)
from asd_jax.features.front_end import SimAM
from asd_jax.runtime.errors import InputError
from asd_jax.training.weights import load_pipeline


def test_level_and_fluctuation_are_those_of_the_log_energies_and_seconds_their_parts():
    wave = np.concatenate([sound(0), 0.1 * sound(1)])[None]
    vectors, seconds = views(None, wave, with_rhythm=False)
    energies = np.asarray(mel_front_end(RATE).log_energies(wave))[0]
    assert set(vectors) == {"level", "fluctuation"}
    np.testing.assert_allclose(vectors["level"][0], energies.mean(0), rtol=1e-5)
    np.testing.assert_allclose(vectors["fluctuation"][0], energies.std(0), rtol=1e-4)
    starts = second_starts(len(energies))
    assert starts == [0, 100, 200, 298] and len(energies) == 398  # the last ends with the window
    parts = [energies[start : start + 100].mean(0) for start in starts]
    np.testing.assert_allclose(seconds[0], parts, rtol=1e-5)


def test_windows_in_batches_have_the_views_of_each_alone():
    waves = np.stack([sound(seed) for seed in range(3)])
    together, _ = views(None, waves, with_rhythm=False)
    for n, wave in enumerate(waves):
        alone, _ = views(None, wave[None], with_rhythm=False)
        for view, vectors in alone.items():
            np.testing.assert_allclose(together[view][n], vectors[0], rtol=1e-5, atol=1e-5)


def test_a_mode_of_simam_for_each_machine_needs_the_machine(encoder_file):
    pipeline = load_pipeline(encoder_file)
    assert for_machine(pipeline, None) is pipeline
    simam = SimAM({"pump": "global", "fan": "local"})
    front_end = dataclasses.replace(pipeline.config.front_end, simam=simam)
    config = dataclasses.replace(pipeline.config, front_end=front_end)
    several = dataclasses.replace(pipeline, config=config)
    modes = {
        name: for_machine(several, name).config.front_end.simam.mode for name in ("pump", "fan")
    }
    assert modes == {"pump": "global", "fan": "local"}
    with pytest.raises(InputError, match="give --machine, one of"):
        for_machine(several, None)
