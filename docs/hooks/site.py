"""What mkdocs does beyond Markdown: the navigation, generated tables, and pictures drawn by code.

A page may hold the comments `<!-- picture: NAME -->`, `<!-- config: run -->`, `<!-- config:
pretrain -->` and `<!-- words -->`, each of which is replaced by what it names.
"""

import html
import itertools
import re
import sys
from pathlib import Path

DOCS = Path(__file__).parents[1]
REPOSITORY = DOCS.parent

# Pages that are read in an order of their own. A page that is not named here follows the others of
# its folder, and a page beside index.md is a guide.
ORDER = {
    "": ["index.md"],
    "Concepts": [
        f"concepts/{name}.md"
        for name in (
            "pipeline",
            "filter_bank",
            "simam",
            "encoder",
            "back_end",
            "domain_normalization",
            "threshold",
            "official_score",
        )
    ],
    "Tutorials": [
        f"tutorials/{name}.md" for name in ("your_machine", "challenge_entry", "porting")
    ],
    "Guides": [],
    "Reference": [
        *("reference/python.md", "reference/config.md", "model_card.md", "conformance.md"),
        "glossary.md",
    ],
}
CARD = "model_card.md"
PICTURES = ("pipeline_light.svg", "pipeline_dark.svg")


def on_config(config):
    """Returns the configuration with every page in the navigation."""
    # Not when this file is loaded: mkdocs restores the path after that.
    sys.path += [str(REPOSITORY), str(Path(__file__).parent)]
    pages = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
    named = set(itertools.chain(*ORDER.values()))
    nav: list = []
    for section, first in ORDER.items():
        folder = "." if section == "Guides" else section.lower()
        others = [page for page in pages if str(Path(page).parent) == folder]
        found = [*first, *(page for page in others if page not in named)]
        nav += [{section: found}] if section else found
    config["nav"] = nav
    return config


def on_files(files, config):
    """Returns the site's files with those that lie elsewhere in the repository."""
    from mkdocs.structure.files import File

    text = (REPOSITORY / "asd_jax" / "box" / "README.md").read_text()
    # The front matter is for the hub, where it says what can be searched for.
    text = re.sub(r"\A---\n.*?\n---\n", "---\ntitle: Model card\n---\n", text, flags=re.DOTALL)
    files.append(File.generated(config, CARD, content=text))
    for name in PICTURES:
        picture = REPOSITORY / "benchmarks" / "pictures" / name
        files.append(File.generated(config, f"pictures/{name}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Returns the page's text with its pictures and generated tables."""
    return re.sub(r"<!-- (picture|config|words)(?:: (\w+))? -->", _generated, markdown)


def _generated(match: re.Match) -> str:
    kind, name = match.groups()
    return {"picture": _picture, "config": _config, "words": _words}[kind](name)


def _picture(name: str) -> str:
    import pictures

    svg, caption = pictures.PICTURES[name]()
    caption = html.escape(caption)
    figure = f'<figure class="picture" role="img" aria-label="{caption}">{svg}'
    # Markdown would take an indented or empty line inside for its own.
    return re.sub(r"\s*\n\s*", " ", f"{figure}<figcaption>{caption}</figcaption></figure>")


def _words(name: None) -> str:
    from asd_jax.reporting.summary import WORDS

    rows = "".join(f"| {word} | {meaning} |\n" for word, meaning in WORDS.items())
    return f"| word | meaning |\n|---|---|\n{rows}"


def _config(name: str) -> str:
    """Returns one heading and table for each section of a config."""
    from asd_jax.config import PretrainConfig, RunConfig, described

    keys = described(PretrainConfig() if name == "pretrain" else RunConfig())
    parts = []
    for section, rows in itertools.groupby(keys, lambda row: row[0].rpartition(".")[0]):
        heading = f"### {section or 'the run'} {{ #{name}-{section or 'run'} }}\n"
        lines = [f"| `{key}` | `{default}` | {_cell(text)} |" for key, default, text in rows]
        parts.append("\n".join([heading, "| key | default | meaning |", "|---|---|---|", *lines]))
    return "\n\n".join(parts)


def _cell(text: str) -> str:
    return html.escape(text, quote=False).replace("|", "&#124;")
