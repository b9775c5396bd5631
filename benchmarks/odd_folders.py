"""Creates random folders like those found in practice, with the recordings that must be found in
them, for fuzz_audio and the tests.
"""

import os
import socket
from pathlib import Path

import numpy as np
import soundfile

from asd_jax.data.audio import read_clip
from asd_jax.data.clips import find_clips, sound_files
from asd_jax.runtime.errors import InputError

_FOLDERS = ("monday", "Source", "target", "a b", "Größe", "pump[1]", "x.wav", "train", "test")
_KEPT_BY_SYSTEMS = (".Trash-1000", "$RECYCLE.BIN", ".ipynb_checkpoints", "@eaDir", "#recycle")
_KEPT_BY_SYSTEMS += ("System Volume Information", "lost+found", "__MACOSX", ".hidden")
_ENDINGS = (".wav", ".WAV", ".Wave", ".bwf", ".flac", ".aifc", ".snd")
_OTHER = (".m4a", ".xyz", ".txt", ".png", ".csv.part")
_DEPTH = 3


def random_folder(root: Path, rng: np.random.Generator) -> tuple[set[Path], set[Path]]:
    """Fills a new folder; returns (recordings that must be found, items that must be reported)."""
    wanted: set[Path] = set()
    told: set[Path] = set()
    root.mkdir()
    _fill(root=root, folder=root, rng=rng, wanted=wanted, told=told, depth=0)
    return wanted, told


def _fill(root, folder, rng, wanted, told, depth):
    for number in range(rng.integers(1, 4)):
        path = folder / f"r{number}{rng.choice(_ENDINGS)}"
        if rng.random() < 0.1:
            path = Path(os.fsdecode(os.fsencode(folder) + b"/p\xfcmp%d.wav" % number))
        _write(path, rng)
        wanted.add(path)
    if rng.random() < 0.5:
        other = folder / f"other{rng.choice(_OTHER)}"
        other.write_bytes(rng.bytes(99))
        if other.suffix not in (".txt", ".png"):
            told.add(other)
    match rng.integers(6):
        case 0:
            os.mkfifo(folder / "pipe.wav")
            told.add(folder / "pipe.wav")
        case 1:
            (folder / "nowhere.wav").symlink_to(folder / "gone.wav")
            told.add(folder / "nowhere.wav")
        case 2:
            (folder / "loop").symlink_to(root)
        case 3:
            with socket.socket(socket.AF_UNIX) as door:
                # The path of a socket is limited in length.
                os.chdir(folder)
                door.bind("door.wav")
            told.add(folder / "door.wav")
        case 4:
            (folder / "._r0.wav").write_bytes(b"resource fork")
    if rng.random() < 0.5:
        kept = folder / rng.choice(_KEPT_BY_SYSTEMS) / "sub"
        kept.mkdir(parents=True)
        _write(kept / "deleted.wav", rng)
    for name in rng.choice(_FOLDERS, rng.integers(3), replace=False) if depth < _DEPTH else ():
        below = folder / name
        if rng.random() < 0.3:  # a link to a folder elsewhere
            elsewhere = root.with_name(f"{root.name}_{rng.integers(1 << 60)}")
            elsewhere.mkdir()
            below.symlink_to(elsewhere)
        else:
            below.mkdir()
        _fill(root=root, folder=below, rng=rng, wanted=wanted, told=told, depth=depth + 1)


def _write(path: Path, rng: np.random.Generator) -> None:
    with open(path, "wb") as file:
        noise = rng.integers(-999, 999, 800).astype(np.int16)
        soundfile.write(file, noise, 16000, format="WAV", subtype="PCM_16")


def faults_of(root: Path, wanted: set[Path], told: set[Path]) -> list[str]:
    """Returns the errors in what every finder returns for the folder."""
    lines: list[str] = []
    try:
        found = sound_files(root, report=lines.append)
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]
    wrong = [f"found {ascii(str(path))}" for path in set(found) - wanted]
    wrong += [f"not found {ascii(str(path))}" for path in wanted - set(found)]
    wrong += ["one found twice"] if len(found) != len(set(found)) else []
    if len(told) <= 8:
        text = "\n".join(lines)
        wrong += [f"not a word of {path}" for path in told if str(path) not in text]
    for path in (*found, *told):
        try:
            read_clip(path)
        except InputError as error:
            wrong += [f"refused {error}"] if path in wanted else []
    try:
        find_clips(root)
    except InputError:
        pass
    except Exception as error:
        wrong.append(f"find_clips: {type(error).__name__}: {error}")
    return wrong
