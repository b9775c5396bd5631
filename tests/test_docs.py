"""The documentation: it builds without a warning, asks nobody for anything, and its code runs."""

import html.parser
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
DOCS = REPOSITORY / "docs"
TUTORIALS = sorted((DOCS / "tutorials").glob("*.md"))
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
ENVIRONMENT = os.environ | {"PYTHONPATH": str(REPOSITORY), "PATH": PATH}


class Addresses(html.parser.HTMLParser):
    """What a page loads, and where its links lead."""

    def __init__(self, text):
        super().__init__()
        self.loaded, self.links, self.anchors = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        of = dict(attributes)
        self.anchors.add(of.get("id"))
        if tag == "a":
            self.links.append(of.get("href") or "")
        elif tag == "link" and of.get("rel") in ("canonical", "prev", "next"):
            self.links.append(of["href"])
        else:
            self.loaded += [of[name] for name in ("src", "href") if of.get(name)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    built = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(built)]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return {page: Addresses(page.read_text()) for page in built.rglob("*.html")}


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(site):
    assert len(site) >= 10
    for page, of in site.items():
        outside = [address for address in of.loaded if re.match(r"(https?:)?//", address)]
        assert not outside, (page.name, outside)
    pages = {page.name: page.read_text() for page in site}
    assert pages["concepts.html"].count('<figure class="picture"') == 5
    assert "scoring.back_end" in pages["config.html"] and "pAUC" in pages["glossary.html"]
    assert all(
        name in pages["python.html"] for name in ("Detector", "load_pipeline", "SoundEncoder")
    )


@pytest.mark.slow
def test_every_link_of_the_site_leads_somewhere(site):
    for page, of in site.items():
        if page.name == "404.html":  # served from any folder
            continue
        for link in of.links:
            address, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:|//", link) or link in ("", "#", "."):
                continue
            to = (page.parent / address).resolve() if address else page
            to = to / "index.html" if to.is_dir() else to
            assert to.is_file(), (page.name, link)
            if anchor and to in site:
                assert anchor in site[to].anchors, (page.name, link)


@pytest.mark.slow
@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_the_code_of_a_tutorial_runs_from_top_to_bottom(tutorial, tmp_path, monkeypatch):
    blocks = re.findall(r"^```(python|bash)\n(.*?)^```$", tutorial.read_text(), re.M | re.S)
    assert blocks
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(REPOSITORY / "configs")
    names: dict = {}
    for language, code in blocks:
        if language == "python":
            exec(compile(code, tutorial.name, "exec"), names)
            continue
        command = ["bash", "-euo", "pipefail", "-c", code]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom_and_shows_its_map(tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    notebook = nbformat.read(DOCS / "notebook" / "one_machine.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": tmp_path}}).execute()
    shown = [
        out.data for cell in notebook.cells for out in cell.get("outputs", []) if "data" in out
    ]
    maps = [data["text/html"] for data in shown if "text/html" in data]
    assert len(maps) == 1 and "<svg" in maps[0] and "oddness" in maps[0]
    assert len(repr(maps[0])) < 2e6 and "HeatMap(oddest" in shown[-1]["text/plain"]


def test_no_page_shows_a_path_of_the_machine_that_it_was_written_on():
    for page in DOCS.rglob("*.md"):
        assert not re.search(r"(^|[\s(`=])/(home|work|tmp|root)/", page.read_text()), page
