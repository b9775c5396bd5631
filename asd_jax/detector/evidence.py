"""Keeps the evidence of an alarm in a folder: its sound, a picture and the verdict."""

import contextlib
import datetime
import io
import shutil
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float

from asd_jax.detector.detector import Detector
from asd_jax.detector.notebook import heat_map_svg
from asd_jax.detector.rows import row
from asd_jax.detector.verdict import Verdict
from asd_jax.runtime.files import atomic_file, write_json

SOUND = "sound.wav"
PICTURE = "heat_map.svg"
VERDICT = "verdict.json"
_COLOURS = ":root { --ink: #1a1d21; --faint: #6b7280; background: #ffffff }"
MOST_FOLDERS = 100  # of a machine; windows of 10 s take about half a megabyte each


def evidence_folder(root: Path, machine: str, time: float) -> Path:
    """Returns the folder of the evidence of an alarm that began at a Unix time."""
    # Names must be in order, and local time comes twice when a clock is put back.
    moment = datetime.datetime.fromtimestamp(time, datetime.UTC)
    return root / machine / moment.strftime("%Y%m%dT%H%M%S.%fZ")


def write_evidence(
    folder: Path, detector: Detector, wave: Float[np.ndarray, "s"], rate: int, verdict: Verdict
) -> None:
    """Writes the sound of a window, where it differs from normal sounds, and its verdict.

    The oldest folders beside this one are removed when there are more than MOST_FOLDERS.

    Args:
        folder: made if it does not exist; what it holds is replaced.
        detector: that gave the verdict.
        wave: samples of the window.
        rate: sampling rate in Hz.
        verdict: of the window.

    Raises:
        InputError: the folder cannot be written.
    """
    # Drawing takes a second, in which the picture of another window must not stand beside this one.
    with contextlib.suppress(OSError):
        (folder / PICTURE).unlink()
    write_window(folder, wave, rate, verdict)
    # Detectors of earlier versions kept no patches, so there is no picture for them.
    if detector.patches is not None:
        picture = _picture(detector, wave, rate).encode()
        with atomic_file(folder / PICTURE) as file:
            file.write(picture)
    remove_older(folder.parent, MOST_FOLDERS)


def complete_evidence(folder: Path, detector: Detector) -> None:
    """Writes what is missing beside the sound of a window, because a process ended meanwhile.

    Raises:
        InputError: the folder cannot be written.
    """
    wanted = {VERDICT} if detector.patches is None else {VERDICT, PICTURE}
    if (folder / SOUND).is_file() and not all((folder / name).is_file() for name in wanted):
        wave, rate = soundfile.read(folder / SOUND, dtype="float32")
        write_evidence(folder, detector, wave, rate, detector.examine(wave, rate))


def write_window(folder: Path, wave: Float[np.ndarray, "s"], rate: int, verdict: Verdict) -> None:
    """Writes the sound of a window and its verdict.

    Arguments and errors are those of `write_evidence`.
    """
    # soundfile does not raise what a file raises while it writes, such as a full disk.
    sound = io.BytesIO()
    soundfile.write(sound, wave, rate, format="WAV", subtype="PCM_16")
    with atomic_file(folder / SOUND) as file:
        file.write(sound.getvalue())
    write_json(folder / VERDICT, row(SOUND, verdict))


def remove_older(root: Path, most: int) -> None:
    """Removes the folders in `root` except the last `most`, in the order of their names."""
    # What cannot be listed or removed now, e.g. while somebody looks at it, is tried again next
    # time.
    with contextlib.suppress(OSError):
        kept = sorted(path for path in root.iterdir() if path.is_dir())
        for old in kept[:-most]:
            shutil.rmtree(old, ignore_errors=True)


def _picture(detector: Detector, wave: np.ndarray, rate: int) -> str:
    """Returns an SVG of the spectrogram and the heat map of a window."""
    svg = heat_map_svg(detector.explain(wave, rate))
    # A plot takes its colours from the page around it, and a file has none.
    return svg.replace(">", f"><style>{_COLOURS}</style>", 1)
