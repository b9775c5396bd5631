"""A machine for tests: a hum with harmonics in noise; faulty, it whistles."""

import numpy as np
import soundfile

RATE = 16000


def sound(seed, seconds=2.0, *, fault=0.0, rate=RATE):
    """One recording; `fault` is the whistle's amplitude."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    speed = rng.uniform(86, 94)
    hum = sum(np.sin(2 * np.pi * speed * k * t + rng.uniform(0, 6)) / k for k in range(1, 12))
    wave = 0.05 * hum + 0.02 * rng.standard_normal(len(t)) + fault * np.sin(2 * np.pi * 3150 * t)
    return wave.astype(np.float32)


def write(folder, waves, rate=RATE):
    folder.mkdir(parents=True, exist_ok=True)
    for n, wave in enumerate(waves):
        soundfile.write(folder / f"{n:02}.wav", wave, rate)
    return folder
