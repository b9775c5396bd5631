"""Simulates a second microphone for the synthetic factory, as in DCASE 2026: near and far.

The near microphone records the factory's clip. The far one records the same room from another
place, and the machine more quietly and later: it leaks.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from jaxtyping import Float
from scipy.signal import fftconvolve

from asd_jax.data.audio import to_int16
from asd_jax.data.machines import SAMPLE_RATE
from asd_jax.data.synthesis import FactoryClip

SPEED_OF_SOUND = 343.0  # m/s
_TAIL_S = 0.05  # time constant of the room's reverberation
_TAIL_DB = -6.0  # energy of the reverberation relative to the direct sound
# The share of the room's sound at the far microphone that the near one records too. The rest comes
# from elsewhere.
_SHARED = 0.9


class Stereo(NamedTuple):
    """The components of one recording by two microphones; each array is "channel s", near first.

    Attributes:
        machine: the healthy machine.
        room: everything else.
        fault: what the fault adds, zero in a normal clip.
    """

    machine: Float[np.ndarray, "2 s"]
    room: Float[np.ndarray, "2 s"]
    fault: Float[np.ndarray, "2 s"]

    @property
    def wave(self) -> Float[np.ndarray, "2 s"]:
        """The recording, the sum of its components."""
        return self.machine + self.room + self.fault


def stereo_clip(
    clip: FactoryClip, *, leak_db: float | int = -10.0, room_db: float | int = 0.0, place: int = 0
) -> Stereo:
    """Returns a factory clip as two microphones record it.

    Args:
        clip: the clip that the near microphone records, except for the level of the room.
        leak_db: level of the machine at the far microphone, relative to the near one.
        room_db: level of the room at both microphones, relative to the healthy machine at the near
            one.
        place: seed of the places of both microphones; the same in all clips of a data set.
    """
    of_machine, of_room = np.random.default_rng(place).spawn(2)
    machine = clip.machine_stem.astype(np.float64)
    fault = clip.fault.astype(np.float64)
    # The level is set here, so that all clips of a set have one ratio of machine to room.
    room = clip.background * 10 ** (room_db / 20) * _level(machine) / _level(clip.background)
    leak = 10 ** (leak_db / 20) * _path(of_machine, metres=of_machine.uniform(2, 4))
    # Played backwards, it has the same spectrum and nothing else in common; rolled, because its
    # middle would stay where it is.
    other = np.roll(room[::-1], len(room) // 2)
    at_far = np.sqrt(_SHARED) * _through(room, _path(of_room, metres=of_room.uniform(0.2, 1)))
    at_far += np.sqrt(1 - _SHARED) * other
    return Stereo(
        np.stack([machine, _through(machine, leak)]),
        np.stack([room, at_far * _level(room) / _level(at_far)]),
        np.stack([fault, _through(fault, leak)]),
    )


def write_stereo(path: str | Path, wave: Float[np.ndarray, "2 s"]) -> None:
    """Writes a recording of two channels with 16 bits a sample."""
    soundfile.write(path, to_int16(wave).T, SAMPLE_RATE)


def _path(rng: np.random.Generator, *, metres: float) -> np.ndarray:
    """Returns the impulse response (t,) of a path of this length in a room, of energy 1."""
    delay = round(metres / SPEED_OF_SOUND * SAMPLE_RATE)
    # After three time constants the tail has fallen by 26 dB.
    time = np.arange(round(3 * _TAIL_S * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.normal(size=len(time)) * np.exp(-time / _TAIL_S)
    tail *= 10 ** (_TAIL_DB / 20) / np.linalg.norm(tail)
    response = np.concatenate([np.zeros(delay), [1.0], tail])
    return response / np.linalg.norm(response)


def _through(wave: np.ndarray, response: np.ndarray) -> np.ndarray:
    return fftconvolve(wave, response)[: len(wave)]


def _level(wave: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float64))))
