"""`detect fit`, `update`, `adapt`, `set-rate` and `info`: what they ask of the library and say."""

import dataclasses
import json
import types

import numpy as np
import pytest
import soundfile
from calls import Calls
from machine_sound import RATE, sound, write

import asd_jax.detect
from asd_jax import Detector
from asd_jax.data.audio import read_clip
from asd_jax.detect import parser
from asd_jax.detector import fine_tuned
from asd_jax.detector.self_check import self_check
from asd_jax.features.front_end import SimAM
from asd_jax.run import fit_detector
from asd_jax.runtime.errors import InputError
from asd_jax.training.weights import load_pipeline, origin_entries, save_encoder


def test_a_training_goes_on_only_with_what_it_was_begun_with(
    command, encoder_file, tmp_path, monkeypatch
):
    normal = tmp_path / "normal"
    for name in ("slow", "fast"):
        write(normal / name, [sound(n, 0.2) for n in range(3)])
    began = []

    def interrupted(config, pretrained, data, settings, job):
        began.append((job.workdir / "checkpoints").exists())
        (job.workdir / "checkpoints").mkdir(exist_ok=True)
        raise InputError("interrupted")

    monkeypatch.setattr("asd_jax.detector.fine_tuned.fine_tune", interrupted)
    machines = tmp_path / "machines.safetensors"
    pipeline = load_pipeline(encoder_file)
    simam = SimAM({"pump": "global", "normal": "local"})
    front_end = dataclasses.replace(pipeline.config.front_end, simam=simam)
    save_encoder(
        machines, dataclasses.replace(pipeline.config, front_end=front_end), pipeline.params
    )

    def fit(*flags, weights=encoder_file):
        flags = [
            f"--normal={normal}",
            f"--output={tmp_path / 'x'}",
            f"--weights={weights}",
            "--fine_tune",
            *flags,
        ]
        status, _, err = command(asd_jax.detect, "fit", *flags)
        assert status == 2
        return err

    fit()
    fit("--false_alarm_rate=0.1")  # of no concern to the training
    assert began == [False, True]
    for other in (["--seed=5"], ["--epochs=3"], ["--channel=near"], ["--window_seconds=0.3"]):
        assert "it is removed, and started again" in fit(*other) and "interrupted" in fit(*other)
        assert began[-2:] == [False, True]
    soundfile.write(normal / "slow" / "00.wav", sound(9, 0.2), RATE)
    fit(*other)
    fit("--machine=pump", weights=machines)
    fit("--machine=normal", weights=machines)
    assert began[-3:] == [False] * 3
    for wrong, message in (
        (["--window_seconds=99"], "window_seconds=99.0 must lie in 0.2..60"),
        (["--window_seconds=3"], "windows of 3 s, but the longest of 6 recordings lasts 0.2 s"),
        (["--false_alarm_rate=2"], "false_alarm_rate=2.0"),
        (["--seed=-1"], "no whole number"),
        (["--coreset=-5"], "no whole number"),
    ):
        assert message in fit(*wrong)
    assert "give --machine" in fit(weights=machines) and len(began) == 13


def run(word, *flags):
    """Runs a subcommand without what a command does around it."""
    args = parser().parse_args([word, *map(str, flags)])
    assert args.command(args) is None


def stereo(folder, rates):
    """Recordings of half a second, one at each rate, with another sound in the second channel."""
    folder.mkdir(parents=True, exist_ok=True)
    for n, rate in enumerate(rates):
        waves = np.stack([sound(n, 0.5, rate=rate), sound(50 + n, 0.5, fault=0.05, rate=rate)], 1)
        soundfile.write(folder / f"{n:02}.wav", waves, rate)
    return folder


@pytest.fixture
def fitting(monkeypatch, fitted):
    """The calls of `detect fit`, in which no detector is fitted."""
    calls = Calls(monkeypatch, fit_detector)
    of_detector = Calls(monkeypatch, Detector)
    of_detector.answer("fit", Detector.load(fitted))
    for name in ("start_quickly", "_save"):
        calls.answer(name)
    return calls, of_detector


