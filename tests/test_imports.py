"""The layers of the house, read from the import statements."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "asd_jax"
COMMANDS = {
    "train",
    "evaluate",
    "pretrain",
    "detect",
    "export",
    "dcase_score",
    "serve",
    "compare",
    "completion",
    "submit",
    "__main__",
    "data.download",
    "data.inspect",
}
# The floors of the house. A room imports only rooms below its own floor, so there is no circle.
LAYERS = [
    {"runtime"},
    {"features", "monitoring"},
    {"models", "data"},
    {"training", "scoring"},
    {"config", "reporting"},
    {"detector"},
    {"run", "service", "sklearn", "pyod"},
    {"former", *COMMANDS},
]


def may_read(name):
    return name in COMMANDS or name in ("runtime.command", "config")


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        tree = ast.parse(path.read_text())
        imports = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                imports |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imports |= {f"{node.module}.{alias.name}" for alias in node.names}
        yield name, imports


def test_imports_point_one_way():
    level = {room: n for n, layer in enumerate(LAYERS) for room in layer}
    wrong = []
    for name, imports in modules():
        room = name.split(".")[0]
        if name in COMMANDS or name == "__init__":
            continue
        assert room in level, f"{name}: a room that LAYERS does not know"
        for imported in imports:
            parts = imported.split(".")
            if parts[0] == "asd_jax" and len(parts) > 1:
                allowed = parts[1] == room or level.get(parts[1], 99) < level[room]
                wrong += [] if allowed else [f"{name} imports {imported}"]
    assert not wrong


def test_scoring_and_data_see_no_model_library():
    wrong = [
        f"{name} imports {imported}"
        for name, imports in modules()
        for imported in imports
        if name.split(".")[0] in ("features", "scoring", "data")
        and imported.split(".")[0] in ("flax", "optax", "orbax")
    ]
    assert not wrong


def test_flags_and_config_dict_stop_at_the_commands():
    wrong = [
        f"{name} imports {imported}"
        for name, imports in modules()
        for imported in imports
        if imported.split(".")[0] in ("absl", "ml_collections") and not may_read(name)
    ]
    assert not wrong


def test_orbax_and_safetensors_have_one_place_each():
    places = {"orbax": "training.checkpoint", "safetensors": "training.tensors"}
    wrong = [
        f"{name} imports {imported}"
        for name, imports in modules()
        for imported in imports
        if places.get(imported.split(".")[0], name) != name
    ]
    assert not wrong
