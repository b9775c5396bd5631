"""Runs `detect fit`, `update`, `adapt`, `set-rate` and `info`, given their arguments."""

import argparse
import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from asd_jax.data.audio import audio_format, read_clip, sampling_rate
from asd_jax.data.clips import Clip
from asd_jax.detector.adaptation import adapted
from asd_jax.detector.detector import Detector
from asd_jax.detector.grouping import check_domains
from asd_jax.detector.recordings import names_of, normal_recordings, sessions_of
from asd_jax.detector.self_check import self_check
from asd_jax.detector.settings import Settings, check_window, usual_window
from asd_jax.detector.views import for_machine, load_pipeline_or_eat, rate_of
from asd_jax.run.manifest import provenance_hash
from asd_jax.run.workdir import Run
from asd_jax.runtime.errors import InputError, error_context
from asd_jax.runtime.files import check_output, read_json, write_json
from asd_jax.runtime.lock import lock_folder
from asd_jax.runtime.log import print_error, print_result, progress, report_replaced
from asd_jax.runtime.start import start_quickly
from asd_jax.training.weights import Pipeline, origin_entries


def fit(args: argparse.Namespace) -> None:
    """Fits a detector to recordings of the healthy machine and writes it to a file.

    Sets the threshold, and prints a check of the recordings.
    """
    clips = normal_recordings(args.normal)
    _check_output("--output", args.output)
    start_quickly()
    # Window and rate must be known before the first recording is decoded, so headers are read
    # first.
    seconds, rates, _ = zip(*(audio_format(clip.path) for clip in clips), strict=True)
    window = usual_window(seconds) if args.window_seconds is None else args.window_seconds
    pipeline, origin = _encoder(args)
    # A rate above that of the recordings adds nothing, and the encoder uses nothing above its own.
    rate = min(max(rates), rate_of(pipeline))
    _report_slow(rates, rate)
    # Wrong settings must be reported before any training begins.
    Settings(rate, window, args.false_alarm_rate, args.tokens)
    if args.window_seconds is not None:
        check_window(window, seconds)
    check_domains([clip.domain for clip in clips], [clip.path for clip in clips])
    sessions, known_by = sessions_of(clips, args.normal)
    if sessions:
        print_error(f"{len(set(sessions))} sessions: {known_by}")
    trained = None
    if args.fine_tune:
        pipeline, trained = _fine_tuned(args, clips, pipeline, origin, window)
        origin |= {"fine_tuned": "on these recordings"}
    detector = Detector.fit(
        _waves(clips, _reader(args.channel, rate)),
        rate,
        names=names_of(clips, args.normal),
        domains=[clip.domain for clip in clips],
        weights=pipeline,
        window_seconds=window,
        false_alarm_rate=args.false_alarm_rate,
        coreset_size=args.coreset,
        tokens=args.tokens,
        trained=trained,
        origin=origin,
        sessions=sessions,
        keep_odd=args.keep_odd,
    )
    _save(detector, args.output, as_json=args.json)


def _encoder(args: argparse.Namespace) -> tuple[Pipeline | None, dict[str, str]]:
    """Returns (the encoder of --weights or None, where its weights come from)."""
    # Elsewhere "none" means random weights, which no detector should have by mistake.
    if args.weights == "none":
        raise InputError("--weights=none: write --weights=filter_bank for no encoder, or box")
    if args.weights == "filter_bank":
        return None, {}
    pipeline = for_machine(load_pipeline_or_eat(args.weights), args.machine)
    return pipeline, origin_entries(args.weights)


def _fine_tuned(
    args: argparse.Namespace,
    clips: Sequence[Clip],
    pipeline: Pipeline | None,
    origin: Mapping[str, str],
    window: float,
) -> tuple[Pipeline, np.ndarray]:
    """Returns the encoder after --fine_tune, and for each clip whether it was trained on."""
    # The training code takes a third of a second to import, and few fits need it.
    from asd_jax.detector.fine_tuned import fine_tuned

    return fine_tuned(
        pipeline,
        clips,
        _reader(args.channel, rate_of(pipeline)),
        window_seconds=window,
        epochs=args.epochs,
        seed=args.seed,
        workdir=_training_of(args, clips, weights=origin, window_seconds=window),
    )


def _waves(clips: Sequence[Clip], read: Callable[[Clip], np.ndarray]) -> Iterable[np.ndarray]:
    """Yields the waveforms of clips one at a time, and reports the progress."""
    return progress((read(clip) for clip in clips), len(clips), "recordings", report=print_error)