def test_every_flag_of_fit_reaches_the_library(fitting, tmp_path, capsys):
    calls, of_detector = fitting
    normal = tmp_path / "normal"
    stereo(normal / "source" / "slow", [12000, 8000])
    stereo(normal / "target" / "fast", [12000])
    flags = ["--weights=filter_bank", "--window_seconds=0.4", "--false_alarm_rate=0.1"]
    flags += ["--coreset=7", "--tokens", "--channel=1", "--keep_odd", "--json"]
    output = tmp_path / "x.detector"
    run("fit", f"--normal={normal}", f"--output={output}", *flags)
    # The highest rate of the recordings, as the encoder uses nothing above its own.
    (waves, rate), options = of_detector["fit"]
    paths = sorted(normal.rglob("*.wav"))
    assert rate == 12000
    for wave, path in zip(waves, paths, strict=True):
        np.testing.assert_array_equal(wave, read_clip(path, sample_rate=12000, channel=1))
    names = [path.relative_to(normal).as_posix() for path in paths]
    assert options == {
        "names": names,
        "domains": ["source", "source", "target"],
        "weights": None,
        "window_seconds": 0.4,
        "false_alarm_rate": 0.1,
        "coreset_size": 7,
        "tokens": True,
        "trained": None,
        "origin": {},
        "sessions": ["slow", "slow", "fast"],
        "keep_odd": True,
    }
    (_, path), saved = calls["_save"]
    assert path == str(output) and saved == {"as_json": True}
    assert "start_quickly" in calls
    said = capsys.readouterr().err
    assert "1 of 3 recordings are of less than 12000 Hz" in said and "2 sessions: " in said


def test_what_is_not_given_is_the_usual_length_and_the_encoder_of_the_package(
    fitting, tmp_path, capsys
):
    calls, of_detector = fitting
    normal = stereo(tmp_path / "normal", [48000, 48000])
    run("fit", f"--normal={normal}", f"--output={tmp_path / 'x'}")
    (_, rate), options = of_detector["fit"]
    assert rate == 16000 and options["window_seconds"] == 0.5
    assert options["weights"].config == load_pipeline("box").config
    assert options["origin"] == origin_entries("box") and options["trained"] is None
    assert (options["tokens"], options["keep_odd"], options["sessions"]) == (False, False, None)
    assert calls["_save"][1] == {"as_json": False}
    said = capsys.readouterr().err
    assert "are of less than" not in said and "sessions" not in said


def test_a_fine_tuned_encoder_says_so_and_knows_what_it_was_trained_on(
    fitting, tmp_path, encoder_file, monkeypatch
):
    calls, of_detector = fitting
    trained = np.array([True, False])
    pipeline = load_pipeline(encoder_file)
    of_training = Calls(monkeypatch, fine_tuned)
    of_training.answer("fine_tuned", (pipeline, trained))
    normal = stereo(tmp_path / "normal", [24000, 24000])
    flags = [f"--normal={normal}", f"--output={tmp_path / 'x'}", f"--weights={encoder_file}"]
    run("fit", *flags, "--fine_tune", "--epochs=3", "--seed=4", "--channel=1")
    (given, clips, read), options = of_training["fine_tuned"]
    assert given.config == pipeline.config and len(clips) == 2
    assert len(read(clips[0])) == 8000  # at the encoder's rate
    with options.pop("workdir") as workdir:
        assert workdir == tmp_path / "x.training"
    assert options == {"window_seconds": 0.5, "epochs": 3, "seed": 4}
    _, options = of_detector["fit"]
    assert options["weights"] is pipeline and options["trained"] is trained
    own = origin_entries(str(encoder_file))
    assert options["origin"] == own | {"fine_tuned": "on these recordings"}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--false_alarm_rate=2"], "false_alarm_rate=2.0"),
        (["--window_seconds=20"], "windows of 20 s, but the longest"),
    ],
)
def test_wrong_settings_are_named_before_a_recording_is_read(fitting, tmp_path, flags, said):
    _, of_detector = fitting
    normal = stereo(tmp_path / "normal", [16000])
    paths = [f"--normal={normal}", f"--output={tmp_path / 'x'}", "--weights=filter_bank"]
    with pytest.raises(InputError, match=said):
        run("fit", *paths, *flags)
    assert not of_detector


