"""Clip records: what a DCASE Task 2 folder, or a folder of one's own, says about each recording."""

import dataclasses
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from asd_jax.data.clips_csv import describe
from asd_jax.data.ground_truth import GroundTruth, find_ground_truth
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.names import check_name

# 2021 and later. RoboticArm (2024) lacks the split's token; attribute strings contain underscores.
_LABELLED = re.compile(
    r"section_(?P<section>\d+)_(?P<domain>source|target)_(?:(?P<split>train|test)_)?"
    r"(?P<label>normal|anomaly)_(?P<number>\d+)(?:_(?P<attribute>.*))?\.\w+"
)
# Evaluation clips as released: section and number, in 2021 with the domain.
_RELEASED = re.compile(
    r"section_(?P<section>\d+)_(?:(?P<domain>source|target)_)?(?:test_)?\d+\.\w+"
)
# 2025
_SUPPLEMENTAL = re.compile(r"section_(?P<section>\d+)_(?P<attribute>[a-zA-Z]+)_\d+_?.*\.\w+")
_ID = re.compile(r"(?:(?P<label>normal|anomaly)_)?id_(?P<section>\d+)_\d+\.\w+")  # 2020
_LABELS = {"normal": 0, "anomaly": 1}

# What libsndfile reads, by the usual endings.
AUDIO_ENDINGS = (
    ".wav",
    ".flac",
    ".ogg",
    ".oga",
    ".opus",
    ".mp3",
    ".aiff",
    ".aif",
    ".w64",
    ".caf",
    ".au",
)
_SPLITS = {
    "train": "train",
    "test": "test",
    "source_test": "test",  # 2021
    "target_test": "test",
    # the baseline's copies of the evaluation clips with labels in their names
    "test_rename": "test",
    "supplemental": "supplemental",
}
TEST_FOLDERS = {folder for folder, split in _SPLITS.items() if split == "test"}

EXPECTED_TREE = """expected tree (the levels dev_data/, eval_data/ and raw/ may be there or not):
  <root>/<machine>/train/section_00_source_train_normal_0000_<attributes>.wav
  <root>/<machine>/test/section_00_source_test_anomaly_0000_<attributes>.wav
or recordings of your own, under any name:
  <root>/<machine>/train/*.wav    normal sound only
  <root>/<machine>/test/*.wav
  <root>/<machine>/clips.csv      may be there: file,label,domain,attribute"""


@dataclasses.dataclass(frozen=True)
class Clip:
    """One recording and what its name says.

    Attributes:
        path: where it is.
        machine: machine type, the name of the folder above train/ and test/.
        section: two digits, as in the name (the machine ID in 2020).
        split: "train", "test", "held_out" (of training, by choice) or "supplemental" (2025: clean
            machine sound or noise alone).
        domain: "source", "target" or "unknown" (evaluation clips as released). 2020 knows one
            domain: "source".
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


def parse_clip(path: str | Path, machine: str, split: str, *, labelled: str | None = None) -> Clip:
    """Path of a recording -> its record, by the name grammars of 2020 to 2026.

    A name that does not begin as one of DCASE's is one's own: section 00, source domain, normal if
    in train/.

    Args:
        path: the file.
        machine: its machine type.
        split: the folder it lies in, "train", "test" or "supplemental".
        labelled: the name with labels that the ground truth has for it.

    Raises:
        InputError: the name begins as DCASE's but does not follow the grammar, or contradicts its
            folder.
    """
    path = str(path)
    name = labelled or os.path.basename(path)
    unsaid = 0 if split == "train" else -1
    if match := _LABELLED.fullmatch(name):
        label, attribute = _LABELS[match["label"]], match["attribute"] or ""
        if match["split"] not in (None, split):
            raise InputError(
                f"{path}: a {match['split']} clip in the {split} folder; move it to where it "
                f"belongs"
            )
        clip = Clip(path, machine, match["section"], split, match["domain"], label, attribute)
    elif match := _ID.fullmatch(name):
        clip = Clip(
            path,
            machine,
            match["section"],
            split,
            "source",
            _LABELS.get(match["label"], unsaid),
            "",
        )
    elif split == "supplemental" and (match := _SUPPLEMENTAL.fullmatch(name)):
        clip = Clip(path, machine, match["section"], split, "unknown", -1, match["attribute"])
    elif match := _RELEASED.fullmatch(name):
        clip = Clip(
            path, machine, match["section"], split, match["domain"] or "unknown", unsaid, ""
        )
    elif name.startswith("section_"):
        raise InputError(
            f"{path}: not a DCASE file name; expected "
            f"section_<SS>_<source|target>_<train|test>_<normal|anomaly>_"
            "<NNNN>_<attributes>.wav, or section_<SS>_<NNNN>.wav for unlabelled test clips"
        )
    else:
        clip = Clip(path, machine, "00", split, "source", unsaid, "")
    check_name("section", clip.section, at=path)
    if split == "train" and clip.label == 1:
        raise InputError(f"{path}: an anomaly in the train folder, which is for normal sound only")
    return dataclasses.replace(clip, attribute="") if clip.attribute == "noAttribute" else clip


def find_clips(
    root: str | Path,
    machines: Sequence[str] = (),
    *,
    splits: Sequence[str] = ("train", "test"),
    ground_truth: str | Path | None = None,
) -> list[Clip]:
    """Every clip under `root`, ordered by machine, split and name.

    Args:
        root: a folder with `<machine>/{train,test}` in it, directly or below dev_data/, eval_data/,
            raw/ or the top folder of the zip; or itself a machine's folder.
        machines: the machine types wanted; empty means all.
        splits: the splits wanted; add "supplemental" for the extra clips of 2025.
        ground_truth: a list, or a folder of lists, that labels evaluation clips as released; None
            takes what lies in root or root/ground_truth.

    Raises:
        InputError: no such folder, no clips in it, a wanted machine missing or without training
            clips, a bad name, one name twice in a machine's split.
    """
    root = Path(root)
    found = machine_folders(root)
    if missing := sorted(set(machines) - set(found)):
        raise InputError(
            f"{root}: no machine {', '.join(missing)} here; found: "
            f"{', '.join(found)}\n{EXPECTED_TREE}"
        )
    names = find_ground_truth(root, ground_truth)
    clips = []
    for machine in sorted(set(machines) or found):
        of_machine = machine_clips(found[machine], machine, names)
        if not any(clip.split == "train" for clip in of_machine):
            raise InputError(
                f"{root}: machine {machine} has no training clips in its train folder; "
                f"{EXPECTED_TREE}"
            )
        clips += sorted(of_machine, key=lambda clip: (clip.split, os.path.basename(clip.path)))
    return [clip for clip in clips if clip.split in splits]


def training_classes(clips: Iterable[Clip], *, with_domain: bool = False) -> list[tuple[str, ...]]:
    """Training clips -> the sorted classes (machine, section, attribute[, domain]) that ArcFace
    separates.
    """
    return sorted(
        {clip_class(clip, with_domain=with_domain) for clip in clips if clip.split == "train"}
    )


def clip_class(clip: Clip, *, with_domain: bool = False) -> tuple[str, ...]:
    """The class of one clip; clips without attributes share their machine's one class."""
    return (clip.machine, clip.section, clip.attribute) + ((clip.domain,) if with_domain else ())


