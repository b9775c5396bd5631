"""Names the AudioSet classes of a recording, by the classifier of a fine-tuned checkpoint.

  python -m convert.eat --source=worstchan/EAT-base_epoch30_finetune_AS2M --with_head \\
      --output=weights/eat_as2m.safetensors
  python -m convert.classifier --weights=weights/eat_as2m.safetensors --recording=a.wav

Prints number and probability of the most probable classes, with their names where --labels gives
AudioSet's class_labels_indices.csv. In Python: convert/audioset.py.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from asd_jax.runtime import command
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.log import print_result

FLAGS = flags.FLAGS


def class_names(path: str | Path) -> list[str]:
    """Returns the names in AudioSet's list of classes, in its order.

    Raises:
        InputError: The file has no column display_name.
    """
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or "display_name" not in rows[0]:
        raise InputError(f"{path}: no column display_name; expected AudioSet's list of classes")
    return [row["display_name"] for row in rows]


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_string("weights", None, "File of convert.eat --with_head.", required=True)
    flags.DEFINE_string("recording", None, "The recording.", required=True)
    flags.DEFINE_string("labels", None, "AudioSet's class_labels_indices.csv.")
    flags.DEFINE_integer("top", 5, "Classes to print.", lower_bound=1)


def main() -> None:
    """Prints the most probable classes."""
    names = class_names(FLAGS.labels) if FLAGS.labels else []
    # jax and flax take seconds to import, which --help should not have to wait for.
    from convert.audioset import probabilities

    found = probabilities(FLAGS.weights, FLAGS.recording)
    for number in (-found).argsort(kind="stable")[: FLAGS.top]:
        name = names[number] if number < len(names) else ""
        print_result(f"{number:4}  {found[number]:.4f}  {name}".rstrip())


if __name__ == "__main__":
    command.run(main, define_flags)
