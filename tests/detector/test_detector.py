import dataclasses

import jax
import jaxtyping
import numpy as np
import pytest
from detectors import FAULTY, HEALTHY
from machine_sound import RATE, sound

import asd_jax
from asd_jax.data.audio import resample
from asd_jax.detector.notes import Kind, Note
from asd_jax.runtime.errors import InputError

Detector = asd_jax.Detector


def test_faults_are_heard_and_health_is_not_alarming(detector, plain):
    for one in (detector, plain):
        assert all(one.is_anomaly(wave) for wave in FAULTY)
        assert np.mean([one.is_anomaly(wave) for wave in HEALTHY]) <= 0.15  # 5 % asked for; of 20
        assert min(map(one.score, FAULTY)) > max(map(one.score, HEALTHY))


def test_any_rate_and_length(plain):
    wave = sound(8, 4.0, rate=48000)
    assert plain.score(wave, 48000) == plain.score(resample(wave, 48000, RATE))
    short = plain.examine(wave[:9000])
    assert short.windows.shape == (1,)  # repeated to a window
    assert "less than the window of 2 s" in short.note and not plain.examine(wave, 48000).note
    assert plain.examine(sound(8, 4.0, rate=8000), 8000).note.startswith("rate: sound of 8000 Hz")
    for bad in (wave[:100], np.full(9000, np.nan, np.float32)):
        with pytest.raises(InputError, match="waveform"):
            plain.score(bad)


