"""Tests whether asd_jax.detect watch runs for days: endurance, speed, alarm latency and hostile
streams.

    python -m benchmarks.watch --hours=24 --encoder_hours=2 --fuzz=10000 \\
        --output=DIR [--detector=FILE]

Endurance: generated sound, in which every sample encodes its position, passes through decoder,
windows and a cheap stand-in for the encoder (24 h), and through a detector (2 h), on one core.
Every window is compared with its expected content, and memory is monitored after the first tenth.
Latency: a fault begins at random moments, and its alarm must come within the stated time. Fuzz:
random chunkings and corruptions must give the same windows or an event, and never a crash. The
command writes watch.json.
"""

import io
import json
import os
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
from absl import flags

from asd_jax.detector.detector import Detector
from asd_jax.detector.sample_format import SampleFormat
from asd_jax.detector.stream import Decoder
from asd_jax.detector.watch import Watch, memory_mb
from asd_jax.detector.watch_bytes import watch_bytes
from asd_jax.detector.watch_settings import WatchSettings
from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import write_json
from asd_jax.scoring.back_ends.fusion import fused
from benchmarks.provenance import provenance

FLAGS = flags.FLAGS

RATE = 16000
# The limits that a run must meet.
MOST_MB_GROWTH = 20
LEAST_TIMES_REAL_TIME = 10


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_float("hours", 24, "Hours of sound through the stand-in.", lower_bound=0)
    flags.DEFINE_float("encoder_hours", 2, "Hours of sound through a detector.", lower_bound=0)
    flags.DEFINE_string(
        "detector", None, "Detector file; default: the filter bank, fitted to generated sound."
    )
    flags.DEFINE_integer("faults", 20, "Number of faults whose alarms are timed.")
    flags.DEFINE_integer("fuzz", 10000, "Number of damaged streams.")
    flags.DEFINE_string("output", None, "Folder for watch.json; nothing is written without it.")


def main() -> int:
    """Runs all tests and prints the figures; returns 1 if one is not met."""
    # The process is limited to one core before JAX starts its threads.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    result = {}
    broken = []
    if FLAGS.hours:
        result["stand_in"], faults = endurance(
            FLAGS.hours, lambda wave: float(np.abs(wave).mean()), 10.0
        )
        broken += faults
    if FLAGS.encoder_hours:
        score, seconds = detector_score(FLAGS.detector)
        result["detector"], faults = endurance(FLAGS.encoder_hours, score, seconds)
        speed = result["detector"]["times_real_time"]
        broken += faults + ([f"{speed} times real time"] if speed < LEAST_TIMES_REAL_TIME else [])
    result["alarm_latency"], faults = alarm_latency(FLAGS.faults)
    broken += faults
    found = fuzz(FLAGS.fuzz)
    result |= {"fuzz": {"streams": FLAGS.fuzz, "broken": len(found)}, "broken": broken + found[:20]}
    print(json.dumps(result, indent=2))
    if FLAGS.output:
        write_json(Path(FLAGS.output) / "watch.json", result | provenance())
    return 1 if result["broken"] else 0


