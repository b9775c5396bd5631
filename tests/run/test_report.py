"""report/index.html of a run, read as text and opened in headless Chromium (marker browser)."""

import json
import re
import shutil
import socketserver
import subprocess
import threading

import numpy as np
import pytest
from calls import Calls
from embedded import save

import asd_jax.evaluate
from asd_jax.config import RunConfig
from asd_jax.data.audio import read_clip
from asd_jax.data.factory import write_factory
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.reporting.page import Section
from asd_jax.run import report
from asd_jax.run.embed import FRONT_END, write_front_end
from asd_jax.run.report import score_file_links
from asd_jax.run.workdir import Run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import write_json
from asd_jax.runtime.settings import with_values
from asd_jax.scoring.anomaly_score import score_machine
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.scoring.results import results
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
    factory.rename(tmp_path / "elsewhere")
    again = evaluated(command, tmp_path)
    (tmp_path / "elsewhere").rename(factory)
    assert "No spectrograms and no players" in again and "<audio" not in again and "ROC" in again


@pytest.fixture
def pages(monkeypatch):
    """The pages that would be written: (path, page)."""
    pages = []
    monkeypatch.setattr(report, "write_page", lambda path, page: pages.append((path, page)))
    return pages


def report_of(tmp_path, config, plain=None, *, metrics=None, timing=None):
    """Writes the report of a machine without recordings, into another folder than the run's."""
    save(tmp_path / "fan.npz")
    embeddings = Embeddings.load(tmp_path / "fan.npz")
    scored = {"fan": score_machine(embeddings, config.scoring)}
    found = results(scored, config.scoring, 2024) | {"notes": ["few clips"]}
    run = Run(tmp_path / "run")
    run.workdir.mkdir(exist_ok=True)
    if metrics is not None:
        run.metrics.write_text(metrics)
    if timing is not None:
        write_json(run.timing, timing)
    output = Run(tmp_path / "output")
    write_json(output.results, {})
    report.write_report(
        config, {"fan": embeddings}, scored, found, run=run, output=output, plain=plain
    )
    return found


def test_a_page_without_recordings_has_its_scores_its_curves_and_its_files(tmp_path, pages):
    config = with_values(RunConfig(), {"seed": 4})
    steps = [{"step": n, "loss": 1.0 / n} for n in (1, 2)]
    found = report_of(
        tmp_path,
        config,
        metrics="".join(json.dumps(row) + "\n" for row in steps),
        timing={"device": "cpu", "embedding_seconds": 3.21, "commit": "abc", "clips": 8},
    )
    ((path, page),) = pages
    assert path == tmp_path / "output" / "report" / "index.html"
    assert page.title == "Anomalous sounds of fan"
    titles = [section.title for section in page.sections]
    assert titles[1:] == ["What the words mean", "fan 00", "Clips", "Training", "This run"]
    clips, _, run = page.sections[-3:]
    assert clips.text == ["Embeddings came without recordings, so there is nothing to play."]
    assert run.links == [("results.json", "../results.json")]
    facts = {"commit": "abc", "device": "cpu", "embedding seconds": "3.2"}
    assert run.parts[0].rows == [[name, value] for name, value in facts.items()]
    assert f"{100 * found['official_score']:.2f}" in page.lead[0]
    assert page.lead[-2].endswith(
        "filter bank even, SimAM local; back end knn (cosine), domain normalisation train; seed 4."
    )
    assert page.lead[-1] == "Note: few clips"


def test_a_page_that_is_not_wanted_is_not_made(tmp_path, pages):
    report_of(tmp_path, with_values(RunConfig(), {"report.page": False}))
    assert not pages


@pytest.mark.parametrize(
    ("normalization", "unit"),
    [("none", "a distance"), ("train", "standard deviations of normal clips")],
)
def test_the_unit_of_scores_is_that_of_their_normalisation(
    tmp_path, pages, monkeypatch, normalization, unit
):
    calls = Calls(monkeypatch, report.sections)
    calls.answer("machine_section", Section("fan"))
    report_of(tmp_path, with_values(RunConfig(), {"scoring.normalization": normalization}))
    (one, given, way, links), _ = calls["machine_section"]
    assert (one.machine, one.section, given, way, links) == ("fan", "00", unit, "pca", [])


def test_clips_are_shown_as_many_as_the_config_says(tmp_path, pages, monkeypatch):
    calls = Calls(monkeypatch, report.clip_cards)
    calls.answer("clip_sections", [Section("cards")])
    asked = []
    front = FrontEnd()
    monkeypatch.setattr(
        report, "_recordings", lambda *_: (front, lambda machine: asked.append(machine) or max)
    )
    config = with_values(RunConfig(), {"report.clips": 3, "scoring.k": 2})
    report_of(tmp_path, config)
    (one, recordings, scoring, count), _ = calls["clip_sections"]
    assert recordings.read is max
    assert (one.section, recordings.front_end, recordings.machine) == ("00", front, "fan")
    assert (scoring, count, asked) == (config.scoring, 3, ["fan"])
    titles = [section.title for section in pages[0][1].sections]
    assert titles[3:] == ["cards", "Filter bank", "This run"]


def test_the_baseline_of_the_page_is_that_of_the_filter_bank(tmp_path, pages, monkeypatch):
    calls = Calls(monkeypatch, report)
    calls.answer("verdict_lines", ["verdict"])
    report_of(tmp_path, RunConfig(), plain={})
    assert calls["verdict_lines"][0][2] == {} and pages[0][1].lead[0] == "verdict"


