"""report/index.html of a run, read as text and opened in headless Chromium (marker browser)."""

import json
import re
import shutil
import socketserver
import subprocess
import threading

import numpy as np
import pytest

import asd_jax.evaluate
from asd_jax.data.factory import write_factory
from asd_jax.run.report import score_file_links
from asd_jax.run.workdir import Run
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.scoring.score_files import ScoredClip
from asd_jax.scoring.submission import write_submission

CONFIG = [
    "--config=configs/quickstart.py:smoke",
    "--config.model.encoder=filter_bank",
    "--config.features.simam=local",
]


@pytest.fixture(scope="module")
def factory(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "factory"
    write_factory(
        root,
        clip_seconds=1.0,
        machines=("fan",),
        train_source=6,
        train_target=2,
        test_per_condition=3,
    )
    return root


def evaluated(command, workdir, *flags):
    status, _, err = command(asd_jax.evaluate, f"--workdir={workdir}", *flags)
    assert status == 0, err
    return (workdir / "report" / "index.html").read_text()


@pytest.mark.parametrize(
    ("year", "ends"),
    [
        (2020, ["id_00"]),
        (2021, ["section_00_source_test", "section_00_target_test"]),
        (2024, ["section_00_test"]),
    ],
)
def test_a_section_links_to_its_score_files_of_every_edition(tmp_path, year, ends):
    run = Run(tmp_path)
    clips = [
        ScoredClip(machine, section, f"{domain}.wav", domain, 0, 1.0, 0)
        for machine in ("a fan", "fan")
        for section in ("00", "01")
        for domain in ("source", "target")
    ]
    write_submission(run.scores, clips, year=year)
    kinds = ("anomaly_score", "decision_result")
    names = [f"{kind}_a fan_{end}.csv" for kind in kinds for end in ends]
    wanted = [(name, f"../scores/{name.replace(' ', '%20')}") for name in names]
    assert score_file_links(run, "a fan", "00") == wanted
    assert score_file_links(run, "pump", "00") == []


def test_a_run_leaves_a_page_with_all_its_parts(command, factory, tmp_path):
    flags = [*CONFIG, f"--config.data.root={factory}", "--config.data.machines=fan"]
    html = evaluated(command, tmp_path, *flags)
    score = 100 * json.loads((tmp_path / "results.json").read_text())["official_score"]
    for said in (
        f"Official score 2024: {score:.2f} %",
        "fan 00: highest scores",
        "fan 00: most wrong",
        "Filter bank",
        f"Official score 2024: {score:.2f} %, 95 % interval",
        "percentage points, 95 % interval",
        'href="../scores/anomaly_score_fan_section_00_test.csv"',
        'href="../results.json"',
        "What the words mean",
        "embedding seconds",
    ):
        assert said in html
    # a clip and its nearest normal, twice
    assert html.count("<audio") == html.count("data:audio/mpeg") == 4
    assert html.count("filter bank, SimAM weights") == 2 * 4  # caption and label
    assert html.count("SimAM weights, where it is odd") == 2 * 2  # not of the nearest normal
    assert str(factory) not in html
    (tmp_path / "report" / "index.html").unlink()
    assert evaluated(command, tmp_path) == html  # scored again, without --config
    shutil.rmtree(factory)
    again = evaluated(command, tmp_path)
    assert "No spectrograms and no players" in again and "<audio" not in again and "ROC" in again


def test_a_map_that_needs_an_extra_says_so_before_anything_is_computed(
    command, tmp_path, monkeypatch
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    status, _, err = command(
        asd_jax.evaluate, *CONFIG, "--config.report.map=umap", f"--workdir={tmp_path / 'run'}"
    )
    assert status == 2 and "pip install -e '.[umap]'" in err and not (tmp_path / "run").exists()


def test_anybodys_embeddings_get_a_page_too(command, tmp_path):
    n = 40
    rng = np.random.default_rng(0)
    split = np.array(["train", "test"] * 20)
    label = np.array([0, 0, 0, 1] * 10)
    columns = [
        np.full(n, "00"),
        split,
        np.array((["source"] * 4 + ["target"] * 4) * 5),
        label,
        np.full(n, ""),
    ]
    embeddings = Embeddings(
        rng.normal(size=(n, 5)).astype(np.float32), np.arange(n).astype(str), *columns
    )
    embeddings.save(tmp_path / "e" / "pump.npz")
    html = evaluated(command, tmp_path / "run", f"--embeddings={tmp_path / 'e'}")
    assert "came without recordings" in html and "Anomalous sounds of pump" in html


CHECKS = """<script>
const seen = {errors: [], audio: []};
addEventListener("error", event => seen.errors.push(event.message || event.target.tagName), true);
addEventListener("securitypolicyviolation",
  event => seen.errors.push("policy: " + event.blockedURI));
addEventListener("load", async () => {
  const table = document.querySelector("table"), column = 1;
  const values = () => [...table.tBodies[0].rows].map(row => row.cells[column].textContent);
  const button = table.tHead.rows[0].cells[column].querySelector("button");
  button.focus(); seen.focus = document.activeElement === button;
  button.click(); seen.rising = values();
  seen.sort = button.parentElement.getAttribute("aria-sort");
  button.click(); seen.falling = values();
  seen.rows = table.tBodies[0].rows.length;
  seen.wide = document.documentElement.scrollWidth > innerWidth;
  const load = player => player.readyState ? 0 : new Promise(go => {
    player.onloadedmetadata = player.onerror = go; });
  for (const player of document.querySelectorAll("audio")) {
    await load(player); seen.audio.push(player.duration); }
  seen.resources = performance.getEntriesByType("resource").map(entry => entry.name.slice(0, 60));
  document.body.dataset.seen = JSON.stringify(seen);
});
</script>"""


@pytest.fixture
def proxy():
    """The address of a proxy that leads nowhere, and what was asked of it."""
    asked = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            asked.append(self.rfile.readline().decode(errors="replace"))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


def opened(html, folder, address, width):
    """What a page shows of itself in Chromium, and what Chromium wrote to its console."""
    chromium = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    assert chromium, "these tests need Chromium (Debian: apt install chromium)"
    page = folder / "page.html"
    page.write_text(html.replace("</title>", "</title>" + CHECKS, 1))
    flags = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        f"--window-size={width},900",
    ]
    flags += [
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--disable-sync",
    ]
    flags += [
        "--virtual-time-budget=20000",
        f"--proxy-server={address}",
        f"--user-data-dir={folder / 'profile'}",
    ]
    command = [chromium, *flags, "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    seen = re.search(r'data-seen="([^"]*)"', done.stdout)
    assert seen, done.stderr
    return json.loads(seen[1].replace("&quot;", '"')), [
        line for line in done.stderr.splitlines() if "CONSOLE" in line
    ]


@pytest.mark.browser
def test_chromium_shows_sorts_and_plays_it_and_asks_nobody(command, proxy, tmp_path):
    root = tmp_path / "factory"
    counts = {"train_source": 10, "train_target": 3, "test_per_condition": 25}
    write_factory(root, clip_seconds=10.0, machines=("fan", "gearbox"), **counts)
    flags = [
        *CONFIG,
        f"--config.data.root={root}",
        "--config.data.clip_seconds=10",
        "--config.report.clips=4",
    ]
    html = evaluated(command, tmp_path / "run", *flags)
    # measured: 200 test clips, all sounds and spectrograms that a page may have
    assert len(html) < 8e6
    for width in (1200, 500):  # the narrowest window that Chromium makes
        seen, console = opened(html, tmp_path, proxy[0], width)
        assert seen["errors"] == console == []
        assert seen["focus"] and seen["sort"] == "ascending" and not seen["wide"]
        values = [float(value) for value in seen["rising"]]
        assert (
            len(values) == 2
            and values == sorted(values)
            and seen["falling"] == seen["rising"][::-1]
        )
        assert len(seen["audio"]) == 32 and all(9.9 < seconds < 10.2 for seconds in seen["audio"])
        assert [name for name in seen["resources"] if not name.startswith("data:")] == []
    assert [
        line for line in proxy[1] if ".google.com" not in line
    ] == []  # which Chromium asks by itself