def endurance(
    hours: float, score: Callable[[np.ndarray], float], window_seconds: float
) -> tuple[dict, list[str]]:
    """Passes hours of sound through everything except the microphone, and returns (figures,
    errors).
    """
    samples = round(window_seconds * RATE)
    broken = []
    memory = []
    total = round(hours * 3600 * RATE)
    expected_windows = total // samples
    seen = 0

    def checked(wave):
        nonlocal seen
        expected = numbered(seen * samples, samples) * np.float32(1 / 32768)
        if not np.array_equal(wave, expected):
            broken.append(f"window {seen} is not what was sent")
        seen += 1
        return score(wave)

    watching = WatchSettings(RATE, window_seconds, window_seconds, threshold=np.inf, release=np.inf)
    watch = Watch(watching, checked)
    began = time.perf_counter()
    cpu = time.process_time()
    for line in watch_bytes(watch, sound_bytes(total), Decoder(SampleFormat())):
        if "window" in line:
            memory.append(memory_mb())
    # The first tenth is a warm-up, in which memory may grow.
    warm = memory[len(memory) // 10 :] or [0.0]
    growth = max(warm) - warm[0]
    if seen != expected_windows:
        broken.append(f"{seen} windows of {expected_windows}")
    if growth > MOST_MB_GROWTH:
        broken.append(f"memory grew by {growth:.1f} MB")
    wall = time.perf_counter() - began
    latency = watch.status()["latency_ms"]
    return {
        "hours": hours,
        "windows": seen,
        "memory_mb": round(max(warm), 1),
        "memory_growth_mb": round(growth, 2),
        "times_real_time": round(hours * 3600 / wall, 1),
        "cpu_share_at_real_time": round((time.process_time() - cpu) / (hours * 3600), 5),
        "window_latency_ms": latency,
    }, broken


def sound_bytes(total: int) -> Iterator[tuple[bytes, float]]:
    """Yields samples that encode their position, in chunks of odd sizes."""
    rng = np.random.default_rng(0)
    at = 0
    held = b""
    while at < total or held:
        if at < total:
            count = min(int(rng.integers(1, 1 << 16)), total - at)
            held += numbered(at, count).astype("<i2").tobytes()
            at += count
        cut = len(held) if at >= total else int(rng.integers(1, len(held) + 1))
        yield held[:cut], time.perf_counter()
        held = held[cut:]


def numbered(start: int, count: int) -> np.ndarray:
    """Returns int16 noise that is a function of the sample's number (a multiplicative hash)."""
    n = np.arange(start, start + count, dtype=np.uint64)
    return ((n * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(52)).astype(np.int16) - np.int16(2048)


def detector_score(path: str | None) -> tuple[Callable[[np.ndarray], float], float]:
    """Returns a compiled function that computes a detector's score of a window, and the window's
    length in seconds.
    """
    if path:
        detector = Detector.load(path)
    else:
        detector = Detector.fit(
            [numbered(n << 24, 160000) * np.float32(1 / 32768) for n in range(20)], RATE
        )
    if detector.input_rate != RATE:
        raise InputError(
            f"--detector: it takes {detector.input_rate} Hz, the generated sound has {RATE} Hz"
        )

    def score(wave):
        return float(fused(detector.process(wave[None])[0])[0])

    seconds = detector.settings.window_seconds
    # The first call compiles, so it is made before anything is timed.
    score(np.zeros(round(seconds * RATE), np.float32))
    return score, seconds


def alarm_latency(
    faults: int, window: float = 2.0, hop: float = 0.5, confirm: int = 2
) -> tuple[dict, list[str]]:
    """Simulates faults that begin at random moments, and returns the time of sound until their
    alarms next to the stated time, and the errors.
    """
    rng = np.random.default_rng(1)
    found = []
    watching = WatchSettings(
        RATE, window, hop, threshold=0.1, release=0.05, confirm=confirm, hold_seconds=1.0
    )
    for _ in range(faults):
        begin = int(rng.integers(3 * RATE, 6 * RATE))
        wave = np.zeros(begin + 12 * RATE, np.int16)
        wave[begin:] = 8192
        wave = wave + rng.integers(-50, 50, len(wave)).astype(np.int16)
        # The score counts a window as faulty only if all of it is, which is the hardest case.
        watch = Watch(watching, lambda w: float(np.abs(w).min()))
        lines = watch_bytes(watch, [(wave.tobytes(), None)], Decoder(SampleFormat()))
        alarm = next((line for line in lines if line.get("event") == "alarm_start"), None)
        found.append(np.inf if alarm is None else alarm["at"] - begin / RATE)
    stated = watching.latency_seconds
    broken = (
        [f"an alarm after {max(found):.3f} s, {stated} s are stated"]
        if faults and max(found) > stated
        else []
    )
    return {
        "stated_seconds": stated,
        "longest_seconds": round(max(found, default=0), 3),
        "faults": faults,
    }, broken


def fuzz(streams: int, seed: int = 0) -> list[str]:
    """Returns how damaged streams broke the rule.

    A stream must give the same windows, or an event that says what was wrong.
    """
    rng = np.random.default_rng(seed)
    broken = []
    wholes = [(content, lines_of(content)[0]) for content in whole_streams(rng)]
    for number in range(streams):
        content, expected = wholes[rng.integers(len(wholes))]
        other = wholes[rng.integers(len(wholes))][0]
        damaged, kind = damage(content, other, rng)
        cuts = np.sort(rng.integers(0, len(damaged) + 1, rng.integers(0, 50))).tolist()
        try:
            windows, events = lines_of(damaged, cuts)
        except InputError:
            continue
        except Exception as error:  # the rule allows no other exception
            broken.append(f"stream {number} ({kind}): {type(error).__name__}: {error}")
            continue
        starts = [start for start, _ in windows]
        hop = starts[1] - starts[0] if len(starts) > 1 else 0
        fine = np.allclose(np.diff(starts), hop, atol=2e-3)
        if kind == "chunks":
            fine = fine and windows == expected and not events
        elif kind == "samples":
            fine = fine and starts == [start for start, _ in expected]
        elif kind == "shorter":
            fine = (
                fine and windows == expected[: len(windows)] and (events or content[:4] != b"RIFF")
            )
        elif kind == "header":
            fine = fine and (windows == expected or events)
        if not fine:
            broken.append(
                f"stream {number} ({kind}): {len(windows)} windows of {len(expected)}, events "
                f"{events}"
            )
    return broken


def lines_of(
    content: bytes, cuts: Sequence[int] = ()
) -> tuple[list[tuple[float, float]], list[str]]:
    """Cuts a stream into chunks, and returns [(start, score)] of its windows, and its events except
    those about the sound itself.
    """
    pieces = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    watching = WatchSettings(RATE, 0.1, 0.05, threshold=np.inf, release=np.inf)
    watch = Watch(watching, lambda wave: float(np.square(wave).mean()))
    lines = list(
        watch_bytes(watch, [(piece, None) for piece in pieces if piece], Decoder(SampleFormat()))
    )
    json.dumps(lines, allow_nan=True)
    usual = ("end", "resampled", "silence", "clipping", "dropout")
    events = [line["event"] for line in lines if "event" in line and line["event"] not in usual]
    resampled = [line["message"] for line in lines if line.get("event") == "resampled"]
    if resampled != ["the sound is resampled from 44100 Hz to the detector's 16000 Hz"]:
        # The event names another rate than any that was sent.
        events += resampled
    return [(line["start"], line["score"]) for line in lines if "window" in line], events


def whole_streams(rng: np.random.Generator) -> list[bytes]:
    """Returns one short sound as raw samples, and as wav in every supported encoding."""
    wave = (0.2 * rng.standard_normal(12000)).clip(-0.9, 0.9)
    streams = [(wave * 32768).astype("<i2").tobytes()]
    for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT"):
        for rate, channels in ((RATE, 1), (RATE, 2), (44100, 1)):
            file = io.BytesIO()
            soundfile.write(
                file, np.tile(wave[:, None], channels), rate, format="WAV", subtype=subtype
            )
            streams.append(file.getvalue())
    return streams


def damage(content: bytes, other: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    """Returns a stream with one kind of damage, and what may be required of its result."""
    damaged = bytearray(content)
    header = 44 if content[:4] == b"RIFF" else 0
    match rng.integers(7):
        case 0:
            return content, "chunks"
        case 1:
            return content[: rng.integers(len(content))], "shorter"
        case 2:  # bits flipped among the samples
            begin = content.find(b"data") + 8 if header else 0
            for at in rng.integers(begin, len(content), rng.integers(1, 64)):
                damaged[at] ^= 1 << rng.integers(8)
            return bytes(damaged), "samples"
        case 3:  # bits flipped in the header
            for at in rng.integers(0, header or 1, rng.integers(1, 3)) if header else ():
                damaged[at] ^= 1 << rng.integers(8)
            return bytes(damaged), "header" if header else "chunks"
        case 4:  # odd numbers in the header
            if header:
                at = int(rng.choice([16, 20, 22, 24, 28, 32, 34, 40]))
                damaged[at : at + 2] = struct.pack(
                    "<H", int(rng.choice([0, 1, 3, 255, 0x7FFF, 0xFFFF]))
                )
            return bytes(damaged), "header" if header else "chunks"
        case 5:  # one stream after another, the first possibly cut
            return content[: rng.integers(len(content))] + other, "spliced"
        case _:
            return rng.bytes(int(rng.integers(0, 4000))), "noise"


if __name__ == "__main__":
    run(main, define_flags)
