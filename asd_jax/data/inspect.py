"""Reports the content of a folder of recordings for each machine: clips, domains, attributes,
lengths, rates and problems.

    python -m asd_jax.data.inspect --root=DIR [--json=FILE]

The command reads the header of every file, and decodes compressed files to find their length. With
--decode it reads every sample, which also finds NaNs.
"""

import collections
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from absl import flags
from rich.table import Table

from asd_jax.data.audio import audio_format, read_clip
from asd_jax.data.clips import Clip, machine_clips, machine_folders, training_classes
from asd_jax.data.folders import left_out_lines
from asd_jax.data.ground_truth import find_ground_truth
from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import check_output, write_json
from asd_jax.runtime.log import print_line

# The number of problems that are printed. The JSON file lists all.
SHOWN = 20
COLUMNS = (
    "sections",
    "train source",
    "train target",
    "train unknown",
    "test normal",
    "test anomaly",
    "test unknown",
    "supplemental",
    "attributes",
    "seconds",
    "kHz",
    "channels",
    "problems",
)


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_string("root", None, "Folder of recordings, a DCASE tree or your own.")
    flags.DEFINE_string(
        "json", None, "File for the same and more: attributes with their counts, every problem."
    )
    flags.DEFINE_bool("decode", False, "Read every sample, not headers alone.")


def main() -> None:
    """Prints the table and the problems, and writes the JSON file."""
    asked = flags.FLAGS
    if not asked.root:
        raise InputError("--root is needed, e.g. --root=data/dcase2024")
    if asked.json:
        check_output(asked.json)
    found = inspect(asked.root, decode=asked.decode)
    if asked.json:
        write_json(Path(asked.json), found)
    show(found)


def inspect(root: str | Path, *, decode: bool = False) -> dict:
    """Returns the content of a folder as a JSON-compatible dictionary.

    Args:
        root: As for `find_clips`, except that bad names, bad files and machines without training
            clips are listed instead of raised.
        decode: Whether to read every sample instead of only the headers.

    Raises:
        InputError: The folder does not exist, or contains no machine.
    """
    left_out: list[str] = []
    folders = machine_folders(root, left_out)
    names = find_ground_truth(root)
    machines = {}
    everything = []
    for machine, places in folders.items():
        problems = []
        # Bad names and omitted files are both problems of the machine.
        clips = machine_clips(places, machine, names, problems, problems)
        machines[machine] = describe_machine(clips, problems, decode=decode)
        everything += clips
    return {
        "root": str(root),
        "clips": len(everything),
        "training_classes": len(training_classes(everything)),
        "left_out": left_out,
        "machines": machines,
    }


def describe_machine(
    clips: Sequence[Clip], problems: Sequence[str] = (), *, decode: bool = False
) -> dict:
    """Returns counts of one machine's clips by split, domain and label, with their attributes,
    lengths, formats and problems.
    """

    def look(clip: Clip) -> tuple[float, int, int] | str:
        try:
            if decode:
                read_clip(clip.path)
            return audio_format(clip.path)
        except InputError as error:
            return str(error)

    # Threads: reading waits for the disk, and decoding releases the interpreter lock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        looks = list(pool.map(look, clips))
    formats = [look for look in looks if not isinstance(look, str)]
    seconds, rates, channels = zip(*formats, strict=True) if formats else ((), (), ())
    problems = [*problems, *(look for look in looks if isinstance(look, str))]
    train = [clip for clip in clips if clip.split == "train"]
    if not train:
        problems.append("no training clips")
    if len(set(rates)) > 1:
        problems.append(
            f"several sampling rates: {', '.join(f'{rate} Hz' for rate in sorted(set(rates)))}"
        )
    if len(set(channels)) > 1:
        problems.append(
            f"several numbers of channels: {', '.join(map(str, sorted(set(channels))))}"
        )
    return {
        "sections": sorted({clip.section for clip in clips}),
        "train": _counts(clip.domain for clip in train),
        "test": _counts(
            f"{clip.domain} {_LABEL[clip.label]}" for clip in clips if clip.split == "test"
        ),
        "supplemental": sum(clip.split == "supplemental" for clip in clips),
        "attributes": _counts(clip.attribute for clip in train if clip.attribute),
        "seconds": {"least": min(seconds), "most": max(seconds), "total": sum(seconds)}
        if seconds
        else {},
        "sampling_rates": _counts(rates),
        "channels": _counts(channels),
        "problems": problems,
    }


_LABEL = {0: "normal", 1: "anomaly", -1: "unknown"}


def _counts(values) -> dict[str, int]:
    return {str(value): count for value, count in sorted(collections.Counter(values).items())}


def _cells(facts: dict) -> dict[str, str]:
    """Returns {heading: text} of one machine, with a heading for each of COLUMNS."""
    train = [facts["train"].get(domain, 0) for domain in ("source", "target", "unknown")]
    test = [
        sum(n for key, n in facts["test"].items() if key.endswith(label))
        for label in _LABEL.values()
    ]
    least, most = (facts["seconds"].get(key, 0.0) for key in ("least", "most"))
    texts = (
        " ".join(facts["sections"]),
        *map(str, train),
        *map(str, test),
        str(facts["supplemental"]),
        str(len(facts["attributes"])),
        f"{least:.1f}" if round(least, 1) == round(most, 1) else f"{least:.1f} to {most:.1f}",
        " ".join(f"{int(rate) / 1000:g}" for rate in facts["sampling_rates"]),
        " ".join(facts["channels"]),
        str(len(facts["problems"])),
    )
    return dict(zip(COLUMNS, texts, strict=True))


def show(found: dict) -> None:
    """Prints the table, followed by the problems."""
    # Only the command draws tables: data/ is a layer below reporting/.
    from asd_jax.reporting.table import print_table

    title = (
        f"{found['root']}: {found['clips']} clips, {found['training_classes']} classes for training"
    )
    rows = {machine: _cells(facts) for machine, facts in found["machines"].items()}
    table = Table(title=title, header_style="bold")
    # In a narrow terminal the headings are folded, and the names stay whole.
    table.add_column("machine", no_wrap=True)
    # Columns that say nothing of any machine would only take room.
    columns = [name for name in COLUMNS if any(row[name] not in ("", "0") for row in rows.values())]
    for column in columns:
        justify = "left" if column == "sections" else "right"
        table.add_column(column, justify=justify, overflow="fold")
    for machine, row in rows.items():
        table.add_row(machine, *(row[column] for column in columns))
    print_table(table)
    problems = [
        (machine, problem)
        for machine, facts in found["machines"].items()
        for problem in facts["problems"]
    ]
    for machine, problem in problems[:SHOWN]:
        print_line(f"{machine}: {problem}")
    if len(problems) > SHOWN:
        print_line(f"and {len(problems) - SHOWN} more problems (--json=FILE lists all)")
    for line in left_out_lines(found["left_out"]):
        print_line(line)


if __name__ == "__main__":
    run(main, define_flags)
