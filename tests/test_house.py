"""The order of the house: every module has a file of tests that is found by its name."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
# Rooms whose tests are not yet sorted by module; they stand in files by what the room does.
UNSORTED_ROOMS = {}
# Modules without tests of their own.
WITHOUT_TESTS = {
    "asd_jax/former": "earlier names alone; test_public_names.py imports each",
}


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
    room = module.parts[1] if len(module.parts) > 2 else ""
    return room in UNSORTED_ROOMS or any(str(module).startswith(of) for of in WITHOUT_TESTS)


def test_every_module_has_a_file_of_tests_of_its_name():
    missing = [
        f"{module}: {file_of_tests(module)}"
        for module in modules()
        if not excepted(module) and not (ROOT / file_of_tests(module)).is_file()
    ]
    assert not missing, "\n".join(missing)


def test_no_exception_is_without_need():
    every = [*modules()]
    for room in UNSORTED_ROOMS:
        own = [module for module in every if module.parts[1] == room]
        assert any(not (ROOT / file_of_tests(module)).is_file() for module in own), room
    assert all((ROOT / path).exists() for path in WITHOUT_TESTS)
