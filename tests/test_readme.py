"""What the documents tell a user to type, and what in them is generated."""

import importlib
import json
import re
import shlex
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import yaml

import asd_jax
import benchmarks.readme

REPOSITORY = Path(__file__).parent.parent
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "convert/README.md",
    "benchmarks/README.md",
    "asd_jax/box/README.md",
)
DOCUMENTS += tuple(
    str(page.relative_to(REPOSITORY)) for page in sorted((REPOSITORY / "docs").rglob("*.md"))
)
PICTURES = REPOSITORY / "benchmarks" / "pictures"
CONFIG = re.compile(r"--config\.([a-z_]+(?:\.[a-z_]+)*)(?!\w|\.\w|<)")  # < begins <Tab>


def commands():
    """Every `python -m ...` of the documents, as the words after it."""
    for document in DOCUMENTS:
        text = (REPOSITORY / document).read_text().replace("\\\n", " ")
        text = text.replace("benchmarks.NAME", "")  # stands for all of them
        for line in re.findall(r"python3? -m ((?:asd_jax|convert|benchmarks)[^`\n#|;]*)", text):
            yield shlex.split(line.split(" && ")[0])


def test_every_command_names_a_module_and_flags_that_exist(command):
    of_module: dict[str, set[str]] = {}
    subcommands: dict[str, set[tuple[str, ...]]] = {}
    for module, *words in commands():
        if module == "asd_jax.detect":
            depth = 2 if words[:1] == ["alarms"] else 1
            subcommands.setdefault(module, set()).add(tuple(words[:depth]))
        wanted = {word.partition("=")[0].lstrip("-") for word in words if word.startswith("--")}
        of_module.setdefault(module, set()).update(
            word for word in wanted if not word.startswith("config.")
        )
    assert {"asd_jax.train", "asd_jax.detect", "convert.eat", "benchmarks.filter_banks"} <= set(
        of_module
    )
    for module, wanted in of_module.items():
        said = ""
        for names in subcommands.get(module, {()}):
            status, out, err = command(importlib.import_module(module), *names, "--help")
            assert status == 0, (module, err)
            said += out
        known = {
            no + name
            for negated, name in re.findall(r"--(\[no\])?([a-z_]+)", said)
            for no in {"", negated[1:3]}
        }
        assert wanted <= known, f"{module}: {wanted - known}"


def test_every_config_key_named_is_one():
    from configs import base, pretrain_base

    known = keys_of(base.get_config().to_dict()) | keys_of(pretrain_base.get_config().to_dict())
    for document in DOCUMENTS:
        for key in CONFIG.findall((REPOSITORY / document).read_text()):
            assert key in known, f"{document}: --config.{key}"


def keys_of(config: dict, before: str = "") -> set[str]:
    """Every key of a config with its sections, and the sections themselves."""
    found = set()
    for name, value in config.items():
        found.add(before + name)
        if isinstance(value, dict):
            found |= keys_of(value, f"{before}{name}.")
    return found


def test_every_file_named_is_there():
    for document in (*DOCUMENTS, "NOTICE"):
        text = (REPOSITORY / document).read_text()
        named = re.findall(
            r"\b(?:asd_jax|benchmarks|configs|convert|tests)/[\w/]+\.(?:py|md|svg|html)\b", text
        )
        # A command writes those; a word in capitals stands for any name.
        kept = [name for name in named if not re.search(r"[A-Z]{4,}\b|/results/", name)]
        missing = [name for name in kept if not (REPOSITORY / name).is_file()]
        assert not missing, document


def test_the_citation_names_this_version_and_its_people():
    """The fields that the Citation File Format 1.2.0 demands."""
    cited = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    for work in (cited, *cited["references"]):
        assert work["title"] and work["type"] in ("software", "article")
        assert all("name" in author or "family-names" in author for author in work["authors"])
    assert cited["version"] == asd_jax.__version__


def test_the_picture_and_the_table_of_a_run_are_made_by_one_command(command, tmp_path):
    values = {"auc_source": 0.75, "auc_target": 0.5, "pauc": 0.512345, "f1_source": 0.9}
    found = {"official_score": 0.664, "year": 2024, "machines": {"fan": {"00": values}}, "seed": 0}
    found |= {"filter_bank_baseline": {"official_score": 0.6}, "versions": {"jax": "0.10.2"}}
    (tmp_path / "results.json").write_text(json.dumps(found))
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- results -->\nold\n<!-- end of results -->\nafter\n")
    flags = [f"--readme={readme}", f"--output={tmp_path}"]
    status, _, err = command(benchmarks.readme, f"--run={tmp_path}", *flags)
    assert status == 0, err
    text = readme.read_text()
    assert "| fan | 75.00 | 50.00 | 51.23 |" in text and "**66.40 %**" in text and "60.00 %" in text
    assert text.startswith("before") and text.endswith("after\n") and "old" not in text
    for theme, ink in benchmarks.readme.INK.items():
        drawn, kept = (
            (folder / f"pipeline_{theme}.svg").read_text() for folder in (tmp_path, PICTURES)
        )
        words, words_kept = (
            "".join(ElementTree.fromstring(svg).itertext()).split() for svg in (drawn, kept)
        )
        assert ink in drawn and words == words_kept
        assert all(word in words for name, _ in benchmarks.readme.STAGES for word in name.split())
    status, _, err = command(benchmarks.readme, f"--run={tmp_path / 'none'}", *flags)
    assert status == 2 and "no results.json" in err
    del found["seed"]  # as of several
    (tmp_path / "results.json").write_text(json.dumps(found))
    status, _, err = command(benchmarks.readme, f"--run={tmp_path}", *flags)
    assert status == 2 and "a quick start of one seed" in err
