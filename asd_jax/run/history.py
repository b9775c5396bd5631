"""Runs `detect trend` and `detect alarms`, given their arguments."""

import argparse
import dataclasses
import datetime
import json
import math
import time

from asd_jax.monitoring import cases, shelving
from asd_jax.monitoring.export import as_audacity_labels, as_csv, clock, row_of
from asd_jax.monitoring.report import trends
from asd_jax.monitoring.store import Store
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import atomic_file
from asd_jax.runtime.log import print_error, print_result


def list_cases(args: argparse.Namespace) -> None:
    """Lists alarm cases: open ones, or all."""
    now = time.time()
    # A mistyped --store must not create an empty store.
    with Store(args.store, new=False) as store:
        found = cases.cases(store, args.machine, only_open=args.state == "open")
    for case in found:
        row = row_of(case, now)
        print_result(json.dumps(row) if args.json else _line(row))
    if not found and not args.json:
        print_error("no open case" if args.state == "open" else "no case")


def acknowledge(args: argparse.Namespace) -> None:
    """Acknowledges a case; it is closed once the alarm is off, too."""
    now = time.time()
    with Store(args.store, new=False) as store:
        case = cases.acknowledge(store, args.case, now, args.by, args.note)
    print_result(_line(row_of(case, now)))


def shelve(args: argparse.Namespace) -> None:
    """Announces no alarm of a machine for some hours; they are recorded all the same."""
    now = time.time()
    until = now + 3600 * args.hours
    with Store(args.store, new=False) as store:
        shelving.shelve(store, args.name, now, until, args.by)
    print_result(f"{args.name}: shelved until {clock(until)}")


def unshelve(args: argparse.Namespace) -> None:
    """Ends the shelving of a machine before its time."""
    with Store(args.store, new=False) as store:
        shelving.unshelve(store, args.name, time.time(), args.by)
    print_result(f"{args.name}: not shelved")


def export(args: argparse.Namespace) -> None:
    """Writes cases to a csv file, or as labels that Audacity imports beside a recording."""
    now = time.time()
    # Audacity counts seconds from the start of a recording, csv has times of day.
    if (args.format == "audacity") != bool(args.start):
        raise InputError(
            "--start belongs to --format=audacity, which needs it: when the recording began, e.g. "
            "--start='2026-03-14 06:00'"
        )
    with Store(args.store, new=False) as store:
        # An export is complete; the default limit is for lists on a screen.
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
    if args.days < 7:
        raise InputError(f"--days={args.days}: at least 7 are needed for a trend")
    now = time.time() if args.until is None else _time(args.until)
    with Store(args.store, new=False) as store:
        known = store.machines()
        if args.machine not in (None, *known):
            raise InputError(f"--machine={args.machine}: the store knows {', '.join(known)}")
        for machine in known if args.machine is None else [args.machine]:
            # A machine with too little history must not hide the others.
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
    note = f"; {row['acknowledged_by']}: {row['note']}" if row["acknowledged"] else ""
    return (
        f"{row['case']:>4}  {row['machine']}  {row['state']}  since {row['raised']}  "
        f"peak {row['peak']:.2f} of {row['threshold']:.2f}  {row['message']}{note}"
    )