def test_the_page_of_several_seeds_has_their_mean_and_links_to_theirs(tmp_path, pages):
    run = Run(tmp_path)
    machines = {"fan": {"00": {"auc_source": 0.6}}}
    found = {
        "official_score": 0.625,
        "year": 2024,
        "machines": machines,
        "standard_deviation": {"official_score": 0.0125, "machines": machines},
    }
    seeds = [Run(tmp_path / f"seed_{n}") for n in range(2)]
    report.write_seeds_report(found, seeds, run)
    report.write_seeds_report(found | {"official_score": None}, seeds, run)
    (path, page), (_, without) = pages
    assert path == run.page and page.title == "Mean of 2 seeds"
    assert page.lead == [
        "Means over 2 seeds.",
        "Official score 2024: 62.50 %, standard deviation 1.25 percentage points.",
    ]
    assert without.lead == page.lead[:1]
    assert page.links == [(f"seed_{n}", f"../seed_{n}/report/index.html") for n in range(2)]
    assert [section.title for section in page.sections] == [
        report.sections.mean_section(found).title
    ]


def test_the_facts_of_a_run_are_those_that_it_noted(tmp_path):
    run = Run(tmp_path)
    assert report._facts(run) == {} and report._files(run) == []
    timing = {"date": "2026-01-02", "training_seconds": 12, "embedding_seconds": "long"}
    timing |= {"embedding_clips_per_second": 3.0, "device": "cpu", "command": "train"}
    write_json(run.timing, timing)
    run.scores.mkdir()
    assert report._facts(run) == {
        "command": "train",
        "date": "2026-01-02",
        "device": "cpu",
        "training seconds": "12.0",
    }
    assert report._files(run) == [("timing.json", "../timing.json"), ("scores", "../scores")]


def test_training_is_shown_if_there_was_one_and_its_metrics_can_be_read(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert report._training(path) == []
    path.write_text('{"step": 1}\n')
    assert report._training(path) == []
    path.write_text('{"step": 1, "loss": 2.0}\n')
    (section,) = report._training(path)
    assert section.title == "Training" and len(section.parts) == 1
    path.unlink()
    path.mkdir()
    (section,) = report._training(path)
    assert not section.parts and "metrics.jsonl: " in section.text[0]


def front_end_of_run(run, **values):
    return report._front_end(with_values(RunConfig(), values), [], run)


def test_the_front_end_of_a_page_is_the_one_that_was_noted(tmp_path, encoder_file, monkeypatch):
    run = Run(tmp_path)
    calls = Calls(monkeypatch, report)
    calls.answer("front_end", "of the config")
    weights = {"model.weights": str(encoder_file)}
    own = FrontEnd("even", simam=SimAM("global"))
    # Runs of earlier versions noted none.
    assert front_end_of_run(run) == front_end_of_run(run, **{"model.weights": "none"})
    assert front_end_of_run(run) == "of the config"
    assert front_end_of_run(run, **weights) == own
    assert front_end_of_run(run, **weights, **{"frozen.features": "config"}) == "of the config"
    bank = {"model.encoder": "filter_bank"}
    assert front_end_of_run(run, **weights, **bank) == "of the config"
    shutil.copy(encoder_file, run.weights)
    assert front_end_of_run(run, **{"model.weights": "none"}) == own
    monkeypatch.setattr(report, "front_end_of", lambda file: None)
    assert front_end_of_run(run, **weights) == "of the config"
    noted = FrontEnd("mel", mean=-3.0)
    write_front_end(run.embeddings, noted)
    assert front_end_of_run(run, **weights) == noted
    write_json(run.embeddings / FRONT_END, {"spacing": 3})
    with pytest.raises(InputError, match="front_end.json: not the note of a front end"):
        front_end_of_run(run)
    with pytest.raises(InputError, match="No module named 'no_such_module'"):
        front_end_of_run(run, **{"features.spacing": "no_such_module:f"})


def test_a_clip_is_played_by_its_machine_split_name_and_start(factory, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "_front_end", lambda *_: FrontEnd())
    values = {"data.root": str(factory), "data.length": "window", "data.clip_seconds": 0.5}
    config = with_values(RunConfig(), values | {"data.hop_seconds": 0.25})
    front, waveform_of = report._recordings(config, ["fan"], Run(tmp_path))
    path = min((factory / "fan" / "train").glob("*.wav"))
    whole = read_clip(path)
    of = waveform_of("fan")
    assert front == FrontEnd()
    for start, begin in ((0.0, 0), (0.25, 4000), (0.49, 8000)):
        np.testing.assert_array_equal(of("train", path.name, start), whole[begin : begin + 8000])
    # Clips that were held out lie among the training clips.
    np.testing.assert_array_equal(of("held_out", path.name, 0.0), whole[:8000])
    assert of("test", path.name, 0.0) is None and waveform_of("pump")("train", "a", 0.0) is None


def test_the_factory_of_a_run_is_its_own_or_that_of_the_folder_above(
    factory, tmp_path, monkeypatch
):
    asked = []

    def found(root, machines):
        asked.append(root)
        raise InputError("nothing\nat all")

    monkeypatch.setattr(report, "find_clips", found)
    run = Run(tmp_path / "above" / "seed_0")
    config = with_values(RunConfig(), {"data.root": "factory"})

    def looked_in():
        with pytest.raises(InputError, match="^No spectrograms and no players: nothing$"):
            report._recordings(config, [], run)
        return asked[-1]

    assert looked_in() == run.factory
    (tmp_path / "above" / "factory").mkdir(parents=True)
    assert looked_in() == tmp_path / "above" / "factory"
    run.factory.mkdir(parents=True)
    assert looked_in() == run.factory


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
