"""Finds what is installed beside the package: the config files, by name, and the other commands.

The folder that holds asd_jax also holds `configs`, `convert` and `benchmarks`, in the repository as
well as in site-packages. They are found there, whatever packages of these names the working
directory or sys.path holds.
"""

import ast
import importlib.util
import sys
from pathlib import Path

from asd_jax.runtime.errors import InputError, did_you_mean

HERE = Path(__file__).parents[2]
CONFIGS = HERE / "configs"
# Commands that are not modules directly in asd_jax, by the word that starts them.
_ELSEWHERE = {
    "download": "asd_jax.data.download",
    "inspect": "asd_jax.data.inspect",
    "convert": "convert.eat",
    "parity": "benchmarks.parity",
}
_IS_COMMAND = '\nif __name__ == "__main__":'


def commands() -> dict[str, str]:
    """Returns {sub-command of asd-jax: its module}, found by their files."""
    own = sorted((HERE / "asd_jax").glob("*.py"))
    found = {path.stem: f"asd_jax.{path.stem}" for path in own if path.stem != "__main__"}
    found |= {word: name for word, name in _ELSEWHERE.items() if file_of(name).is_file()}
    return {word: name for word, name in found.items() if is_command(name)}


def is_command(module: str) -> bool:
    """Returns whether `python -m module` is a command of this project."""
    path = file_of(module)
    return path.is_file() and _IS_COMMAND in path.read_text(encoding="utf-8")


def file_of(module: str) -> Path:
    """Returns the path that a module of this project has."""
    return HERE.joinpath(*module.split(".")).with_suffix(".py")


def first_line(module: str) -> str:
    """Returns the first sentence of a command's docstring, which is parsed and not imported."""
    text = ast.get_docstring(ast.parse(file_of(module).read_text(encoding="utf-8"))) or ""
    return " ".join(text.partition("\n\n")[0].split()).partition(". ")[0].rstrip(".")


def use_own(package: str) -> None:
    """Imports a package from beside asd_jax, so that another one of its name is not taken."""
    folder = HERE / package
    # It may be the right one already, imported by another command of this process.
    known = sys.modules.get(package)
    if known is not None and str(folder) in map(str, getattr(known, "__path__", ())):
        return
    spec = importlib.util.spec_from_file_location(
        package, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None or not folder.is_dir():
        raise InputError(f"{folder}: not there; install asd_jax again")
    module = importlib.util.module_from_spec(spec)
    sys.modules[package] = module
    spec.loader.exec_module(module)


def config_names() -> list[str]:
    """Returns the names of the config files that come with the project."""
    return sorted(path.stem for path in CONFIGS.glob("[a-z]*.py"))


def config_file(config: str) -> str:
    """Returns the value of --config with the path of the file that it names.

        config_file("toycar:smoke")  # "/.../configs/toycar.py:smoke"

    A file that exists takes precedence over a name. `configs/NAME.py` is found from any folder.

    Raises:
        InputError: there is no such file, and no config of that name.
    """
    name, colon, mode = config.partition(":")
    path = Path(name)
    if path.is_file():
        return config
    known = config_names()
    by_name = path in (Path(path.stem), Path("configs", f"{path.stem}.py"))
    if by_name and path.stem in known:
        return f"{CONFIGS / path.stem}.py{colon}{mode}"
    hint = did_you_mean(path.stem, known)
    raise InputError(
        f"{name}: no such config file; those of the project are in {CONFIGS}/ and have the names "
        f"{', '.join(known)}.{hint}"
    )
