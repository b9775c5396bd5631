"""Claims about the verdicts of many recordings."""

import functools

import pytest
import soundfile
from machine_sound import RATE, sound

from asd_jax.data.audio import read_clip
from asd_jax.detector.verdict import Verdict
from asd_jax.detector.verdicts import verdicts_of
from asd_jax.runtime.errors import InputError


def test_each_recording_has_its_verdict_or_error_in_order(plain, tmp_path, monkeypatch):
    monkeypatch.setattr("asd_jax.detector.verdicts.batch_size", lambda: 2)  # windows at once
    waves = [sound(100), sound(101, fault=0.05), sound(102, 5.0), sound(103)]
    paths = [tmp_path / f"{n}.wav" for n in range(6)]
    for path, wave in zip([*paths[:2], *paths[3:5]], waves, strict=True):
        soundfile.write(path, wave, RATE, subtype="FLOAT")
    soundfile.write(paths[5], sound(104, rate=8000), 8000, subtype="FLOAT")
    paths[2].write_bytes(b"RIFF")
    read = functools.partial(read_clip, sample_rate=RATE)
    found = list(verdicts_of(plain, paths, read))
    assert [path for path, _ in found] == paths
    assert isinstance(found[2][1], InputError) and "2.wav" in str(found[2][1])
    judged = [verdict for _, verdict in found if isinstance(verdict, Verdict)]
    expected = [plain.score(wave) for wave in waves]
    assert [one.score for one in judged[:4]] == pytest.approx(expected, rel=1e-4)
    assert [one.is_anomaly for one in judged[:4]] == [False, True, False, False]
    # The file's own rate is known, not only the one it was read at.
    assert judged[4].note.startswith("rate: sound of 8000 Hz") and not judged[0].note
