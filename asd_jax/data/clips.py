"""Clip records: what a DCASE Task 2 folder and its file names say about each recording."""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from asd_jax.errors import InputError

# DCASE 2022 and later. RoboticArm (2024) lacks the `_test_` token; attribute strings contain underscores.
_LABELLED = re.compile(
    r"section_(?P<section>\d+)_(?P<domain>source|target)_(?:(?P<split>train|test)_)?"
    r"(?P<label>normal|anomaly)_(?P<number>\d+)(?:_(?P<attribute>.*))?\.wav"
)
# Evaluation clips as released: nothing but a section and a number.
_RELEASED = re.compile(r"section_(?P<section>\d+)_(?P<number>\d+)\.wav")
_LABELS = {"normal": 0, "anomaly": 1}

EXPECTED_TREE = """expected tree (the levels dev_data/, eval_data/ and raw/ may be there or not):
  <root>/<machine>/train/section_00_source_train_normal_0000_<attributes>.wav
  <root>/<machine>/test/section_00_source_test_anomaly_0000_<attributes>.wav"""


@dataclasses.dataclass(frozen=True)
class Clip:
    """One recording and what its name says.

    Attributes:
        path: where it is.
        machine: machine type, the name of the folder above train/ and test/.
        section: two digits, as in the name.
        split: "train" or "test".
        domain: "source", "target" or "unknown" (evaluation clips as released).
        label: 0 normal, 1 anomaly, -1 unknown.
        attribute: the name's attribute string, "" where concealed or absent.
    """

    path: str
    machine: str
    section: str
    split: str
    domain: str
    label: int
    attribute: str


def parse_clip(path: str | Path, machine: str, split: str) -> Clip:
    """Path of a wav -> its record, by the DCASE 2022+ name grammar.

    Raises:
        InputError: the name does not follow the grammar, or contradicts the folder it lies in.
    """
    name = Path(path).name
    if match := _LABELLED.fullmatch(name):
        if match["split"] not in (None, split):
            raise InputError(f"{path}: a {match['split']} clip in the {split} folder; move it to where it belongs")
        attribute = match["attribute"] or ""
        return Clip(
            path=str(path),
            machine=machine,
            section=match["section"],
            split=split,
            domain=match["domain"],
            label=_LABELS[match["label"]],
            attribute="" if attribute == "noAttribute" else attribute,
        )
    if match := _RELEASED.fullmatch(name):
        return Clip(str(path), machine, match["section"], split, "unknown", -1, "")
    raise InputError(
        f"{path}: not a DCASE 2022+ file name; expected section_<SS>_<source|target>_<train|test>_"
        "<normal|anomaly>_<NNNN>_<attributes>.wav, or section_<SS>_<NNNN>.wav for unlabelled test clips"
    )


def find_clips(root: str | Path, machines: Sequence[str] = ()) -> list[Clip]:
    """Every clip under `root`, ordered by machine, split and name.

    Args:
        root: a folder with `<machine>/{train,test}` in it, directly or below dev_data/, eval_data/, raw/ or the
            top folder of the zip.
        machines: the machine types wanted; empty means all.

    Raises:
        InputError: no such folder, no clips in it, a wanted machine missing or without training clips.
    """
    root = Path(root)
    folders = _machine_folders(root)
    found = sorted({folder.name for folder in folders})
    if not found:
        raise InputError(f"{root}: no recordings here; {EXPECTED_TREE}\nfound: {_listing(root)}")
    if missing := sorted(set(machines) - set(found)):
        raise InputError(f"{root}: no machine {', '.join(missing)} here; found: {', '.join(found)}\n{EXPECTED_TREE}")
    clips = [
        parse_clip(path, folder.name, split)
        for folder in folders
        if not machines or folder.name in machines
        for split in ("train", "test")
        for path in sorted((folder / split).glob("*.wav"))
    ]
    for machine in machines or found:
        if not any(clip.machine == machine and clip.split == "train" for clip in clips):
            raise InputError(f"{root}: machine {machine} has no training clips (.wav) in its train folder")
    return sorted(clips, key=lambda clip: (clip.machine, clip.split, Path(clip.path).name))


def training_classes(clips: Iterable[Clip], *, with_domain: bool = False) -> list[tuple[str, ...]]:
    """Training clips -> the sorted classes (machine, section, attribute[, domain]) that ArcFace separates."""
    return sorted({clip_class(clip, with_domain=with_domain) for clip in clips if clip.split == "train"})


def clip_class(clip: Clip, *, with_domain: bool = False) -> tuple[str, ...]:
    """The class of one clip; clips without attributes share their machine's one class."""
    return (clip.machine, clip.section, clip.attribute) + ((clip.domain,) if with_domain else ())


def _machine_folders(root: Path) -> list[Path]:
    """Folders that hold a train/ or test/ folder, at most four levels down (zip top, dev_data, raw, machine)."""
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; {EXPECTED_TREE}")
    level, folders = [root], []
    for _ in range(4):
        level = [sub for folder in level for sub in sorted(folder.iterdir()) if sub.is_dir()]
        folders += [sub for sub in level if (sub / "train").is_dir() or (sub / "test").is_dir()]
        level = [sub for sub in level if sub not in folders]
    return folders


def _listing(root: Path, most: int = 8) -> str:
    names = sorted(item.name + ("/" if item.is_dir() else "") for item in root.iterdir())
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") or "nothing"
