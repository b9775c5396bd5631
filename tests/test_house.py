"""The order of the house: every module has a file of tests that is found by its name."""

import dataclasses
import importlib
import inspect
import pkgutil
from pathlib import Path

from flax import linen

import asd_jax

ROOT = Path(__file__).parent.parent
# Modules without tests of their own.
WITHOUT_TESTS = {
    "asd_jax/former": "earlier names alone; test_public_names.py imports each",
}
# Dataclasses that are the state of one owner.
STATE = {"Alarm", "Listing", "SectionScorer"}


def modules():
    for package in ("asd_jax", "convert"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.name != "__init__.py":
                yield path.relative_to(ROOT)


def file_of_tests(module):
    """Returns where the tests of a module stand: those of asd_jax mirror it without its name."""
    folder = module.parent
    inside = folder.relative_to("asd_jax") if folder.parts[0] == "asd_jax" else folder
    return Path("tests") / inside / f"test_{module.name}"


def excepted(module):
    return any(str(module).startswith(of) for of in WITHOUT_TESTS)


def test_every_module_has_a_file_of_tests_of_its_name():
    missing = [
        f"{module}: {file_of_tests(module)}"
        for module in modules()
        if not excepted(module) and not (ROOT / file_of_tests(module)).is_file()
    ]
    assert not missing, "\n".join(missing)


def test_no_exception_is_without_need():
    assert all((ROOT / path).exists() for path in WITHOUT_TESTS)


def test_what_one_part_of_the_program_hands_to_another_cannot_be_changed_by_either():
    """A program is compiled for settings, too, and a bank keeps the statistics of its vectors."""
    changeable = set()
    for found in pkgutil.walk_packages(asd_jax.__path__, "asd_jax."):
        if found.name == "asd_jax.__main__":
            continue
        for one in vars(importlib.import_module(found.name)).values():
            own = inspect.isclass(one) and one.__module__ == found.name
            # flax itself freezes its modules.
            if own and dataclasses.is_dataclass(one) and not issubclass(one, linen.Module):
                if not one.__dataclass_params__.frozen:
                    changeable.add(one.__name__)
    assert changeable == STATE
