"""Records by which command, from which commit and when something was made."""

import datetime
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

_REPOSITORY = Path(__file__).parents[2]


def made_by() -> dict[str, str]:
    """Returns the command, the commit and the date of this process.

    The commit is "unknown" outside a clone.
    """
    date = datetime.date.today().isoformat()
    return {"command": _command(sys.argv), "commit": _commit(), "date": date}


def without_folders(argument: str) -> str:
    """Returns a command-line argument in which files outside the working folder are reduced to
    their names.

    The location of such files is private to the user.
    """
    flag, equals, value = (
        argument.partition("=") if argument.startswith("-") else ("", "", argument)
    )
    # A flag may hold several paths with commas.
    files = re.split(r",(?=[/~]|\.\.)", value)
    return (
        flag
        + equals
        + ",".join(Path(one).name if one.startswith(("/", "~", "..")) else one for one in files)
    )


def _command(argv: list[str]) -> str:
    """Returns the command line as it can be typed again: python -m asd_jax.train --config=..."""
    program = Path(argv[0]).resolve()
    words = list(map(without_folders, argv[1:]))
    if program.suffix == ".py" and program.is_relative_to(_REPOSITORY):
        module = ".".join(program.relative_to(_REPOSITORY).with_suffix("").parts)
        return shlex.join(["python", "-m", module.removesuffix(".__main__"), *words])
    return shlex.join([program.name, *words])


def _commit() -> str:
    if not (_REPOSITORY / ".git").exists() or not shutil.which("git"):
        return "unknown"
    describe = ["git", "-C", str(_REPOSITORY), "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(describe, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
