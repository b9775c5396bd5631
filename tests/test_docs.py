"""The documentation: it builds without a warning, asks nobody for anything, and its code runs."""

import functools
import html.parser
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import ClassVar

import pytest

REPOSITORY = Path(__file__).parent.parent
DOCS = REPOSITORY / "docs"
CODE = re.compile(r"^```(python|bash)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUNNABLE = [page for page in sorted(DOCS.rglob("*.md")) if CODE.search(page.read_text())]
QUICK = ("filter_bank", "official_score")  # pages whose code takes less than a second
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(REPOSITORY),
    "PATH": PATH,
    "NO_MKDOCS_2_WARNING": "1",  # about the future of mkdocs, not about these pages
}


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
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    return {page: Addresses(page.read_text()) for page in built.rglob("*.html")}


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(site):
    assert len(site) >= 10
    for page, of in site.items():
        outside = [address for address in of.loaded if re.match(r"(https?:)?//", address)]
        assert not outside, (page.name, outside)
    pages = {page.name: page.read_text() for page in site}
    drawn = [name for name, text in pages.items() if '<figure class="picture"' in text]
    assert len(drawn) == len(re.findall("<!-- picture", _all_markdown())) == 7
    assert "scoring.back_end" in pages["config.html"] and "pAUC" in pages["glossary.html"]
    for name in ("Detector", "load_pipeline", "SoundEncoder", "SoundAnomalyDetector"):
        assert f"{name}</span>" in pages["python.html"]


def _all_markdown():
    return "".join(page.read_text() for page in DOCS.rglob("*.md"))


@pytest.mark.slow
def test_every_page_can_be_reached_from_the_first(site):
    """The navigation takes in pages that it was not told of."""
    first = next(page for page in site if page.name == "index.html")
    reached = {(first.parent / link.partition("#")[0]).resolve() for link in site[first].links}
    assert {page for page in site if page.name != "404.html"} <= reached


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


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.stem, marks=() if page.stem in QUICK else pytest.mark.slow)
        for page in RUNNABLE
    ],
)
def test_the_code_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))  # as for a script that lies there
    (tmp_path / "configs").symlink_to(REPOSITORY / "configs")
    names: dict = {}
    for language, code in CODE.findall(page.read_text()):
        if language == "python":
            exec(compile(code, page.name, "exec"), names)
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
    assert len(repr(maps[0])) < 2e6 and "HeatMap(highest" in shown[-1]["text/plain"]


def test_no_page_shows_a_path_of_the_machine_that_it_was_written_on():
    for page in DOCS.rglob("*.md"):
        assert not re.search(r"(^|[\s(`=])/(home|work|tmp|root)/", page.read_text()), page


class OwnOnly(http.server.SimpleHTTPRequestHandler):
    """Serves the site under a policy by which a browser refuses, and reports, all but the site."""

    asked: ClassVar[list[str]] = []

    def end_headers(self):
        policy = "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'"
        self.send_header("Content-Security-Policy", policy)
        super().end_headers()

    def log_message(self, format, *values):
        self.asked.append(self.path)


def shown(address, profile):
    """What Chromium makes of a page: the document that its scripts leave, and the console."""
    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))))
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    # What the browser asks for by itself goes nowhere; the site is not asked through a proxy.
    flags += ["--virtual-time-budget=20000", "--proxy-server=127.0.0.1:9", "--dump-dom"]
    command = [browser, *flags, f"--user-data-dir={profile}", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def folder_of(site):
    return next(page.parent for page in site if page.name == "index.html")


@pytest.mark.browser
def test_a_browser_shows_the_site_without_asking_for_anything_else(site, tmp_path):
    own = functools.partial(OwnOnly, directory=folder_of(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), own) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/concepts/simam.html"
        page, console = shown(address, tmp_path)
        server.shutdown()
    # The scripts ran, the one for searching too.
    assert "<html" in page and "no-js" not in page[:200]
    assert "/search/search_index.json" in OwnOnly.asked
    assert not console


@pytest.mark.browser
def test_a_page_that_is_opened_from_the_disk_can_be_searched(site, tmp_path):
    address = (folder_of(site) / "concepts" / "simam.html").as_uri()
    page, console = shown(f"{address}?q=pAUC", tmp_path)
    found = re.findall(r'<a href="([^"]*)" class="md-search-result__link"', page)
    assert any(link.endswith("concepts/official_score.html") for link in found)
    assert not console
