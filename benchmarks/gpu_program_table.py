"""Formats the results of benchmarks.gpu_program as Markdown tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from asd_jax.runtime.files import read_json

ORDER = ("h100", "a100", "h200", "l4")


def tables(folder: Path) -> str:
    """Returns the tables of all gpu_program_*.json in a folder: one device by target, then several
    devices.
    """
    found = {path.stem.removeprefix("gpu_program_"): path for path in folder.glob("gpu_program_*")}
    results = {name: read_json(path) for name, path in found.items()}
    known = {name: ORDER.index(name.split("_")[0]) for name in results}
    one = {name: results[name] for name in sorted(known, key=known.get) if "_x" not in name}
    several = {name: results[name] for name in sorted(known, key=known.get) if "_x" in name}
    parts = [_one_device(one)] if one else []
    return "\n\n".join(parts + [_many_devices(name, of) for name, of in several.items()])


def _one_device(by_target: Mapping[str, dict]) -> str:
    names = list(dict.fromkeys(name for of in by_target.values() for name in of))
    first = next(iter(by_target))
    versions = sorted({f["jax"] for of in by_target.values() for f in of.values() if "jax" in f})
    memory = {
        target: next(iter(of.values()))["memory_bytes"] / 1e9 for target, of in by_target.items()
    }
    lines = [
        f"Compiled by jax {', '.join(versions)} for one described GPU each; x clips at once. "
        "Peak: arguments, results and temporaries, in GB of the memory that the GPU has. The "
        f"columns after it are those of {first.upper()}: temporaries; the training state, and how "
        "much of it is updated in place; calls of cuDNN's attention, forward and backward; "
        "matrix products of float32 within EAT; copies and transposes above 8 MB, around "
        "attention and elsewhere, and their MB; transfers to the host.",
        "",
        "| program | "
        + " | ".join(f"{target.upper()}, of {gb:.0f}" for target, gb in memory.items())
        + " | temporaries GB | state GB, in place | attention | float32 | copies | host |",
        "|---" * (len(by_target) + 7) + "|",
    ]
    for name in names:
        peaks = [_peak(of.get(name)) for of in by_target.values()]
        lines.append(_row([name, *peaks, *_details(by_target[first].get(name))]))
    return "\n".join(lines)


def _many_devices(name: str, of: Mapping[str, dict]) -> str:
    target, _, count = name.partition("_x")
    memory = next(iter(of.values()))["memory_bytes"] / 1e9
    lines = [
        f"{count} x {target.upper()} of one host, the clips on each. What a device's program "
        "reduces and gathers, in MB of the results, against the formulas: a float32 gradient for "
        "every trained parameter; all waveforms, whose partners mixup draws from the whole "
        "batch, and the parameters where they are shared out.",
        "",
        f"| program | peak GB, of {memory:.0f} | temporaries GB | state GB, in place | attention "
        "| float32 | copies | host | reduced MB (how often) | by formula | gathered MB (how "
        "often) | by formula |",
        "|---" * 12 + "|",
    ]
    for program, found in of.items():
        lines.append(_row([program, _peak(found), *_details(found), *_traffic(found)]))
    return "\n".join(lines)


def _peak(found: dict | None) -> str:
    if found is None:
        return ""
    if "error" in found:
        return found["error"].partition(":")[0]
    peak = f"{found['peak_bytes'] / 1e9:.2f}"
    return peak if found["peak_bytes"] < found["memory_bytes"] else f"{peak}, too much"


def _details(found: dict | None) -> list[str]:
    if found is None or "error" in found:
        return [""] * 6
    held = found["state_bytes"]
    kept = found["aliased_bytes"]
    in_place = "all" if held == kept else f"{kept / 1e9:.3f}"
    calls = found["fused_attention"]
    moved = found["copies"].values()
    copies = " + ".join(str(place["count"]) for place in moved)
    return [
        f"{found['temporary_bytes'] / 1e9:.2f}",
        f"{held / 1e9:.3f}, {in_place}" if held else "",
        f"{calls['forward']} + {calls['backward']}",
        str(len(found["float32_products_in_eat"])),
        f"{copies}, {sum(place['bytes'] for place in moved) / 1e6:.0f} MB",
        str(found["host_transfers"]),
    ]


def _traffic(found: dict) -> list[str]:
    if "error" in found:
        return [""] * 4
    by_kind = found["collectives"]
    # Each device keeps this share of the data that is reduced and scattered.
    share = found["devices"]
    reduced = _sum(by_kind, {"all-reduce": 1, "reduce-scatter": share})
    gathered = _sum(by_kind, {"all-gather": 1, "all-to-all": 1, "collective-permute": 1})
    formulas = found["reduced_bytes"], found["gathered_bytes"]
    pairs = zip((reduced, gathered), formulas, strict=True)
    return [
        cell
        for (count, size), formula in pairs
        for cell in (f"{size / 1e6:.1f} ({count})", f"{formula / 1e6:.1f}")
    ]


def _sum(by_kind: Mapping[str, dict], weights: Mapping[str, int]) -> tuple[int, int]:
    """Returns the number of collectives of the given kinds, and the bytes of their results before
    scattering.
    """
    counts = sum(by_kind.get(kind, {}).get("count", 0) for kind in weights)
    sizes = [weight * by_kind.get(kind, {}).get("bytes", 0) for kind, weight in weights.items()]
    return counts, sum(sizes)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
