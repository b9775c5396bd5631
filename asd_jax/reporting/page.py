"""Renders one self-contained HTML page of plots, sortable tables, sounds and clips.

The page needs no network and no other file.

    section = Section("Scores", [Table(["clip", "score"], rows), Plot(svg, "...")])
    write_page("report/index.html", Page("fan", [section]))
"""

import base64
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path

import jinja2
import numpy as np
import soundfile
from jaxtyping import Float
from markupsafe import Markup

from asd_jax.runtime.files import atomic_file
from asd_jax.runtime.printable import printable

# The sounds are inside the page, and most of its size.
SOUND_SECONDS = 10.0  # length of a clip's sound in the page


@dataclasses.dataclass(frozen=True)
class Plot:
    """An inline SVG (see svg.py) with a caption that also serves screen readers."""

    svg: str
    caption: str


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of text, sortable by any column (numbers as numbers); the first column names the row."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    folded: bool = False  # whether the table is collapsed until it is opened
    prose: bool = False  # whether the cells are sentences, which wrap


@dataclasses.dataclass(frozen=True)
class Sound:
    """A player: its title, and the sound as a data URL (see `sound_url`)."""

    title: str
    url: str


@dataclasses.dataclass(frozen=True)
class ClipCard:
    """A clip to look at and listen to: facts about it, plots and players."""

    title: str
    facts: Sequence[str]
    plots: Sequence[Plot] = ()
    sounds: Sequence[Sound] = ()


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading, paragraphs of plain text, links to files, and the parts below them.

    A section that is `part_of_previous` has a smaller heading and is not in the page's contents.
    """

    title: str
    parts: Sequence[Plot | Table | ClipCard] = ()
    text: Sequence[str] = ()
    links: Sequence[tuple[str, str]] = ()
    part_of_previous: bool = False


@dataclasses.dataclass(frozen=True)
class Page:
    """A title, short sentences below it (`lead`), and sections.

    `links` are (text, relative address) of other pages.
    """

    title: str
    sections: Sequence[Section]
    lead: Sequence[str] = ()
    links: Sequence[tuple[str, str]] = ()


def render(page: Page) -> str:
    """Returns the page as HTML, with all text escaped; the same page gives the same text."""
    environment = template_environment("asd_jax.reporting")
    # Templates cannot import the classes, so they ask for them by name.
    kinds = {kind.__name__: kind for kind in (Plot, Table, ClipCard)}
    environment.tests["of_kind"] = lambda part, name: isinstance(part, kinds[name])
    return environment.get_template("page.html").render(page=page)


def template_environment(package: str) -> jinja2.Environment:
    """Returns the environment of the templates beside a package's modules, which escapes text."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader(package, "."),
        autoescape=True,
        trim_blocks=True,
        # A mistyped name in a template is an error, not an empty text.
        undefined=jinja2.StrictUndefined,
        # Names may contain control characters, which are escaped.
        finalize=lambda part: part if isinstance(part, Markup) else printable(str(part)),
    )


def write_page(path: str | Path, page: Page) -> None:
    """Writes the page atomically."""
    text = render(page)
    with atomic_file(path) as file:
        file.write(text.encode())


def sound_url(wave: Float[np.ndarray, "s"], sample_rate: int) -> str:
    """Returns a data URL with the first seconds of a waveform "s" in [-1, 1] as mp3.

    Every browser plays mp3. The loudest sample is scaled to 0.9, so that quiet machines are
    audible.
    """
    wave = np.asarray(wave[: round(SOUND_SECONDS * sample_rate)], np.float32)
    # The floor keeps silence silent.
    wave = 0.9 * wave / max(np.abs(wave).max(), 1e-6)
    file = io.BytesIO()
    soundfile.write(file, wave, sample_rate, format="MP3")
    return "data:audio/mpeg;base64," + base64.b64encode(file.getvalue()).decode()
