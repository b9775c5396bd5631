"""Writes the parts of the model card of the box that can be read from its weights.

    python -m benchmarks.model_card      # asd_jax/box/README.md, its front matter and its facts

The front matter is Hugging Face's (licence, tags, library), so that the folder can be published as
it is. Everything else in the card is written by hand.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags

from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import atomic_file, file_sha256
from asd_jax.training.weights import BOX_FILE, read_weights
from benchmarks.cost_model import write_between

CARD = BOX_FILE.with_name("README.md")
FRONT = {
    "license": "apache-2.0",
    "library_name": "asd_jax",
    "pipeline_tag": "feature-extraction",
    "tags": ["audio", "anomalous-sound-detection", "machine-condition-monitoring", "jax", "eat"],
}


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_string("weights", str(BOX_FILE), "weight file that the card describes")
    flags.DEFINE_string("card", str(CARD), "card to write into, with the lines <!-- facts -->")


def main() -> None:
    """Writes front matter and facts into the card."""
    card = Path(flags.FLAGS.card)
    write_between(card, "facts", facts(Path(flags.FLAGS.weights)))
    text = re.sub(r"\A---\n.*?\n---\n+", "", card.read_text(), flags=re.DOTALL)
    with atomic_file(card) as file:
        file.write(f"{front_matter()}\n{text}".encode())


def front_matter() -> str:
    """Returns the YAML that Hugging Face's hub reads, between lines of three dashes."""
    lines = []
    for key, value in FRONT.items():
        if isinstance(value, list):
            lines += [f"{key}:", *(f"- {one}" for one in value)]
        else:
            lines.append(f"{key}: {value}")
    return "\n".join(["---", *lines, "---", ""])


def facts(path: Path) -> str:
    """Returns a Markdown table of what a weight file says and holds.

    Raises:
        InputError: the file is no encoder of this package.
    """
    tensors, header = read_weights(path)
    eat = header.get("eat")
    front = header.get("front_end")
    if not eat or not front:
        raise InputError(f"{path}: its header names no EAT and front end")
    numbers = [tensor.size for name, tensor in tensors.items() if not name.startswith("decoder/")]
    kinds = sorted({str(np.asarray(tensor).dtype) for tensor in tensors.values()})
    rows = {
        "encoder": f"EAT, {eat['depth']} blocks, {eat['embed_dim']} wide, {eat['num_heads']} heads",
        "parameters": f"{sum(numbers):,}",
        "input": f"{front['sample_rate'] / 1000:g} kHz, {front['bins']} filters, "
        f"{front['spacing']}, {front['low_hz']:g} to {front['high_hz']:g} Hz",
        "stored as": ", ".join(kinds),
        "file": f"{path.name}, {path.stat().st_size / 1e6:.1f} MB",
        "SHA-256": f"`{file_sha256(path)}`",
    }
    return "\n".join(
        ["| | |", "|---|---|", *(f"| {what} | {value} |" for what, value in rows.items())]
    )


if __name__ == "__main__":
    run(main, define_flags)
