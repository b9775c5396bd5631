"""Claims about the verdicts of many recordings."""

import functools
from pathlib import Path

import numpy as np
import pytest
import soundfile
from machine_sound import RATE, sound

from asd_jax.data.audio import read_clip
from asd_jax.detector import verdicts
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


def test_recordings_are_scored_together_as_soon_as_they_fill_a_batch(plain, monkeypatch):
    together = []
    verdict = Verdict(1.0, 2.0, 0.5, False, (0.0, 1.0), "level", np.ones(1))

    def examine_all(detector, waves, sample_rate=None):
        together.append([len(wave) for wave in waves])
        return [verdict] * len(waves)

    monkeypatch.setattr(type(plain), "examine_all", examine_all)
    monkeypatch.setattr(verdicts, "batch_size", lambda: 2)  # of 2 s: 64,000 samples
    monkeypatch.setattr(verdicts, "sampling_rate", lambda path: RATE)
    lengths = [0, 63_999, 500, 63_999, 500, 64_000, 500]
    paths = [Path(f"{n}/{length}") for n, length in enumerate(lengths)]

    def read(path):
        if path.name == "0":
            raise InputError("empty")
        return np.zeros(int(path.name), np.float32)

    found = list(verdicts_of(plain, paths, read))
    assert together == [[63_999, 500], [63_999, 500], [64_000], [500]]
    assert [path for path, _ in found] == paths
    assert [one for _, one in found[1:]] == [verdict] * 6 and str(found[0][1]) == "empty"


def test_four_recordings_are_read_ahead(monkeypatch):
    class Pool:
        """A pool whose work is done at once."""

        def __init__(self, workers):
            assert workers == 4

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def submit(self, function, path):
            done = function(path)
            return type("Done", (), {"result": lambda self: done})()

    read = []
    monkeypatch.setattr(verdicts, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(verdicts, "sampling_rate", lambda path: RATE)
    paths = [Path(f"{n}.wav") for n in range(9)]
    waiting = verdicts._read_ahead(lambda path: read.append(path) or np.zeros(9), paths)
    next(waiting)
    assert read == paths[:5] and len(list(waiting)) == 8
