"""What mkdocs does beyond Markdown: the navigation, generated tables, and pictures drawn by code.

A page may hold the comments `<!-- picture: NAME -->`, `<!-- config: run -->`, `<!-- config:
pretrain -->` and `<!-- words -->`, each of which is replaced by what it names.
"""

import html
import re
import sys
from pathlib import Path

DOCS = Path(__file__).parents[1]

# Section -> pages in the order in which they are read. Pages that are not there are left out;
# pages that are not named here follow under "More".
PAGES = {
    "": ["index.md", "concepts.md"],
    "Tutorials": [
        "tutorials/your_machine.md",
        "challenge_entry.md",
        "porting.md",
        "tutorials/ablation.md",
        "tutorials/new_encoder.md",
        "tutorials/other_libraries.md",
    ],
    "Guides": [
        "thresholds.md",
        "monitoring.md",
        "service.md",
        "command_line.md",
        "distillation.md",
        "methods.md",
        "recipes2025.md",
    ],
    "Reference": ["reference/python.md", "reference/config.md", "model_card.md", "glossary.md"],
}
OTHERS = "More"
CARD = "model_card.md"


def on_config(config):
    """Returns the configuration with the navigation of the pages that exist."""
    # Not when this file is loaded: mkdocs restores the path after that.
    sys.path += [str(DOCS.parent), str(Path(__file__).parent)]
    there = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
    named = {page for pages in PAGES.values() for page in pages}
    nav = []
    there.append(CARD)
    for section, pages in {**PAGES, OTHERS: [p for p in there if p not in named]}.items():
        found = [page for page in pages if page in there]
        if found:
            nav += [{section: found}] if section else found
    config["nav"] = nav
    return config


def on_files(files, config):
    """Returns the site's files with the card of the box, which lies beside its weights."""
    from mkdocs.structure.files import File

    text = (DOCS.parent / "asd_jax" / "box" / "README.md").read_text()
    # The front matter is for the hub, where it says what can be searched for.
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    files.append(File.generated(config, CARD, content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Returns the page's text with its pictures and generated tables."""
    return re.sub(r"<!-- (picture|config|words)(?:: (\w+))? -->", _made, markdown)


def _made(match: re.Match) -> str:
    kind, name = match.groups()
    if kind == "picture":
        import pictures

        svg, caption = pictures.PICTURES[name]()
        caption = html.escape(caption)
        figure = f'<figure class="picture" role="img" aria-label="{caption}">{svg}'
        # Markdown would take an indented or empty line inside for its own.
        return re.sub(r"\s*\n\s*", " ", f"{figure}<figcaption>{caption}</figcaption></figure>")
    if kind == "words":
        from asd_jax.reporting.summary import WORDS

        rows = "".join(f"| {word} | {meaning} |\n" for word, meaning in WORDS.items())
        return f"| word | meaning |\n|---|---|\n{rows}"
    from asd_jax.config import PretrainConfig, RunConfig, described

    rows = (
        f"| `{key}` | `{default}` | {_cell(meaning)} |\n"
        for key, default, meaning in described(
            PretrainConfig() if name == "pretrain" else RunConfig()
        )
    )
    return f"| key | default | meaning |\n|---|---|---|\n{''.join(rows)}"


def _cell(text: str) -> str:
    return html.escape(text, quote=False).replace("|", "&#124;")