def machine_folders(root: str | Path) -> dict[str, list[Path]]:
    """Machine -> its folders under `root`, at most four levels down (zip top, dev_data, raw,
    machine).

    Raises:
        InputError: no such folder, or none of a machine in it.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; {EXPECTED_TREE}")
    if split_folders(root):
        return {root.resolve().name: [root]}
    level, folders = [root], []
    for _ in range(4):
        entries = [entry for folder in level for entry in os.scandir(folder)]
        below = [
            Path(entry.path)
            for entry in entries
            if entry.is_dir() and not entry.name.startswith(".")
        ]
        level = [folder for folder in below if not split_folders(folder)]
        folders += [folder for folder in below if split_folders(folder)]
    if not folders:
        raise InputError(f"{root}: no recordings here; {EXPECTED_TREE}\nfound: {_listing(root)}")
    return {
        name: sorted(f for f in folders if f.name == name)
        for name in sorted({f.name for f in folders})
    }


def machine_clips(
    folders: Sequence[Path], machine: str, names: GroundTruth, bad: list[str] | None = None
) -> list[Clip]:
    """The clips of one machine.

    Args:
        folders: each with train/, test/ and the like in it, and maybe clips.csv; several where one
            holds the sections of development, another those of evaluation.
        machine: its machine type.
        names: labelled names by (machine, released name).
        bad: gets the messages of bad names; None raises the first.

    Raises:
        InputError: a bad name, one name twice in a split, or a clips.csv that does not fit.
    """
    try:
        check_name("machine", machine, at=str(folders[0].parent))
    except InputError as error:
        if bad is None:
            raise
        bad.append(str(error))
    clips = [clip for folder in folders for clip in _clips_of(folder, machine, names, bad)]
    seen: dict[tuple[str, str], str] = {}
    for clip in clips:
        first = seen.setdefault((clip.split, os.path.basename(clip.path)), clip.path)
        if first != clip.path:
            said = (
                f"{clip.path} and {first}: two {clip.split} clips of one name, by which "
                f"scores are told apart; "
            )
            said += "rename one, or give the folder of one edition as root"
            if bad is None:
                raise InputError(said)
            bad.append(said)
    return clips


def _clips_of(folder, machine, names, bad) -> list[Clip]:
    clips = {}
    for sub in split_folders(folder):
        # read to its end, so closed, also where a name is bad
        for entry in list(os.scandir(folder / sub)):
            if not entry.name.lower().endswith(AUDIO_ENDINGS) or entry.name.startswith("."):
                continue
            try:
                labelled = names.get((machine, entry.name))
                clips[f"{sub}/{entry.name}"] = parse_clip(
                    entry.path, machine, _SPLITS[sub], labelled=labelled
                )
            except InputError as error:
                if bad is None:
                    raise
                bad.append(str(error))
    return list(describe(folder / "clips.csv", clips).values())


def sound_files(folder: str | Path) -> list[Path]:
    """Every recording in a folder and those below it, in order of name.

    Raises:
        InputError: no such folder, or none in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of recordings")
    found = sorted(
        p
        for p in folder.rglob("*")
        if p.suffix.lower() in AUDIO_ENDINGS and not p.name.startswith(".")
    )
    if not found:
        raise InputError(
            f"{folder}: no recordings in it (known endings: {' '.join(AUDIO_ENDINGS)})"
        )
    return found


def split_folders(folder: Path) -> list[str]:
    """The names of the train, test and like folders in a machine's folder; none means it is no such
    folder.
    """
    subs = [sub for sub in _SPLITS if (folder / sub).is_dir()]
    return [sub for sub in subs if sub != "test" or "test_rename" not in subs]


def _listing(root: Path, most: int = 8) -> str:
    names = sorted(item.name + ("/" if item.is_dir() else "") for item in root.iterdir())
    return (
        ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
        or "nothing"
    )
