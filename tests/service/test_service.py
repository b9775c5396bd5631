"""The service as a process: asd_jax.serve with a real HTTP client, MQTT broker and browser."""

import http.server
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests
import soundfile
from machine_sound import RATE, sound

import asd_jax.serve
from asd_jax.monitoring.store import Store
from asd_jax.service.delivery import Delivery
from asd_jax.service.notifications import Notifier

TOKEN = "0123456789abcdef"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


def free_port():
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, plain_detector):
    folder = tmp_path_factory.mktemp("service")
    plain_detector.save(folder / "pump.detector")
    healthy = [sound(seed, 1.0) for seed in range(6)]
    import numpy as np

    faulty = [sound(seed, 1.0, fault=0.3) for seed in range(6)]
    soundfile.write(folder / "sound.wav", np.concatenate([*healthy, *faulty]), RATE)
    soundfile.write(folder / "clip.wav", sound(3, 2.0), RATE)
    (folder / "token").write_text(TOKEN)
    return folder


def configured(folder, name, more=""):
    port = free_port()
    (folder / name).write_text(
        f'state = "state_{name}"\n'
        f'[web]\nport = {port}\ntoken_file = "token"\nupload_mb = 1.0\nupload_seconds = 20\n{more}'
        '[[machine]]\nname = "pump"\ndetector = "pump.detector"\nsource = "sound.wav"\n'
        '[[machine]]\nname = "fan"\ndetector = "pump.detector"\nsource = "http://127.0.0.1:1/"\n'
    )
    return folder / name, f"http://127.0.0.1:{port}"


