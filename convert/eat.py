"""Converts public EAT checkpoints to our weight files, and our weights to the public layout; needs
neither fairseq nor torch.

  python -m convert.eat --source=worstchan/EAT-base_epoch30_pretrain \\
      --output=weights/eat_base.safetensors
  python -m convert.eat --source=EAT-base_epoch30_pt.pt \\
      --output=weights/eat_base.safetensors [--weights=ema]
  python -m convert.eat --source=runs/fan/weights.safetensors --to=huggingface --output=eat_fan

Nothing in a source file is ever executed. convert/README.md lists the public checkpoints.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from asd_jax.runtime import command
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import file_sha256
from asd_jax.runtime.log import print_line
from convert import table
from convert.checkpoint import is_ours, open_checkpoint
from convert.places import ENDINGS

# jax and flax take seconds to import, which a rejected file or --help should not have to wait for.
if TYPE_CHECKING:
    from asd_jax.models.eat import EATConfig

FLAGS = flags.FLAGS
# The eps of fc_norm is the only difference between the two public models.
CLASSIFIER_EPS = {
    "fairseq": 1e-6,
    "huggingface": 1e-5,
}


def convert(
    source: str | Path,
    *,
    weights: str = "student",
    with_decoder: bool = False,
    with_head: bool = False,
    revision: str = "main",
    heads: int | None = None,
) -> tuple["EATConfig", dict]:
    """Returns the sizes of any public EAT, and the parameters of `EAT(config)` as float32 numpy
    arrays.

    Args:
        source: A file, folder or hub id, see `convert.checkpoint.open_checkpoint`.
        weights: "student" (what the public code uses for inference) or "ema", the teacher.
        with_decoder: Whether to keep the student's decoder too, under "decoder".
        with_head: Whether to keep the AudioSet classifier too, under "fc_norm" and "head".
        revision: Branch, tag or commit on the hub.
        heads: Number of attention heads, where neither the file nor a config.json says it.

    Raises:
        InputError: The source does not exist, is not a checkpoint, is a hostile or damaged file, or
            has tensors that are not those of an EAT.

    Example:
        config, params = convert("worstchan/EAT-base_epoch30_pretrain")
        config.depth  # 12
    """
    found = find(
        source=source,
        weights=weights,
        with_decoder=with_decoder,
        with_head=with_head,
        revision=revision,
        heads=heads,
    )
    return found.config, found.nested(np.asarray)


def write(source: str | Path, output: str | Path, **options) -> "Found":
    """Converts a public EAT into a weight file of ours, tensor by tensor.

    Args:
        source: As for `convert`.
        output: The file to write.
        options: As for `convert`.

    Raises:
        InputError: For the same reasons as `convert`. Nothing is written then.
    """
    if Path(output).suffix != ".safetensors":
        raise InputError(
            f"{output}: weights are written as safetensors: name it {Path(output).stem}.safetensors"
        )
    found = find(source, **options)
    # jax and flax, which take seconds to import, are needed only for a source that was accepted.
    from asd_jax.training.weights import save_weights

    save_weights(output, found.nested(), found.header)
    return found


def write_huggingface(source: str | Path, output: str | Path, **options) -> "Found":
    """Writes `model.safetensors` and `config.json` in the public layout into the folder `output`.

    Args:
        source: A weight file of ours (the EAT part of a fine-tuned encoder is used), or any public
            EAT.
        output: The folder, created if needed.
        options: As for `convert`, for a public source.

    Raises:
        InputError: For the same reasons as `convert` and `asd_jax.training.weights.load_encoder`.
    """
    if Path(output).suffix in ENDINGS:
        raise InputError(f"{output}: with --to=huggingface the output is a folder")
    if options.get("with_decoder"):
        raise InputError("--with_decoder: the Hugging Face layout has no place for a decoder")
    # jax and flax, which take seconds to import, are needed only now.
    from convert import huggingface

    if is_ours(source):
        if options.get("weights", "student") != "student":
            raise InputError(f"{source}: weights of ours hold no EMA teacher")
        config, parameters, front_end, left, classifier = huggingface.read_ours(source)
        dropped = dict.fromkeys(left, "the Hugging Face layout has no place for it")
        header = {"front_end": front_end, "sha256": file_sha256(source), "classifier": classifier}
        found = Found(config, parameters, header, dropped, None)
    else:
        found = find(source, **options)
    huggingface.write_public(output, found.config, found.parameters, found.header["front_end"])
    return found


@dataclasses.dataclass(frozen=True)
class Found:
    """The EAT in a checkpoint.

    Attributes:
        config: Its sizes.
        parameters: Parameters by our names, still on disk.
        header: The header of our weight file.
        dropped: The reason for each tensor that is left out, by its public name.
        position_difference: Largest difference between the stored and the recomputed position
            table, if one is stored.
    """

    config: "EATConfig"
    parameters: Mapping[str, Any]
    header: Mapping[str, Any]
    dropped: Mapping[str, str]
    position_difference: float | None

    def nested(self, value: Callable[[Any], Any] = lambda parameter: parameter) -> dict:
        """Returns the values of the parameters as a tree, by our names."""
        tree: dict[str, Any] = {}
        for name, parameter in self.parameters.items():
            *parents, leaf = name.split("/")
            # Built by hand, because flax takes a second to import.
            branch = functools.reduce(lambda of, part: of.setdefault(part, {}), parents, tree)
            branch[leaf] = value(parameter)
        return tree


# The parts of which the EMA teacher has no copy of its own.
_OF_STUDENT = ("decoder.", "fc_norm.", "head.")


@dataclasses.dataclass(frozen=True, eq=False)
class Parameter:
    """A float32 parameter in our layout, read from disk on demand."""

    tensor: Any
    transform: Any
    shape: tuple[int, ...]
    place: str
    dtype = np.dtype(np.float32)

    def __array__(self, dtype=None, copy=None):
        # A float64 value beyond the range of float32 is rejected below.
        with np.errstate(over="ignore"):
            value = self.tensor.read().astype(np.float32)
        if not np.isfinite(value).all():
            raise InputError(f"{self.place} holds NaN or infinity")
        # A transposed array is a view, whereas a file holds its numbers in order.
        return np.ascontiguousarray(self.transform.to_ours(value))


def find(
    source: str | Path,
    weights: str = "student",
    with_decoder: bool = False,
    with_head: bool = False,
    revision: str = "main",
    heads: int | None = None,
) -> Found:
    """Returns everything about a source except the numbers, after checking all of it.

    Arguments and errors are those of `convert`.
    """
    if weights not in ("student", "ema"):
        raise InputError(f"weights={weights!r}; known: student, ema")
    checkpoint = open_checkpoint(source, revision)
    # It imports jax and flax, for which a source that cannot be opened need not wait.
    from convert import sizes

    path = checkpoint.path
    tensors = dict(checkpoint.tensors)
    if weights == "ema":
        tensors = _of_teacher(checkpoint)
    config, front_end = sizes.sizes(checkpoint, tensors, heads)
    wanted = table.rows(table.ENCODER, config.depth)
    template = sizes.encoder_template(config)
    if with_decoder:
        layers = _decoder_layers(tensors)
        wanted += table.rows(table.DECODER, layers)
        template |= sizes.decoder_template(path, tensors, layers)
    if with_head:
        wanted += table.rows(table.HEAD, 1)
        template |= sizes.head_template(path, tensors)
    dropped = table.check(path, wanted, template, tensors)
    # Checked before any number is read.
    _check_size(checkpoint, [tensors[row.public] for row in wanted])
    header = {
        "kind": "eat",
        "eat": dataclasses.asdict(config),
        "front_end": dataclasses.asdict(front_end),
        "source": checkpoint.name,
        "sha256": checkpoint.sha256,
        "weights": weights,
    }
    if with_head:
        header["classifier"] = {
            "classes": template["head/bias"][0],
            "eps": CLASSIFIER_EPS[checkpoint.layout],
        }
    parameters = {}
    for row in wanted:
        place = f"{path}: {row.public}"
        shape = template[row.ours]
        parameters[row.ours] = Parameter(tensors[row.public], row.transform, shape, place)
    dropped |= _of_other_model(checkpoint, weights)
    difference = sizes.position_difference(path, tensors, config)
    return Found(config, parameters, header, dropped, difference)


def _decoder_layers(tensors: Mapping[str, Any]) -> int:
    name = re.compile(r"decoder\.blocks\.\d+\.0\.weight")
    return sum(name.fullmatch(one) is not None for one in tensors)


def _of_teacher(checkpoint) -> dict:
    """Returns the tensors of the EMA teacher, with the decoder and the classifier of the student.

    The teacher has none of its own.
    """
    if not checkpoint.teacher:
        raise InputError(
            f"{checkpoint.path}: holds no EMA teacher (`_ema`); only fairseq's pre-training "
            "checkpoints do"
        )
    kept = {name: t for name, t in checkpoint.tensors.items() if name.startswith(_OF_STUDENT)}
    return kept | dict(checkpoint.teacher)


def _of_other_model(checkpoint, weights: str) -> dict[str, str]:
    """Returns {tensor: remark} of the model, student or teacher, that is not converted."""
    if weights == "ema":
        return {
            f"student: {name}": "--weights=student takes it"
            for name in checkpoint.tensors
            if not name.startswith(_OF_STUDENT)
        }
    return {f"_ema: {name}": "the teacher; --weights=ema takes it" for name in checkpoint.teacher}


def _check_size(checkpoint, tensors) -> None:
    """Refuses tensors that share their numbers, which make the output larger than the source."""
    size = sum(math.prod(tensor.shape) * tensor.dtype.itemsize for tensor in tensors)
    if size > checkpoint.size:
        raise InputError(
            f"{checkpoint.path}: tensors of {size} bytes in a file of {checkpoint.size}: they "
            "share their numbers, which no model of ours does; refused"
        )


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_string(
        "source", None, "Checkpoint file, folder or hub id (owner/name).", required=True
    )
    flags.DEFINE_string(
        "output", None, "File to write; a folder with --to=huggingface.", required=True
    )
    flags.DEFINE_enum("to", "asd_jax", ["asd_jax", "huggingface"], "Layout to write.")
    flags.DEFINE_enum("weights", "student", ["student", "ema"], "The student, or its EMA teacher.")
    flags.DEFINE_bool("with_decoder", False, "Keep the decoder that pre-training needs.")
    flags.DEFINE_bool("with_head", False, "Keep the AudioSet classifier.")
    flags.DEFINE_string(
        "revision", "main", "Branch, tag or commit on the hub; the header records the commit."
    )
    flags.DEFINE_integer("heads", None, "Attention heads, where the source does not say it.")


def main() -> None:
    """Converts --source and reports what was kept."""
    options = {
        name: FLAGS[name].value
        for name in ("weights", "with_decoder", "with_head", "revision", "heads")
    }
    try:
        # A full disk or a folder without permission is no fault of the program.
        found = (write_huggingface if FLAGS.to == "huggingface" else write)(
            FLAGS.source, FLAGS.output, **options
        )
    except OSError as error:
        raise InputError(f"cannot write {FLAGS.output}: {error}") from error
    count = sum(math.prod(parameter.shape) for parameter in found.parameters.values())
    print_line(f"{FLAGS.output}: {count:,} parameters, {found.config}")
    print_line(f"sha256 of the source: {found.header['sha256']}")
    for reason in sorted(set(found.dropped.values())):
        names = [name for name, why in found.dropped.items() if why == reason]
        print_line(f"left behind ({reason}): {len(names)} tensors, {names[0]} ...")
    eps = (found.header.get("classifier") or {}).get("eps")
    if FLAGS.to == "huggingface" and eps not in (None, CLASSIFIER_EPS["huggingface"]):
        print_line(
            f"the head's norm was trained with an epsilon of {eps:g}, the Hugging Face model has "
            f"{CLASSIFIER_EPS['huggingface']:g}: the same weights, slightly other logits"
        )
    if found.position_difference is not None:
        print_line(
            "the stored position table differs from the recomputed one by at most "
            f"{found.position_difference:.2g}"
        )


if __name__ == "__main__":
    command.run(main, define_flags)