def test_recordings_of_some_domains_and_of_none_are_refused_by_their_names(fitting, tmp_path):
    normal = tmp_path / "normal"
    for name in ("source", "other"):
        stereo(normal / name, [16000])
    with pytest.raises(InputError, match="domain 'unknown'.*other/00.wav"):
        run("fit", f"--normal={normal}", f"--output={tmp_path / 'x'}", "--weights=filter_bank")


@pytest.mark.parametrize("word", ["fit", "update", "adapt", "set-rate"])
def test_an_output_that_cannot_be_written_is_refused_first_and_one_that_is_there_is_named(
    word, fitted, tmp_path, capsys, monkeypatch
):
    def fails(*_, **__):
        raise InputError("no luck")

    for owner, name in ((Detector, "fit"), (Detector, "update"), (fit_detector, "adapted")):
        monkeypatch.setattr(owner, name, fails)
    monkeypatch.setattr(fit_detector, "start_quickly", lambda: None)
    normal = stereo(tmp_path / "normal", [16000])
    flags = ["--weights=filter_bank"] if word == "fit" else [f"--detector={fitted}"]
    flags += ["--false_alarm_rate=7"] if word == "set-rate" else [f"--normal={normal}"]
    with pytest.raises(InputError, match=f"--output: {normal}: cannot be written"):
        run(word, *flags, f"--output={normal}")
    there = tmp_path / "there.detector"
    there.write_text("old")
    # What fails then leaves the file as it was.
    with pytest.raises(InputError, match="no luck|false_alarm_rate=7"):
        run(word, *flags, f"--output={there}")
    assert f"{there} is there and will be replaced" in capsys.readouterr().err
    assert there.read_text() == "old"


@pytest.fixture
def updating(monkeypatch, fitted):
    """The calls of `detect update`, in which the detector stays as it is."""
    calls = Calls(monkeypatch, fit_detector)
    calls.answer("_save")
    of_detector = Calls(monkeypatch, Detector)
    of_detector.answer("update", Detector.load(fitted))
    return calls, of_detector


def test_every_flag_of_update_reaches_the_library(updating, fitted, tmp_path, capsys):
    calls, of_detector = updating
    normal = stereo(tmp_path / "more" / "source", [16000, 8000]).parent
    output = tmp_path / "new"
    flags = [f"--detector={fitted}", f"--normal={normal}", f"--output={output}", "--channel=1"]
    run("update", *flags, "--keep_odd")
    (own, waves), options = of_detector["update"]
    assert own.names == Detector.load(fitted).names
    paths = sorted(normal.rglob("*.wav"))
    for wave, path in zip(waves, paths, strict=True):
        np.testing.assert_array_equal(wave, read_clip(path, sample_rate=16000, channel=1))
    assert options == {
        "names": ["source/00.wav", "source/01.wav"],
        "domains": ["source", "source"],
        "sessions": None,
        "keep_odd": True,
    }
    assert calls["_save"][0][1] == str(output) and calls["_save"][1] == {}
    threshold = Detector.load(fitted).threshold
    said = capsys.readouterr().err
    assert "1 of 2 recordings are of less than 16000 Hz" in said
    assert f"threshold {threshold:.3f} before, {threshold:.3f} now" in said


def test_recordings_of_no_session_are_a_new_one_of_a_detector_that_knows_sessions(
    updating, fitted, tmp_path, monkeypatch
):
    _, of_detector = updating
    plain = Detector.load(fitted)
    sessions = ["monday"] * 10 + [""] * 5 + ["tuesday"] * 5
    with_sessions = types.SimpleNamespace(
        settings=plain.settings,
        recorded_rate=plain.recorded_rate,
        threshold=plain.threshold,
        names=("00.wav",),
        sessions=sessions,
        update=lambda waves, **options: asked.append(options) or plain,
    )
    asked = []
    monkeypatch.setattr(Detector, "load", lambda path: with_sessions)
    normal = stereo(tmp_path / "more", [16000, 16000])
    flags = [f"--detector={fitted}", f"--normal={normal}", f"--output={tmp_path / 'new'}"]
    run("update", *flags)
    assert asked[0]["sessions"] == ["added to 3"] * 2
    # The name is taken in the detector, so the folder's name is added.
    assert asked[0]["names"] == ["more/00.wav", "01.wav"]
    stereo(normal / "one", [16000])
    stereo(normal / "two", [16000])
    for path in normal.glob("*.wav"):
        path.unlink()
    run("update", *flags)
    assert asked[1]["sessions"] == ["one", "two"] and asked[1]["keep_odd"] is False