def serving(config):
    return subprocess.Popen(
        [sys.executable, "-m", "asd_jax.serve", f"--config={config}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    )


def until(true, seconds=20.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if found := true():
                return found
        except requests.ConnectionError:
            pass
        time.sleep(0.1)
    raise AssertionError("it did not come to pass")


@pytest.fixture(scope="module")
def served(folder):
    """The address of a service that has raised the alarm of its pump."""
    config, address = configured(folder, "machines.toml")
    began = time.monotonic()
    process = serving(config)

    def state():
        return requests.get(f"{address}/api/machines/pump", headers=AUTHORIZED, timeout=5).json()

    try:
        until(lambda: state()["windows"] > 0)
        first = time.monotonic() - began
        until(lambda: state()["alarm"])
        yield address, first
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def test_the_first_score_comes_within_fifteen_seconds(served):
    assert served[1] < 15


def test_nothing_but_health_is_said_without_the_token(served):
    address = served[0]
    paths = ("/", "/api/machines", "/metrics", "/api/machines/pump/evidence.wav", "/openapi.json")
    for path in paths:
        assert requests.get(address + path, timeout=5).status_code == 401
        wrong = {"Authorization": "Bearer " + TOKEN[::-1]}
        assert requests.get(address + path, headers=wrong, timeout=5).status_code == 401
    health = requests.get(f"{address}/healthz", timeout=5)
    assert health.status_code == 200 and health.json() == {"status": "ok"}


def test_a_cookie_opens_the_page_to_a_browser(served):
    with requests.Session() as session:
        assert session.post(f"{served[0]}/login", {"token": "wrong"}, timeout=5).status_code == 401
        page = session.post(f"{served[0]}/login", {"token": TOKEN}, timeout=5)
        assert "microphone" in page.text and TOKEN not in str(session.cookies)


def test_a_recording_that_is_sent_is_scored_as_by_the_detector(served, folder, plain_detector):
    content = (folder / "clip.wav").read_bytes()
    post = requests.post(
        f"{served[0]}/api/machines/pump/score", content, headers=AUTHORIZED, timeout=20
    )
    assert post.json()["score"] == pytest.approx(plain_detector.score(sound(3, 2.0)), abs=1e-2)


@pytest.mark.parametrize(
    "content, status, said",
    [
        (b"x" * 1_000_001, 413, "1000000 bytes"),
        (b"no sound", 400, "the recording: "),
        (iter([b"x" * 600_000] * 2), 413, "1000000 bytes"),
    ],
    ids=["large", "no sound", "large and unsaid"],
)
def test_what_cannot_be_scored_is_refused(served, content, status, said):
    post = requests.post(
        f"{served[0]}/api/machines/pump/score", content, headers=AUTHORIZED, timeout=20
    )
    assert post.status_code == status and said in post.text


def test_alarm_trend_metrics_and_evidence_can_be_read(served):
    def get(path):
        return requests.get(served[0] + path, headers=AUTHORIZED, timeout=5)

    assert "alarm_raised" in [e["event"] for e in get("/api/events?machine=pump").json()]
    assert len(get("/api/machines/pump/trend").json()["score"]) >= 8
    assert re.search(r'asd_alarm\{machine="pump"\} 1\.0', get("/metrics").text)
    assert re.search(r'asd_microphone\{machine="fan",state="lost"\} 1\.0', get("/metrics").text)
    assert get("/api/machines/pump/evidence.wav").content[:4] == b"RIFF"
    assert get("/api/machines/nothing").status_code == 404
    by = requests.post(
        f"{served[0]}/api/machines/pump/acknowledge?by=Ann", headers=AUTHORIZED, timeout=5
    )
    assert by.status_code == 200
    assert get("/api/events").json()[-1]["by"] == "Ann" or "Ann" in get("/api/events").text


def test_a_client_that_floods_is_held_off_and_the_watch_goes_on(served):
    port, many = int(served[0].rpartition(":")[2]), []
    for _ in range(100):
        one = socket.create_connection(("127.0.0.1", port), 5)
        one.sendall(b"POST /api/machines/pump/score HTTP/1.1\r\nHost: x\r\n")
        many.append(one)
    begun = requests.get(f"{served[0]}/healthz", timeout=5)
    for one in many:
        one.close()
    assert begun.status_code in (200, 503)
    assert until(lambda: requests.get(f"{served[0]}/healthz", timeout=5).status_code == 200)


@pytest.mark.slow
def test_sigkill_at_any_moment_leaves_a_whole_record(folder):
    for number, seconds in enumerate((2.5, 3.5)):
        config, _ = configured(folder, f"killed_{number}.toml")
        process = serving(config)
        time.sleep(seconds)
        process.kill()
        process.wait()
        database = folder / f"state_killed_{number}.toml" / "service.db"
        if database.exists():
            with sqlite3.connect(database) as opened:
                assert opened.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            with Store(database) as store:
                assert store.events() is not None


def test_wrong_configuration_and_a_missing_library_are_one_clear_error(
    command, tmp_path, monkeypatch
):
    (tmp_path / "m.toml").write_text("[[machine]]\nname = 'pump'\n")
    status, _, err = command(asd_jax.serve, f"--config={tmp_path / 'm.toml'}")
    assert status == 2 and "detector is missing" in err
    monkeypatch.setattr(asd_jax.serve, "LIBRARIES", ("no_such_library.at_all",))
    status, _, err = command(asd_jax.serve, f"--config={tmp_path / 'm.toml'}")
    assert status == 2 and "pip install 'asd_jax[service]'" in err


def test_notifications_reach_a_receiver_that_was_away(tmp_path):
    came, port = [], free_port()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            came.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with Store(tmp_path / "s.db") as store:
        store.event("pump", 0.0, "clock_jump", "not for people")
        store.event("pump", 0.0, "silent", "no sound")
        delivery = Delivery("people", store, Notifier(f"json://127.0.0.1:{port}/").send)
        assert not delivery.deliver()
        server = http.server.HTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert delivery.deliver() and delivery.deliver()
        server.shutdown()
    assert [one["title"] for one in came] == ["pump: the microphone went silent"]


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_chromium_shows_every_machine_without_sideways_scrolling(served, folder, width, dark):
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    assert chromium, "this test needs Chromium (Debian: apt install chromium)"
    html = requests.get(served[0], headers=AUTHORIZED, timeout=5).text
    # A frame gives the page the width of a phone, which is narrower than Chromium's windows.
    page, picture = folder / "page.html", folder / f"page_{width}_{'dark' if dark else 'light'}.png"
    said = "<script>parent.postMessage(document.documentElement.scrollWidth, '*')</script>"
    page.write_text(html.replace("</body>", said + "</body>"))
    frame = folder / "frame.html"
    frame.write_text(
        "<script>onmessage = e => document.title = e.data</script>"
        f'<body style="margin:0"><iframe src="page.html" style="border:0;width:{width}px;'
        'height:1400px"></iframe>'
    )
    flags = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    flags += [f"--user-data-dir={folder / 'profile'}", f"--window-size={max(width, 500)},1400"]
    flags += ["--blink-settings=preferredColorScheme=0"] if dark else []
    shot = [f"--screenshot={picture}", "--virtual-time-budget=3000"]
    subprocess.run([*flags, *shot, frame.as_uri()], capture_output=True, timeout=60, check=True)
    dom = subprocess.run(
        [*flags, "--virtual-time-budget=3000", "--dump-dom", frame.as_uri()],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    assert re.search(rf"<title>{width}</title>", dom), dom[:300]
    assert Path(picture).stat().st_size > 5000 and "http" not in re.sub(r"http://127\S*", "", html)
