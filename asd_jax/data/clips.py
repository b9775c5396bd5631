"""Clip records: what a DCASE Task 2 folder, or a folder of one's own, says about each recording."""

import dataclasses
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from asd_jax.data.clip_names import said_by_name
from asd_jax.data.clips_csv import describe
from asd_jax.data.folders import AUDIO_ENDINGS, Listing, everything_below, in_words, listing
from asd_jax.data.ground_truth import GroundTruth, find_ground_truth
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.log import tell as tell_user
from asd_jax.runtime.names import check_name

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
    said = said_by_name(name, supplemental=split == "supplemental")
    if said is None and name.startswith("section_"):
        raise InputError(
            f"{path}: not a DCASE file name; expected "
            "section_<SS>_<source|target>_<train|test>_<normal|anomaly>_<NNNN>_<attributes>.wav, "
            "or section_<SS>_<NNNN>.wav for unlabelled test clips"
        )
    if said is None:
        return Clip(path, machine, "00", split, "source", unsaid, "")
    if said.split not in (None, split):
        raise InputError(
            f"{path}: a {said.split} clip in the {split} folder; move it to where it belongs"
        )
    check_name("section", said.section, at=path)
    label = unsaid if said.label is None else said.label
    if split == "train" and label == 1:
        raise InputError(f"{path}: an anomaly in the train folder, which is for normal sound only")
    return Clip(path, machine, said.section, split, said.domain, label, said.attribute)


def find_clips(
    root: str | Path,
    machines: Sequence[str] = (),
    *,
    splits: Sequence[str] = ("train", "test"),
    ground_truth: str | Path | None = None,
    tell: Callable[[str], None] | None = None,
) -> list[Clip]:
    """Every clip under `root`, ordered by machine, split and name.

    Args:
        root: a folder with `<machine>/{train,test}` in it, directly or below dev_data/, eval_data/,
            raw/ or the top folder of the zip; or itself a machine's folder.
        machines: the machine types wanted; empty means all.
        splits: the splits wanted; add "supplemental" for the extra clips of 2025.
        ground_truth: a list, or a folder of lists, that labels evaluation clips as released; None
            takes what lies in root or root/ground_truth.
        tell: gets a line on each thing that might be a recording and is left out.

    Raises:
        InputError: no such folder, no clips in it, a wanted machine missing or without training
            clips, a bad name, one name twice in a machine's split.
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
    for line in in_words(left_out) if tell else ():
        tell(line)
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


def machine_folders(root: str | Path, left_out: list[str] | None = None) -> dict[str, list[Path]]:
    """Machine -> its folders under `root`, at most four levels down (zip top, dev_data, raw,
    machine).

    Args:
        root: where to look.
        left_out: gets a line on each folder that cannot be listed; None raises the first.

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
    """The clips of one machine.

    Args:
        folders: each with train/, test/ and the like in it, and maybe clips.csv; several where one
            holds the sections of development, another those of evaluation.
        machine: its machine type.
        names: labelled names by (machine, released name).
        bad: gets the messages of bad names; None raises the first.
        left_out: gets a line on each thing that might be a recording and is left out.

    Raises:
        InputError: a bad name, a folder that cannot be listed, one name twice in a split, or a
            clips.csv that does not fit.
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
    seen: dict[tuple[str, str], str] = {}
    for clip in clips:
        first = seen.setdefault((clip.split, os.path.basename(clip.path)), clip.path)
        if first != clip.path:
            said = (
                f"{clip.path} and {first}: two {clip.split} clips of one name, by which scores "
                "are told apart; "
            )
            said += "rename one, or give the folder of one edition as root"
            if bad is None:
                raise InputError(said)
            bad.append(said)
    return clips


def _clips_of(folder, machine, names, bad, left_out) -> list[Clip]:
    clips = {}
    for sub in split_folders(folder):
        found = listing(folder / sub)
        left_out += found.left_out
        for below in found.folders:
            if files := everything_below(below).files:
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
    return list(describe(folder / "clips.csv", clips).values())


def sound_files(folder: str | Path, tell: Callable[[str], None] | None = tell_user) -> list[Path]:
    """Every recording in a folder and those below it, in order of name.

    Args:
        folder: where to look.
        tell: gets a line on each thing that might be a recording and is left out.

    Raises:
        InputError: no such folder, or none in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of recordings")
    found = everything_below(folder)
    lines = in_words(found.left_out)
    if not found.files:
        said = "; ".join([f"(known endings: {' '.join(AUDIO_ENDINGS)})", *lines])
        raise InputError(f"{folder}: no recordings in it {said}")
    for line in lines if tell else ():
        tell(line)
    return found.files


def split_folders(folder: Path) -> list[str]:
    """The names of the train, test and like folders in a machine's folder, in capitals or not; none
    means it is no such folder, or cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            there = sorted(entry.name for entry in entries if entry.name.lower() in _SPLITS)
    except OSError:
        return []
    subs = [sub for sub in there if (folder / sub).is_dir()]
    renamed = any(sub.lower() == "test_rename" for sub in subs)
    subs = [sub for sub in subs if not (renamed and sub.lower() == "test")]
    return sorted(subs, key=lambda sub: list(_SPLITS).index(sub.lower()))


def _contents(root: Path, most: int = 8) -> str:
    names = sorted(item.name + ("/" if item.is_dir() else "") for item in root.iterdir())
    return (
        ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
        or "nothing"
    )
