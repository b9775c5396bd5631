"""Finds recordings in a DCASE Task 2 folder or a folder of the user's own, and describes each by a
record.
"""

import dataclasses
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from asd_jax.data.clip_names import parse_name
from asd_jax.data.clips_csv import add_table
from asd_jax.data.folders import AUDIO_ENDINGS, Listing, left_out_lines, list_recursively, listing
from asd_jax.data.ground_truth import GroundTruth, find_ground_truth
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.log import print_error
from asd_jax.runtime.names import check_name

_SPLITS = {
    "train": "train",
    "test": "test",
    "source_test": "test",  # the edition of 2021
    "target_test": "test",
    # The baseline's copies of the evaluation clips, which have labels in their names.
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
    """One recording and the information in its name.

    Attributes:
        path: Path of the file.
        machine: Machine type, the name of the folder above train/ and test/.
        section: Two digits, as in the name (the machine ID in 2020).
        split: "train", "test", "held_out" (training clips set aside on request) or "supplemental"
            (2025: clean machine sound or noise alone).
        domain: "source", "target" or "unknown" (evaluation clips as released). The edition of 2020
            has one domain, "source".
        label: 0 normal, 1 anomaly, -1 unknown.
        attribute: The attribute string in the name, or "" if concealed or absent.
    """

    path: str
    machine: str
    section: str
    split: str
    domain: str
    label: int
    attribute: str


def parse_clip(path: str | Path, machine: str, split: str, *, labelled: str | None = None) -> Clip:
    """Returns the record of a recording, by the name grammars of 2020 to 2026.

    A name that does not begin like a DCASE name is the user's own: section 00, source domain, and
    normal if the clip is in train/.

    Args:
        path: The file.
        machine: Its machine type.
        split: The split of its folder: "train", "test" or "supplemental".
        labelled: The labelled name that the ground truth gives it.

    Raises:
        InputError: The name begins like a DCASE name but does not follow the grammar, or
            contradicts its folder.

    Example:
        name = "section_00_source_train_normal_0000_noAttribute.wav"
        parse_clip(f"fan/train/{name}", "fan", "train").domain  # "source"
    """
    path = str(path)
    name = labelled or os.path.basename(path)
    # Training clips are normal by definition, others unknown until something says so.
    unsaid = 0 if split == "train" else -1
    parsed = parse_name(name, supplemental=split == "supplemental")
    if parsed is None and name.startswith("section_"):
        raise InputError(
            f"{path}: not a DCASE file name; expected "
            "section_<SS>_<source|target>_<train|test>_<normal|anomaly>_<NNNN>_<attributes>.wav, "
            "or section_<SS>_<NNNN>.wav for unlabelled test clips"
        )
    if parsed is None:
        return Clip(
            path=path,
            machine=machine,
            section="00",
            split=split,
            domain="source",
            label=unsaid,
            attribute="",
        )
    # A test clip among the training clips would be learnt as normal sound.
    if parsed.split not in (None, split):
        raise InputError(
            f"{path}: a {parsed.split} clip in the {split} folder; move it to where it belongs"
        )
    # Sections become parts of the names of output files.
    check_name("section", parsed.section, at=path)
    label = unsaid if parsed.label is None else parsed.label
    if split == "train" and label == 1:
        raise InputError(f"{path}: an anomaly in the train folder, which is for normal sound only")
    return Clip(
        path=path,
        machine=machine,
        section=parsed.section,
        split=split,
        domain=parsed.domain,
        label=label,
        attribute=parsed.attribute,
    )


def find_clips(
    root: str | Path,
    machines: Sequence[str] = (),
    *,
    splits: Sequence[str] = ("train", "test"),
    ground_truth: str | Path | None = None,
    report: Callable[[str], None] | None = None,
) -> list[Clip]:
    """Returns every clip under `root`, ordered by machine, split and name.

    Args:
        root: A folder with `<machine>/{train,test}` in it, directly or below dev_data/, eval_data/,
            raw/ or the top folder of the zip; or the folder of one machine.
        machines: The machine types wanted; empty means all.
        splits: The splits wanted; add "supplemental" for the extra clips of 2025.
        ground_truth: A list, or a folder of lists, that labels evaluation clips as released. None
            uses the lists in root or root/ground_truth.
        report: Receives a line on each item that might be a recording but is left out.

    Raises:
        InputError: The folder does not exist or contains no clips, a wanted machine is missing or
            has no training clips, a name is bad, or a name occurs twice in one split of a machine.

    Example:
        clips = find_clips("data/dcase2024", machines=["fan"])
        train = [clip for clip in clips if clip.split == "train"]
    """
    root = Path(root)
    left_out: list[str] = []
    found = machine_folders(root, left_out)
    if missing := sorted(set(machines) - set(found)):
        raise InputError(
            f"{root}: no machine {', '.join(missing)} here; found: {', '.join(found)}\n"
            f"{EXPECTED_TREE}"
        )
    names = find_ground_truth(root, ground_truth)
    clips = []
    for machine in sorted(set(machines) or found):
        of_machine = machine_clips(found[machine], machine, names, left_out=left_out)
        if not any(clip.split == "train" for clip in of_machine):
            raise InputError(
                f"{root}: machine {machine} has no training clips in its train folder; "
                f"{EXPECTED_TREE}"
            )
        clips += sorted(of_machine, key=lambda clip: (clip.split, os.path.basename(clip.path)))
    for line in left_out_lines(left_out) if report else ():
        report(line)
    return [clip for clip in clips if clip.split in splits]


def training_classes(clips: Iterable[Clip], *, with_domain: bool = False) -> list[tuple[str, ...]]:
    """Returns the sorted classes (machine, section, attribute[, domain]) that ArcFace separates."""
    return sorted(
        {clip_class(clip, with_domain=with_domain) for clip in clips if clip.split == "train"}
    )


def clip_class(clip: Clip, *, with_domain: bool = False) -> tuple[str, ...]:
    """Returns the class of one clip; clips without attributes share one class of their machine."""
    return (clip.machine, clip.section, clip.attribute) + ((clip.domain,) if with_domain else ())


def machine_folders(root: str | Path, left_out: list[str] | None = None) -> dict[str, list[Path]]:
    """Returns the folders of each machine under `root`, at most four levels down (top folder of the
    zip, dev_data, raw, machine).

    Args:
        root: The folder to search.
        left_out: Receives a line on each folder that cannot be listed; None raises the first error.

    Raises:
        InputError: The folder does not exist, or contains no machine.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; {EXPECTED_TREE}")
    if split_folders(root):
        # Resolved, as a root of "." has no name.
        return {root.resolve().name: [root]}
    # Breadth first, one level at a time; the folder of a machine is not searched further.
    level = [root]
    folders = []
    for _ in range(4):
        below = [sub for folder in level for sub in _listed(folder, left_out).folders]
        level = [folder for folder in below if not split_folders(folder)]
        folders += [folder for folder in below if split_folders(folder)]
    if not folders:
        raise InputError(f"{root}: no recordings here; {EXPECTED_TREE}\nfound: {_contents(root)}")
    return {
        name: sorted(f for f in folders if f.name == name)
        for name in sorted({f.name for f in folders})
    }


def _listed(folder: Path, left_out: list[str] | None) -> Listing:
    try:
        return listing(folder)
    except InputError as error:
        if left_out is None:
            raise
        left_out.append(str(error))
        return Listing()


def machine_clips(
    folders: Sequence[Path],
    machine: str,
    names: GroundTruth,
    bad: list[str] | None = None,
    left_out: list[str] | None = None,
) -> list[Clip]:
    """Returns the clips of one machine.

    Args:
        folders: Folders with train/, test/ and the like, and optionally clips.csv. There are
            several if one holds the development sections and another the evaluation sections.
        machine: The machine type.
        names: Labelled names by (machine, released name).
        bad: Receives the messages on bad names; None raises the first.
        left_out: Receives a line on each item that might be a recording but is left out.

    Raises:
        InputError: A name is bad, a folder cannot be listed, a name occurs twice in a split, or
            clips.csv does not match the clips.
    """
    try:
        check_name("machine", machine, at=str(folders[0].parent))
    except InputError as error:
        if bad is None:
            raise
        bad.append(str(error))
    left_out = [] if left_out is None else left_out
    clips = [
        clip for folder in folders for clip in _clips_of(folder, machine, names, bad, left_out)
    ]
    # Scores are listed by file name, so a name must be unique within a split.
    seen: dict[tuple[str, str], str] = {}
    for clip in clips:
        first = seen.setdefault((clip.split, os.path.basename(clip.path)), clip.path)
        if first != clip.path:
            message = (
                f"{clip.path} and {first}: two {clip.split} clips of one name, by which scores "
                "are told apart; rename one, or give the folder of one edition as root"
            )
            if bad is None:
                raise InputError(message)
            bad.append(message)
    return clips


def _clips_of(folder, machine, names, bad, left_out) -> list[Clip]:
    clips = {}
    for sub in split_folders(folder):
        found = listing(folder / sub)
        left_out += found.left_out
        # Recordings in deeper folders are reported, because users may expect them to be found.
        for below in found.folders:
            if files := list_recursively(below).files:
                left_out.append(f"{below}: {len(files)} recordings, which must lie in {sub} itself")
        for path in found.files:
            try:
                labelled = names.get((machine, path.name))
                split = _SPLITS[sub.lower()]
                clips[f"{sub}/{path.name}"] = parse_clip(path, machine, split, labelled=labelled)
            except InputError as error:
                if bad is None:
                    raise
                bad.append(str(error))
    return list(add_table(folder / "clips.csv", clips).values())


def sound_files(
    folder: str | Path, report: Callable[[str], None] | None = print_error
) -> list[Path]:
    """Returns every recording in a folder and its subfolders, ordered by name.

    Args:
        folder: The folder to search.
        report: Receives a line on each item that might be a recording but is left out.

    Raises:
        InputError: The folder does not exist, or contains no recordings.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of recordings")
    found = list_recursively(folder)
    lines = left_out_lines(found.left_out)
    if not found.files:
        details = "; ".join([f"(known endings: {' '.join(AUDIO_ENDINGS)})", *lines])
        raise InputError(f"{folder}: no recordings in it {details}")
    for line in lines if report else ():
        report(line)
    return found.files


def split_folders(folder: Path) -> list[str]:
    """Returns the names of the train, test and similar folders in a machine's folder, in any case
    of letters.

    An empty list means that the folder is not one of a machine, or cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            there = sorted(entry.name for entry in entries if entry.name.lower() in _SPLITS)
    except OSError:
        return []
    subs = [sub for sub in there if (folder / sub).is_dir()]
    # The renamed copies replace the clips in the test folder, so that none is counted twice.
    renamed = any(sub.lower() == "test_rename" for sub in subs)
    subs = [sub for sub in subs if not (renamed and sub.lower() == "test")]
    # In the order of _SPLITS, so that training clips come first.
    return sorted(subs, key=lambda sub: list(_SPLITS).index(sub.lower()))


def _contents(root: Path, most: int = 8) -> str:
    names = sorted(item.name + ("/" if item.is_dir() else "") for item in root.iterdir())
    return (
        ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
        or "nothing"
    )


def by_machine(clips: Iterable[Clip]) -> dict[str, list[Clip]]:
    """Returns {machine: its clips}, the machines in alphabetical order."""
    found: dict[str, list[Clip]] = {}
    for clip in clips:
        found.setdefault(clip.machine, []).append(clip)
    return dict(sorted(found.items()))
