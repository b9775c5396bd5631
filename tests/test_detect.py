"""The command as a user runs it: fit, score, watch, update, and the README's example."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from clean_failure import NO_WEIGHTS, fails_cleanly
from machine_sound import RATE, sound, write

import asd_jax.detect
from asd_jax import Detector
from asd_jax.data.audio import resample
from asd_jax.detector import recordings
from asd_jax.run.export_graph import model_of_detector
from asd_jax.runtime.errors import InputError

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def normal(tmp_path_factory):
    return write(tmp_path_factory.mktemp("data") / "normal", [sound(n) for n in range(20)])


def test_fit_score_update(command, normal, tmp_path):
    fitted = tmp_path / "pump.detector"
    flags = [f"--normal={normal}", f"--output={fitted}", "--weights=filter_bank"]
    status, out, err = command(asd_jax.detect, "fit", *flags)
    assert status == 0 and not out and "20 normal recordings" in err and str(fitted) in err, err
    test = write(tmp_path / "test", [sound(300), sound(301, fault=0.05), sound(302, 5.0)])
    table = tmp_path / "scores.csv"
    page = tmp_path / "scores.html"
    flags = [
        f"--detector={fitted}",
        "--json",
        f"--csv={table}",
        f"--html={page}",
        f"--normal={normal}",
    ]
    status, out, err = command(asd_jax.detect, "score", *flags, test)
    assert status == 3, err
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["is_anomaly"] for row in rows] == [False, True, False]
    assert rows[1]["file"] == str(test / "01.wav") and rows[1]["p_value"] == pytest.approx(
        1 / 21, abs=1e-6
    )
    with open(table, newline="") as file:
        written = list(csv.DictReader(file))
    assert list(written[0])[:4] == ["file", "score", "threshold", "is_anomaly"]
    assert [float(row["score"]) for row in written] == [row["score"] for row in rows]
    text = page.read_text()
    assert (
        "1 of 3 recordings are called anomalous" in text
        and "01.wav" in text
        and "data:audio" in text
    )
    # drawn, played; labels
    assert text.count("the nearest normal sound") == 3 * 4 and "oddness: dark 0" in text
    assert "<h1>pump: 1 of 3 anomalous</h1>" in text
    headings = re.findall(r'<button type="button">([^<]*)', text)
    assert headings[:2] == ["recording", "verdict"] and '<th scope="row">01.wav</th>' in text
    assert not re.search(r'(src|href)="(https?:)?//', text)
    status, _, err = command(asd_jax.detect, "score", *flags[:-1], f"--normal={tmp_path}", test)
    assert status == 2 and "no 00.wav, which the detector was fitted to" in err
    status, out, _ = command(asd_jax.detect, "score", f"--detector={fitted}", test / "00.wav")
    assert status == 0 and "normal" in out and "anomaly" not in out
    confirmed = write(tmp_path / "confirmed", [sound(400 + n, fault=0.05) for n in range(8)])
    more = tmp_path / "more.detector"
    flags = [f"--detector={fitted}", f"--normal={confirmed}", f"--output={more}"]
    assert command(asd_jax.detect, "update", *flags)[0] == 0
    status, _, err = command(asd_jax.detect, "score", f"--detector={more}", test)
    assert status == 0 and "0 of 3 anomalous" in err
    # of fit there is a 00.wav too
    assert Detector.load(more).names[18:21] == (
        "18.wav",
        "19.wav",
        "confirmed/00.wav",
    )
    played = recordings.normal_files(Detector.load(more).names, [str(normal), str(confirmed)])
    assert (
        played["00.wav"] == normal / "00.wav" and played["confirmed/07.wav"] == confirmed / "07.wav"
    )


def test_the_rate_is_changed_and_shown_without_recordings(command, fitted, tmp_path):
    rare = tmp_path / "rare.detector"
    flags = [f"--detector={fitted}", "--false_alarm_rate=0.2", f"--output={rare}"]
    status, _, err = command(asd_jax.detect, "set-rate", *flags)
    assert status == 0 and "will be replaced" not in err
    assert re.search(
        r"(\b1 stretch|[^1] stretches) of similar sound, 0.7 minutes, (1 .*mode|[^1] .*modes);", err
    )
    status, _, err = command(asd_jax.detect, "set-rate", *flags)
    assert status == 0 and "rare.detector is there and will be replaced" in err
    status, out, _ = command(asd_jax.detect, "info", f"--detector={rare}")
    assert status == 0 and "false-alarm rate of 0.2" in out and "20 normal recordings" in out
    status, out, _ = command(asd_jax.detect, "info", f"--detector={rare}", "--json")
    assert json.loads(out)["scores"]["threshold"] < Detector.load(fitted).threshold
    flags[1] = "--false_alarm_rate=2"
    status, _, err = command(asd_jax.detect, "set-rate", *flags)
    assert status == 2 and "false_alarm_rate" in err


@pytest.mark.slow
def test_a_detector_of_slow_recordings_hears_others_as_slow(command, tmp_path):
    folder = tmp_path / "normal"
    folder.mkdir()
    for n in range(12):
        soundfile.write(folder / f"{n}.wav", resample(sound(n), RATE, 8000), 8000)
    fitted = tmp_path / "slow.detector"
    flags = [f"--normal={folder}", f"--output={fitted}", "--weights=filter_bank"]
    assert command(asd_jax.detect, "fit", *flags)[0] == 0
    test = write(tmp_path / "test", [sound(300)])
    soundfile.write(test / "slow.wav", resample(sound(300), RATE, 8000), 8000)
    status, out, err = command(asd_jax.detect, "score", f"--detector={fitted}", test, "--json")
    fast, slow = map(json.loads, out.splitlines())
    assert status == 0 and not slow["note"] and not fast["note"], err
    assert fast["score"] == pytest.approx(slow["score"], rel=0.05)  # measured 0.003
    for detector, said in ((fitted, False), (tmp_path / "fast.detector", True)):
        if said:
            more = [
                f"--normal={write(tmp_path / 'fast', [sound(n) for n in range(12)])}",
                f"--output={detector}",
            ]
            assert command(asd_jax.detect, "fit", *more, "--weights=filter_bank")[0] == 0
        flags = [
            f"--detector={detector}",
            f"--normal={folder}",
            f"--output={tmp_path / 'more.detector'}",
        ]
        _, _, err = command(asd_jax.detect, "update", *flags)
        assert ("12 of 12 recordings are of less than 16000 Hz" in err) == said
    assert model_of_detector(fitted).about["recorded_rate"] == 8000
    for name, event in (("00.wav", "resampled"), ("slow.wav", None)):
        status, out, _ = command(
            asd_jax.detect, "watch", f"--detector={fitted}", f"--input={test / name}"
        )
        lines = list(map(json.loads, out.splitlines()))
        told = [line["event"] for line in lines if line.get("event") not in (None, "start", "end")]
        assert status == 0 and told == ([event] if event else [])
        assert next(line for line in lines if "window" in line)["score"] == pytest.approx(
            slow["score"], rel=0.1
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["fit"],
            "the following arguments are required: --normal, --output (python -m "
            "asd_jax.detect fit --help says more)",
        ),
        (
            ["fit", "--normal=nowhere", "--output=x"],
            "nowhere: no such folder of recordings",
        ),
        (
            ["fit", "--normal={normal}", "--output={normal}", "--weights=filter_bank"],
            "--output: {normal}: cannot be written (a folder; name a file in it)",
        ),
        (
            ["fit", "--normal={normal}", "--output=a", "--weights=none"],
            "--weights=none: write --weights=filter_bank for no encoder, or box",
        ),
        (
            ["fit", "--normal={normal}", "--output=x", "--weights=none.safetensors"],
            NO_WEIGHTS,
        ),
        (
            [
                "fit",
                "--normal={normal}",
                "--output={tmp}/x",
                "--weights=filter_bank",
                "--fine_tune",
            ],
            "--fine_tune: the filter bank has nothing to train; give --weights of an encoder",
        ),
        (
            [
                "fit",
                "--normal={normal}",
                "--output={tmp}/x",
                "--weights=filter_bank",
                "--false_alarm_rate=2",
            ],
            "false_alarm_rate=2.0 must lie in 1e-09..0.999999999",
        ),
        (
            ["score", "--detector=nowhere.detector", "x"],
            "nowhere.detector: no such detector; python -m asd_jax.detect fit --normal=DIR "
            "--output=nowhere.detector makes one",
        ),
        (
            ["score", "--detector={fitted}", "nowhere.wav"],
            "nowhere.wav: no such file or folder",
        ),
        (
            ["watch", "--detector={fitted}", "--input=nowhere"],
            "--input=nowhere: no such file or folder; - is standard input",
        ),
        (
            ["watch", "--detector={fitted}", "--input={normal}", "--rate=3"],
            "a sampling rate of 3 Hz; expected 1000 to 768000",
        ),
        (
            ["watch", "--detector={fitted}", "--input={normal}", "--hop_seconds=99"],
            "a hop of 99 s: must be above 0 and at most the window, 2 s",
        ),
        (
            ["watch", "--detector={fitted}", "--input={normal}", "--once", "--hop_seconds=0"],
            "a hop of 0 s: must be above 0 and at most the window, 2 s",
        ),
        (
            ["watch", "--detector={fitted}", "--input={normal}", "--once", "--channel=-1"],
            "argument --channel: '-1' is no whole number from 0 on (python -m "
            "asd_jax.detect watch --help says more)",
        ),
        (
            ["watch", "--detector={fitted}", "--input={normal}", "--once", "--gap_seconds=nan"],
            "--hysteresis must lie in 0..1, --gap_seconds above 0, --settle at least 0 minutes",
        ),
        (
            ["watch", "--detector={fitted}", "--input={tmp}/x.m4a"],
            "{tmp}/x.m4a: not readable as audio (...); convert it, e.g. ffmpeg -i FILE "
            "sound.wav; or call it .raw if it holds samples without a header",
        ),
        (
            ["score", "--detector={fitted}", "{normal}", "--csv={tmp}"],
            "--csv: {tmp}: cannot be written (a folder; name a file in it)",
        ),
        (
            ["score", "--detector={fitted}", "{normal}", "--json", "--html={fitted}/x"],
            "--html: {fitted}/x: cannot be written (Not a directory)",
        ),
        (
            ["listen"],
            "argument ...: invalid choice: 'listen' (choose from ...) (python -m "
            "asd_jax.detect --help says more)",
        ),
        (
            [],
            "the following arguments are required: fit | score | watch | update | adapt | "
            "set-rate | info | trend | alarms (python -m asd_jax.detect --help says more)",
        ),
    ],
)
def test_bad_input_is_one_message_and_status_2(
    command, normal, fitted, tmp_path, arguments, message
):
    known = {"normal": normal, "fitted": fitted, "tmp": tmp_path}
    (tmp_path / "x.m4a").write_bytes(bytes(4) + b"ftypM4A " + bytes(99))
    arguments = [argument.format(**known) for argument in arguments]
    message = message.format(**known)
    assert not fails_cleanly(command, asd_jax.detect, arguments, message, tmp_path, normal)


def test_help_is_fast_and_knows_every_subcommand():
    for more in ([], ["fit"], ["score"], ["watch"], ["update"]):
        code = (
            "import sys; sys.argv[1:] = sys.argv[1:] + ['--help']\n"
            "from asd_jax import detect\nfrom asd_jax.runtime import command\n"
            "try: command.run(detect.main, detect.define_flags)\n"
            "except SystemExit as stop: assert not stop.code\n"
            "assert not {'jax', 'sklearn', 'soundfile'} & set(sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, *more], capture_output=True, text=True, cwd=REPOSITORY
        )
        assert done.returncode == 0 and "usage" in done.stdout, done.stderr
        assert "(default: None)" not in done.stdout and "(default: False)" not in done.stdout


def test_domains_and_classes_from_folders_lists_and_names(tmp_path):
    from asd_jax.detector.recordings import names_of, normal_recordings, recordings

    for folder in ("source/slow", "source/fast", "target/slow"):
        write(tmp_path / folder, [sound(0, 0.1)])
    found = normal_recordings(tmp_path)
    assert [(c.domain, c.attribute) for c in found] == [
        ("source", "fast"),
        ("source", "slow"),
        ("target", "slow"),
    ]
    table = tmp_path / "list.csv"
    table.write_text("file,domain,attribute\nsource/slow/00.wav,target,x\ntarget/slow/00.wav,,\n")
    found = normal_recordings(table)
    assert [(c.domain, c.attribute) for c in found] == [("target", "x"), ("source", "slow")]
    assert recordings([str(table), str(tmp_path / "target")]) == [
        tmp_path / "source/slow/00.wav", tmp_path / "target/slow/00.wav"
    ]  # fmt: skip
    plain = write(tmp_path / "plain", [sound(0, 0.1)])
    assert normal_recordings(plain)[0].domain == "unknown"
    table.write_text("file,attribute\n./source/slow/00.wav,x\nsource/slow/00.wav,x\n")
    (one,) = normal_recordings(table)
    assert one.attribute == "x" and names_of([one], str(table)) == ["source/slow/00.wav"]
    (tmp_path / "lists").mkdir()
    elsewhere = tmp_path / "lists" / "list.csv"
    elsewhere.write_text(f"file\n{plain / '00.wav'}\n")
    assert names_of(normal_recordings(elsewhere), str(elsewhere)) == [str(plain / "00.wav")]
    table.write_text("file\nmissing.wav\n")
    with pytest.raises(InputError, match="missing.wav"):
        recordings([str(table)])


def test_the_readme_example_runs(normal, tmp_path, monkeypatch):
    (code,) = re.findall(
        r"<!-- detector -->\n```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.S
    )
    code = code.replace('"recordings/healthy"', "normal_folder")
    names = {"normal_folder": normal}
    monkeypatch.chdir(tmp_path)
    exec(code, names)  # the documentation's own code
    assert names["score"] > names["detector"].threshold and (tmp_path / "pump.detector").exists()