@pytest.mark.parametrize("rate", ["16000", 0, -1, 16000.5, 10**12, True])
def test_a_rate_that_is_none_is_refused(plain, rate, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for users
    with pytest.raises(InputError, match="sample_rate"):
        plain.score(HEALTHY[0], rate)
    assert plain.score(HEALTHY[0], np.int64(RATE)) == plain.score(HEALTHY[0])


@pytest.mark.parametrize("loudest", [1e300, 3.4e38])
def test_a_sample_beyond_float32_is_refused_at_any_rate(plain, loudest):
    wave = np.where(np.arange(48000) == 5, loudest, 0.1 * np.sin(np.arange(48000.0)))
    for rate in (16000, 44100, 48000):
        try:
            assert np.isfinite(plain.score(wave, rate))
        except InputError as error:
            assert "scale it to" in str(error)


def test_update_learns_a_new_kind_of_normal(plain):
    other = [sound(300 + n, fault=0.02) for n in range(12)]
    further = [sound(400 + n, fault=0.02) for n in range(8)]
    assert np.mean([plain.is_anomaly(wave) for wave in further]) == 1
    updated = plain.update(other)
    assert np.mean([updated.is_anomaly(wave) for wave in further]) <= 0.25
    # A kind that nobody had heard was normal: so may another be that is no farther away.
    assert all(updated.is_anomaly(sound(100 + n, fault=0.5)) for n in range(6))
    assert len(updated.names) == 36 and len(plain.names) == 24


def test_update_equals_a_fit_to_all(encoder_file, normal):
    parts = Detector.fit(normal[:14], RATE, weights=encoder_file).update(normal[14:])
    whole = Detector.fit(normal, RATE, weights=encoder_file)
    assert parts.threshold == pytest.approx(whole.threshold, rel=1e-6)
    assert parts.score(FAULTY[0]) == pytest.approx(whole.score(FAULTY[0]), rel=1e-6)


def test_recordings_shorter_than_the_window_are_told(normal):
    mixed = [*normal, *(wave[: RATE // 2] for wave in normal[:3])]
    one = Detector.fit(iter(mixed), RATE, weights=None)
    assert "3 of 27 recordings are shorter than the window of 2 s" in one.notes[0]


ONE = np.zeros(9000, np.float32)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"waves": sound(0)[:99]}, "give a list of waveforms"),
        ({"sample_rate": "16000"}, "sample_rate='16000' should be of type int"),
        ({"sample_rate": 16000.5}, "sample_rate=16000.5 should be of type int"),
        ({"sample_rate": 10**12}, "sample_rate=1000000000000 must lie in 1000..768000"),
        ({"window_seconds": "2"}, "window_seconds='2' should be of type float"),
        ({"window_seconds": 60}, "windows of 60 s, but the longest of 6 recordings lasts 2 s"),
        ({"window_seconds": float("nan")}, "window_seconds=nan is not a finite number"),
        ({"false_alarm_rate": 1e-310}, "false_alarm_rate=1e-310 must lie in 1e-09"),
        ({"false_alarm_rate": 1 - 1e-12}, "false_alarm_rate=0.9999"),
        ({"false_alarm_rate": True}, "false_alarm_rate=True should be of type float"),
        ({"weights": "nowhere"}, "nowhere: no such weight file"),
        ({"coreset_size": "5"}, "coreset of 5"),
        ({"waves": [np.full(9000, 1e300)] * 6}, "scale it to"),
        ({"names": ["a"]}, "names of 1 recordings, but 6"),
        ({"domains": ["source"] * 5}, "domains of 5"),
        ({"domains": ["target"] * 7}, "domains of 7"),
        ({"domains": ["bogus"] * 6}, "domain 'bogus'"),
        ({"trained": [False] * 5}, "trained of 5"),
        ({"coreset_size": -5}, "coreset of -5"),
        ({"coreset_size": 2}, "a larger coreset"),
        ({"waves": [ONE] * 20}, "1 recordings in the bank of pooled sounds"),
        ({"waves": [sound(0)] * 19 + [sound(1)]}, "copies, and silent ones, count as one"),
    ],
)
def test_what_cannot_be_fitted_is_refused(normal, encoder_file, given, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for users
    weights = encoder_file if given.get("coreset_size") == 2 else None
    with pytest.raises(InputError, match=message):
        Detector.fit(**{"waves": normal[:6], "weights": weights} | given)


def test_eight_devices_share_the_windows_and_say_what_one_says(detector, normal):
    waves = [sound(100 + n, (2.0, 5.0)[n % 2]) for n in range(3)]
    alone = [detector.examine(wave) for wave in waves]
    with jax.default_device(None):
        pipeline = dataclasses.replace(detector.pipeline)
        together = dataclasses.replace(detector, pipeline=pipeline).examine_all(waves)
        assert len(jax.tree.leaves(pipeline.on_devices)[0].sharding.device_set) == 8
    for one, other in zip(alone, together, strict=True):
        assert (one.worst_seconds, one.view, one.is_anomaly) == (
            other.worst_seconds,
            other.view,
            other.is_anomaly,
        )
        np.testing.assert_allclose(other.windows, one.windows, rtol=1e-4)


@pytest.mark.parametrize("scale", [32768.0, 1e30])
def test_waveforms_that_are_not_scaled_are_refused(plain, normal, scale):
    with pytest.raises(InputError, match="scale it to"):
        Detector.fit([scale * wave for wave in normal[:3]], RATE, weights=None)
    for rate in (RATE, 48000):
        with pytest.raises(InputError, match="scale it to"):
            plain.examine(scale * normal[0], rate)


def test_names_and_short_descriptions(plain, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for users
    with pytest.raises(InputError, match="is a name, but a waveform is expected"):
        plain.examine_all(["file.wav"])
    assert len(repr(plain)) < 200 and "24 recordings" in repr(plain)
    assert f"notes: {len(plain.notes)}, see .notes" in repr(plain) and plain.notes


def test_the_p_value_is_the_share_of_normal_windows_that_score_as_high(plain):
    normal = np.sort(plain.bank.normal)
    shares = [plain.p_value(score) for score in (normal[-1] + 1, normal[-2], normal[0] - 1)]
    assert shares == pytest.approx([1 / 25, 3 / 25, 1])


def test_sound_is_compared_up_to_the_lower_of_two_rates(plain):
    for rate, recorded in ((8000, 8000), (48000, 16000)):
        settings = dataclasses.replace(plain.settings, sample_rate=rate)
        one = dataclasses.replace(plain, settings=settings)
        assert (one.recorded_rate, one.input_rate) == (recorded, 16000)


def test_the_runtime_is_that_of_the_encoder_alone(plain, detector, monkeypatch):
    checked = []
    monkeypatch.setattr("asd_jax.detector.detector.check_runtime", checked.append)
    assert plain.with_runtime("openvino") is plain and detector.with_runtime("jax") is detector
    other = detector.with_runtime("openvino")
    assert other.pipeline.runtime == "openvino" and checked == ["openvino"]
    assert detector.pipeline.runtime == "jax" and other.bank is detector.bank


def test_a_detector_says_whether_it_has_an_encoder_and_notes(plain, detector):
    assert "filter bank, threshold" in repr(plain)
    assert "filter bank and encoder, threshold" in repr(detector)
    assert "notes" not in repr(dataclasses.replace(plain, notes=()))
    assert not plain.reduced and dict(plain.origin) == {}


def test_another_rate_keeps_the_notes_that_do_not_depend_on_it(plain):
    kinds = (Kind.THRESHOLD, Kind.SESSIONS, Kind.TOO_FEW, Kind.LEFT_OUT)
    noted = dataclasses.replace(plain, notes=tuple(Note(kind, "a") for kind in kinds))
    changed = noted.with_false_alarm_rate(0.2)
    assert [note.kind for note in changed.notes] == [Kind.SESSIONS, Kind.LEFT_OUT]
    assert changed.settings.false_alarm_rate == 0.2 and changed.bank is plain.bank
