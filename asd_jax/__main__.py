"""Lists the commands of the package: python -m asd_jax."""

import ast
from pathlib import Path

import asd_jax
from asd_jax.runtime.command import docstring
from asd_jax.runtime.log import output_failed, print_line

COMMANDS = (
    "train",
    "evaluate",
    "detect",
    "serve",
    "pretrain",
    "export",
    "dcase_score",
    "data.download",
    "data.inspect",
    "config",
)


def main() -> None:
    """Prints the package's docstring and the first line of each command's docstring.

    The commands' files are parsed, not imported, so that the list appears at once.
    """
    print_line(docstring(asd_jax))
    for name in COMMANDS:
        text = Path(__file__).parent.joinpath(*name.split(".")).with_suffix(".py").read_text()
        print_line(
            f"python -m asd_jax.{name:<13} "
            f"{(ast.get_docstring(ast.parse(text)) or '').partition(chr(10))[0]}"
        )
    print_line(
        "\nEach takes --help. Figures: python -m benchmarks.*; EAT checkpoints in and out: python "
        "-m convert.eat"
    )


if __name__ == "__main__":
    main()
    if output_failed():
        raise SystemExit(1)