@contextlib.contextmanager
def _training_of(args: argparse.Namespace, clips: Sequence[Clip], **made_with) -> Iterator[Path]:
    """Context manager: yields the folder of the fine-tuning, locked for this process.

    A training that was begun there with other recordings or settings is removed first.
    """
    # Beside the output, where the same command finds it again and continues.
    run = Run(args.output + ".training")
    # The result of fine-tuning depends on these, and on the recordings.
    made_with |= {name: getattr(args, name) for name in ("machine", "channel", "epochs", "seed")}
    config = {"made_of": provenance_hash(made_with, [], clips)}
    # Two fits with one output would train in the same folder.
    with lock_folder(run.workdir):
        if not run.config.exists() or read_json(run.config) != config:
            if run.checkpoints.exists():
                print_error(
                    f"{run.workdir} holds a training with other recordings or settings: it is "
                    "removed, and started again"
                )
            run.remove()
            write_json(run.config, config)
        yield run.workdir


def _report_slow(rates: Sequence[int], rate: int) -> None:
    """Reports recordings whose rate is lower than the detector's."""
    if slow := sum(one < rate for one in rates):
        print_error(
            f"{slow} of {len(rates)} recordings are of less than {rate} Hz, which spoils the "
            "threshold: leave them out"
        )


def update(args: argparse.Namespace) -> None:
    """Adds further normal recordings to a detector and writes the result to a new file."""
    detector = Detector.load(args.detector)
    clips = normal_recordings(args.normal)
    _check_output("--output", args.output)
    _report_slow([sampling_rate(clip.path) for clip in clips], detector.recorded_rate)
    before = detector.threshold
    sessions, _ = sessions_of(clips, args.normal)
    # The detector knows sessions but these recordings name none, so they count as one new session.
    if sessions is None and any(detector.sessions):
        sessions = [f"added to {len(set(detector.sessions))}"] * len(clips)
    detector = detector.update(
        _waves(clips, _reader(args.channel, detector.settings.sample_rate)),
        names=names_of(clips, args.normal, detector.names),
        domains=[clip.domain for clip in clips],
        sessions=sessions,
        keep_odd=args.keep_odd,
    )
    print_error(f"threshold {before:.3f} before, {detector.threshold:.3f} now")
    _save(detector, args.output)


def adapt(args: argparse.Namespace) -> None:
    """Adapts a detector to a new session from a few healthy minutes of it, and writes a new file.

    The new detector takes its level and spectral colour from the session. A fault that is already
    present is reported, not learnt.
    """
    detector = Detector.load(args.detector)
    clips = normal_recordings(args.normal)
    _check_output("--output", args.output)
    read = _reader(args.channel, detector.settings.sample_rate)
    found = adapted(detector, [read(clip) for clip in clips])
    print_error(found.message())
    # A file would look as if the adaptation had worked.
    if not found.settled:
        raise InputError(f"{args.normal}: {found.message()}; {args.output} is not written")
    found.detector.save(args.output)
    print_error(f"wrote {args.output}")


def set_rate(args: argparse.Namespace) -> None:
    """Sets the threshold of a detector for another false-alarm rate, without any recordings."""
    detector = Detector.load(args.detector)
    _check_output("--output", args.output)
    changed = detector.with_false_alarm_rate(args.false_alarm_rate)
    print_error(f"threshold {detector.threshold:.3f} before, {changed.threshold:.3f} now")
    _save(changed, args.output)


def info(args: argparse.Namespace) -> None:
    """Prints what a detector was fitted to, its settings, its threshold and its notes."""
    detector = Detector.load(args.detector)
    check = self_check(detector)
    for line in [json.dumps(check.as_json())] if args.json else [repr(detector), *check.lines()]:
        print_result(line)


def _save(detector: Detector, output: str, *, as_json: bool = False) -> None:
    """Writes a detector, then prints the check of its recordings."""
    # The file is written first, so that nothing that was computed is lost if the terminal is gone.
    detector.save(output)
    check = self_check(detector)
    # Standard output holds the JSON alone, so that a program can read it.
    if as_json:
        print(json.dumps(check.as_json()), flush=True)
    for line in check.lines():
        print_error(line)
    print_error(f"wrote {output}")


def _reader(channel: str, rate: int) -> Callable[[Clip], np.ndarray]:
    """Returns a function that reads a clip's waveform, of this channel and sampling rate in Hz."""
    return lambda clip: read_clip(clip.path, sample_rate=rate, channel=channel)


def _check_output(flag: str, path: str) -> None:
    """Checks that the path can be written, before anything is computed."""
    with error_context(flag):
        check_output(path)
    report_replaced(path)
