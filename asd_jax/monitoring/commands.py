"""Subcommands of `detect` on the file that `watch --store` keeps: trend, and the record of alarms.

python -m asd_jax.detect trend  --store=plant.db
python -m asd_jax.detect alarms list   --store=plant.db
python -m asd_jax.detect alarms ack    --store=plant.db 3 --by=Ann --note="bearing ordered"
python -m asd_jax.detect alarms shelve --store=plant.db pump --hours=8 --by=Ann
python -m asd_jax.detect alarms export --store=plant.db --format=audacity --start=...
"""

import argparse
import dataclasses
import datetime
import json
import math
import time
from collections.abc import Callable

from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import atomic_file
from asd_jax.runtime.log import print_error, print_result

# What computes is imported by the functions, so that --help is fast.
_STATES = ("open", "all")


def add_commands(add_parser: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds `trend` and `alarms` to the subcommands of `detect`.

    Args:
        add_parser: makes the parser of a subcommand from its name and its function.
    """
    made = add_parser("trend", show_trend)
    made.add_argument("--store", required=True, help="file that watch --store keeps")
    made.add_argument("--machine", help="only this one; default: all")
    made.add_argument("--days", type=int, default=30, help="to look back")
    made.add_argument("--until", help="date and time to look back from; default: now")
    made.add_argument("--json", action="store_true", help="one JSON object per value")
    alarms = add_parser("alarms", list_cases).add_subparsers(
        metavar="list | ack | shelve | unshelve | export", required=True
    )
    for name, function in (
        ("list", list_cases),
        ("ack", acknowledge),
        ("shelve", shelve),
        ("unshelve", unshelve),
        ("export", export),
    ):
        one = add_parser(name, function, alarms)
        one.add_argument("--store", required=True, help="file that watch --store keeps")
        if name in ("list", "export"):
            one.add_argument("--machine", help="only this one; default: all")
            one.add_argument(
                "--state", choices=_STATES, default="open" if name == "list" else "all"
            )
        if name == "ack":
            one.add_argument("case", type=int, help="number of the case")
            one.add_argument("--note", default="", help="what was found or done")
        if name in ("shelve", "unshelve"):
            one.add_argument("name", metavar="MACHINE")
        if name == "shelve":
            one.add_argument("--hours", type=float, required=True, help="at most 720")
        if name in ("ack", "shelve", "unshelve"):
            one.add_argument("--by", default="", help="who does it")
        if name == "list":
            one.add_argument("--json", action="store_true", help="one JSON object per case")
        if name == "export":
            one.add_argument("--format", choices=("csv", "audacity"), default="csv")
            one.add_argument("--output", required=True, help="file to write")
            one.add_argument(
                "--start", help="of audacity: date and time at which the recording begins"
            )


def list_cases(args: argparse.Namespace) -> None:
    """Lists alarm cases: open ones, or all."""
    from asd_jax.monitoring import cases
    from asd_jax.monitoring.export import row_of
    from asd_jax.monitoring.store import Store

    now = time.time()
    with Store(args.store, new=False) as store:
        found = cases.cases(store, args.machine, only_open=args.state == "open")
    for case in found:
        row = row_of(case, now)
        print_result(json.dumps(row) if args.json else _line(row))
    if not found and not args.json:
        print_error("no open case" if args.state == "open" else "no case")


def acknowledge(args: argparse.Namespace) -> None:
    """Acknowledges a case; it is closed once the alarm is off, too."""
    from asd_jax.monitoring import cases
    from asd_jax.monitoring.export import row_of
    from asd_jax.monitoring.store import Store

    now = time.time()
    with Store(args.store, new=False) as store:
        case = cases.acknowledge(store, args.case, now, args.by, args.note)
    print_result(_line(row_of(case, now)))


def shelve(args: argparse.Namespace) -> None:
    """Announces no alarm of a machine for some hours; they are recorded all the same."""
    from asd_jax.monitoring import cases
    from asd_jax.monitoring.export import clock
    from asd_jax.monitoring.store import Store

    now = time.time()
    until = now + 3600 * args.hours
    with Store(args.store, new=False) as store:
        cases.shelve(store, args.name, now, until, args.by)
    print_result(f"{args.name}: shelved until {clock(until)}")


def unshelve(args: argparse.Namespace) -> None:
    """Ends the shelving of a machine before its time."""
    from asd_jax.monitoring import cases
    from asd_jax.monitoring.store import Store

    with Store(args.store, new=False) as store:
        cases.unshelve(store, args.name, time.time(), args.by)
    print_result(f"{args.name}: not shelved")


def export(args: argparse.Namespace) -> None:
    """Writes cases to a csv file, or as labels that Audacity imports beside a recording."""
    from asd_jax.monitoring import cases
    from asd_jax.monitoring.export import as_audacity_labels, as_csv
    from asd_jax.monitoring.store import Store

    now = time.time()
    if (args.format == "audacity") != bool(args.start):
        raise InputError(
            "--start belongs to --format=audacity, which needs it: when the recording began, e.g. "
            "--start='2026-03-14 06:00'"
        )
    with Store(args.store, new=False) as store:
        found = cases.cases(store, args.machine, only_open=args.state == "open", most=1_000_000)
    if args.format == "csv":
        text = as_csv(found, now)
    else:
        text = as_audacity_labels(found, _time(args.start), now)
    with atomic_file(args.output) as file:
        file.write(text.encode())
    print_error(f"wrote {args.output}: {len(found)} cases")


def show_trend(args: argparse.Namespace) -> None:
    """Shows whether scores and sound levels change: since when, how fast, and until when."""
    from asd_jax.monitoring.report import trends
    from asd_jax.monitoring.store import Store

    if args.days < 7:
        raise InputError(f"--days={args.days}: at least 7 are needed for a trend")
    now = time.time() if args.until is None else _time(args.until)
    with Store(args.store, new=False) as store:
        known = store.machines()
        if args.machine not in (None, *known):
            raise InputError(f"--machine={args.machine}: the store knows {', '.join(known)}")
        for machine in known if args.machine is None else [args.machine]:
            try:
                found = trends(store, machine, now, args.days)
            except InputError as error:
                print_error(f"{machine}: {error}")
                continue
            for name, unit, one in found:
                if args.json:
                    fields = {k: _finite(v) for k, v in dataclasses.asdict(one).items()}
                    fields["days_to_threshold"] = _finite(one.days_to_threshold)
                    print_result(json.dumps({"machine": machine, "value": name, **fields}))
                else:
                    print_result(f"{machine}: {one.message(name, unit)}")


def _time(text: str) -> float:
    """Returns the Unix time of a date and time, which is local unless it has an offset."""
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise InputError(f"{text!r} is no date and time, e.g. '2026-03-14 06:00'") from error


def _finite(value):
    """Returns a value for JSON, which knows neither NaN nor infinity."""
    if isinstance(value, tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _line(row: dict) -> str:
    said = f"; {row['acknowledged_by']}: {row['note']}" if row["acknowledged"] else ""
    return (
        f"{row['case']:>4}  {row['machine']}  {row['state']}  since {row['raised']}  "
        f"peak {row['peak']:.2f} of {row['threshold']:.2f}  {row['message']}{said}"
    )
