"""Names the AudioSet classes of a recording, by the classifier of a fine-tuned checkpoint.

  python -m convert.eat --source=worstchan/EAT-base_epoch30_finetune_AS2M --with_head \\
      --output=weights/eat_as2m.safetensors
  python -m convert.classifier --weights=weights/eat_as2m.safetensors --recording=a.wav

Prints number and probability of the most probable classes, with their names where --labels gives
AudioSet's class_labels_indices.csv. In Python: `load_classifier` and `audioset_logits`.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from asd_jax.runtime import command
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.log import print_result

# jax and flax take seconds to import, which --help should not have to wait for.
if TYPE_CHECKING:
    from jaxtyping import Array, Float

FLAGS = flags.FLAGS


def load_classifier(path: str | Path) -> tuple[dict, float]:
    """Returns the parameters "fc_norm" and "head" of a weight file, and the eps of the norm.

    The eps is 1e-6 for fairseq and 1e-5 for Hugging Face.

    Raises:
        InputError: For the same reasons as `read_weights`, or because the file has no classifier.
    """
    from flax.traverse_util import unflatten_dict

    from asd_jax.training.weights import read_weights

    tensors, header = read_weights(path)
    if "classifier" not in header:
        raise InputError(
            f"{path}: holds no classifier; convert a fine-tuned checkpoint with --with_head"
        )
    kept = {name: t for name, t in tensors.items() if name.startswith(("fc_norm/", "head/"))}
    return unflatten_dict(kept, sep="/"), header["classifier"]["eps"]


def audioset_logits(
    params: dict, tokens: "Float[Array, 'b n d']", eps: float
) -> "Float[Array, 'b c']":
    """Returns the logits "b c" of the AudioSet classes, computed from the CLS token of EAT's
    tokens.

    A sigmoid turns them into probabilities.
    """
    import flax.linen as nn

    cls = nn.LayerNorm(eps).apply({"params": params["fc_norm"]}, tokens[:, 0])
    logits: Any = nn.Dense(params["head"]["bias"].size).apply({"params": params["head"]}, cls)
    return logits


def probabilities(weights: str | Path, recording: str | Path) -> Any:
    """Returns the probability of each class for a recording, "c".

    Raises:
        InputError: As for `load_classifier`, or the recording cannot be read.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    from asd_jax.data.audio import read_clip
    from asd_jax.features.front_end import FrontEnd, SimAM
    from asd_jax.models.eat import EAT
    from asd_jax.training.weights import front_end_of, load_encoder

    head, eps = load_classifier(weights)
    sizes, params = load_encoder(weights)
    front_end = front_end_of(weights) or FrontEnd("mel", bins=sizes.mel_bins, simam=SimAM("none"))
    spectrogram = front_end.spectrogram(jnp.asarray(read_clip(recording))[None])
    tokens = EAT(sizes).apply({"params": params}, spectrogram)[0]
    return np.asarray(jax.nn.sigmoid(audioset_logits(head, tokens, eps)[0]))


def class_names(path: str | Path) -> list[str]:
    """Returns the names in AudioSet's list of classes, in its order.

    Raises:
        InputError: The file has no column display_name.
    """
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or "display_name" not in rows[0]:
        raise InputError(f"{path}: no column display_name; wanted AudioSet's list of classes")
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
    found = probabilities(FLAGS.weights, FLAGS.recording)
    for number in (-found).argsort(kind="stable")[: FLAGS.top]:
        name = names[number] if number < len(names) else ""
        print_result(f"{number:4}  {found[number]:.4f}  {name}".rstrip())


if __name__ == "__main__":
    command.run(main, define_flags)