@pytest.mark.parametrize("settled", [True, False])
def test_only_an_adaptation_that_worked_is_written(settled, fitted, tmp_path, monkeypatch, capsys):
    changed = dataclasses.replace(Detector.load(fitted), threshold=7.5)
    found = types.SimpleNamespace(settled=settled, detector=changed, message=lambda: "as it is")
    calls = Calls(monkeypatch, fit_detector)
    calls.answer("adapted", found)
    normal = stereo(tmp_path / "minutes", [16000, 48000])
    output = tmp_path / "new.detector"
    flags = [f"--detector={fitted}", f"--normal={normal}", f"--output={output}", "--channel=1"]
    if settled:
        run("adapt", *flags)
        assert Detector.load(output).threshold == 7.5
        assert capsys.readouterr().err.splitlines() == ["as it is", f"wrote {output}"]
    else:
        with pytest.raises(InputError, match=f"as it is; {output} is not written"):
            run("adapt", *flags)
        assert not output.exists() and capsys.readouterr().err == "as it is\n"
    _, waves = calls["adapted"][0]
    for wave, path in zip(waves, sorted(normal.iterdir()), strict=True):
        np.testing.assert_array_equal(wave, read_clip(path, sample_rate=16000, channel=1))


def test_the_threshold_before_and_after_is_said_and_then_the_check(fitted, tmp_path, capsys):
    output = tmp_path / "rare.detector"
    run("set-rate", f"--detector={fitted}", "--false_alarm_rate=0.2", f"--output={output}")
    before = Detector.load(fitted)
    after = Detector.load(output)
    out, err = capsys.readouterr()
    assert not out and after.threshold < before.threshold
    assert err.splitlines() == [
        f"threshold {before.threshold:.3f} before, {after.threshold:.3f} now",
        *self_check(after).lines(),
        f"wrote {output}",
    ]
    fit_detector._save(before, str(output), as_json=True)
    out, err = capsys.readouterr()
    assert json.loads(out) == self_check(before).as_json()
    assert err.splitlines() == [*self_check(before).lines(), f"wrote {output}"]
    assert Detector.load(output).threshold == before.threshold


def test_info_prints_the_detector_with_its_check_or_one_json_object(fitted, capsys):
    detector = Detector.load(fitted)
    run("info", f"--detector={fitted}")
    lines = [repr(detector), *self_check(detector).lines()]
    assert capsys.readouterr().out.splitlines() == "\n".join(lines).splitlines()
    run("info", f"--detector={fitted}", "--json")
    assert json.loads(capsys.readouterr().out) == self_check(detector).as_json()


@pytest.mark.slow
def test_fine_tuning_on_the_classes_of_ones_own_folders(command, encoder_file, tmp_path):
    for name, pitch in (("slow", 1.0), ("fast", 1.3)):
        waves = [
            np.interp(np.arange(0, 32000, pitch), np.arange(32000), sound(n)).astype("f4")
            for n in range(12)
        ]
        write(tmp_path / "normal" / name, waves)
    path = tmp_path / "pump.detector"
    flags = [f"--normal={tmp_path / 'normal'}", f"--output={path}", f"--weights={encoder_file}"]
    status, _, err = command(asd_jax.detect, "fit", *flags, "--fine_tune", "--epochs=2")
    assert status == 0 and "24 normal recordings" in err, err
    faulty = write(tmp_path / "test", [sound(100, fault=0.05)])
    assert command(asd_jax.detect, "score", f"--detector={path}", faulty)[0] == 3
    detector = Detector.load(path)
    held_out = set(detector.bank.windows.recording[detector.bank.self_scores.of])
    assert detector.origin["fine_tuned"] and len(held_out) == 8  # four of twelve of each class
    status, _, err = command(
        asd_jax.detect, "fit", f"--normal={tmp_path / 'normal' / 'slow'}", *flags[1:], "--fine_tune"
    )
    assert status == 2 and "two classes" in err
