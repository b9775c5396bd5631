"""Runs `detect score`, given its arguments."""

import argparse
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

from asd_jax.data.audio import read_clip
from asd_jax.detector.detector import Detector
from asd_jax.detector.page import write_score_page
from asd_jax.detector.recordings import normal_files, recordings
from asd_jax.detector.rows import print_rows, printed, report_short, row, write_csv
from asd_jax.detector.verdict import Verdict
from asd_jax.detector.verdicts import verdicts_of
from asd_jax.run.sharded_rows import ShardedRows
from asd_jax.runtime.errors import InputError, error_context
from asd_jax.runtime.files import check_output, file_sha256
from asd_jax.runtime.log import print_error, progress, report_replaced
from asd_jax.runtime.start import start_quickly

ANOMALY = 3  # exit status


def score(args: argparse.Namespace) -> int:
    """Scores recordings: prints score, p-value against normal sounds, verdict and worst moment.

    The exit status is 3 if any recording is anomalous.
    """
    _check_outputs(args)
    start_quickly()
    detector = Detector.load(args.detector).with_runtime(args.runtime)
    paths = recordings(args.paths)
    # Checked before anything is scored: the recordings may have been moved since the fit.
    normal = normal_files(detector.names, args.normal) if args.normal else {}
    rate = detector.settings.sample_rate
    read = functools.partial(read_clip, sample_rate=rate, channel=args.channel)
    on_page: list[tuple[str, Verdict]] = []

    def rows_of(paths: Sequence[Path]) -> Iterator[dict]:
        verdicts = verdicts_of(detector, paths, read)
        for path, verdict in progress(verdicts, len(paths), "recordings", report=print_error):
            if args.html and not isinstance(verdict, InputError):
                on_page.append((str(path), verdict))
            yield row(str(path), verdict)

    if args.workdir:
        rows = _archived_rows(args, paths, rows_of)
    else:
        rows = list(printed(rows_of(paths), as_json=args.json, only=not (args.csv or args.html)))
    if args.csv:
        write_csv(args.csv, rows)
    if args.html:
        read_normal = (lambda name: read(normal[name])) if normal else None
        name = Path(args.detector).stem
        write_score_page(args.html, detector, on_page, read, read_normal, name=name)
    if not args.json:
        print_rows(rows, detector.threshold, table=not args.workdir)
    report_short(rows, detector.settings.window_seconds)
    if any(one.get("is_anomaly") for one in rows):
        return ANOMALY
    # An anomaly is the more important result, so it decides the status first.
    return 2 if any("error" in one for one in rows) else 0


def _check_outputs(args: argparse.Namespace) -> None:
    """Checks that --csv and --html can be written, before anything is computed."""
    if args.workdir and args.html:
        raise InputError(
            "--html is for recordings that are scored at once: leave out --workdir, or --html"
        )
    for flag, path in (("--csv", args.csv), ("--html", args.html)):
        if path:
            with error_context(flag):
                check_output(path)
            report_replaced(path)


def _archived_rows(args: argparse.Namespace, paths: Sequence[Path], rows_of) -> ShardedRows:
    """Returns the rows of an archive, which --workdir keeps; other processes may share the work."""
    # Rows of another detector, channel or runtime must not be taken for these.
    runtime = () if args.runtime == "jax" else (args.runtime,)
    settings = (file_sha256(args.detector), args.channel, *runtime)
    rows = ShardedRows(args.workdir, settings, paths, rows_of)
    # An archive may be large, so its rows are printed one by one and not kept in memory.
    for _ in printed(rows, as_json=args.json):
        pass
    return rows
