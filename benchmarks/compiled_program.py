"""Extracts memory, attention calls, products, copies and collectives from a compiled program."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

# Copies and transposes of fewer bytes are not worth a line.
LARGE = 8_000_000
BITS = {"pred": 8, "bf16": 16} | {
    f"{kind}{bits}": bits for kind in "suf" for bits in (4, 8, 16, 32, 64)
}
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
PRODUCTS = re.compile(r"dot|__cublas\$|__triton_gemm|__cudnn\$conv|convolution")
# Operations that only move values. A fusion that contains nothing else is a copy.
MOVES = {
    "copy",
    "transpose",
    "slice",
    "dynamic-slice",
    "pad",
    "concatenate",
    "bitcast",
    "reshape",
    "reverse",
    "gather",
}
FREE = {"parameter", "constant", "tuple", "get-tuple-element", "broadcast", "iota"}
HOST = re.compile(
    r"\b(infeed|outfeed|send|recv)(-done)?\(|xla_ffi_python|xla_python|callback|S\(5\)"
)


class Instruction(NamedTuple):
    """One instruction of a program.

    Attributes:
        name: Name of the result.
        shape: Shape of the result.
        kind: The operation, e.g. "fusion".
        operands: Names of the operands.
        line: The complete line.
        computation: The computation that contains it; "ENTRY" for the program itself.
    """

    name: str
    shape: str
    kind: str
    operands: list[str]
    line: str
    computation: str


def instructions(text: str) -> Iterator[Instruction]:
    """Yields the instructions in the text of a program, in order."""
    computation = ""
    for line in text.splitlines():
        if header := re.match(r"(ENTRY )?%?([\w.-]+) (\([^=]*\) -> .*)?\{", line):
            computation = "ENTRY" if header[1] else header[2]
        elif found := re.match(r"\s+(?:ROOT )?%?([\w.-]+) = (\(.*?\)|\S+) ([\w-]+)\((.*)", line):
            name, shape, kind, rest = found.groups()
            yield Instruction(
                name=name,
                shape=shape,
                kind=kind,
                operands=re.findall(r"%([\w.-]+)", rest.partition(")")[0]),
                line=line,
                computation=computation,
            )


def shapes(text: str) -> list[tuple[str, int]]:
    """Returns the (type, bytes) of each array in a shape, as the text of a program writes it."""
    found = []
    for kind, axes in re.findall(r"(\w+)\[([\d,]*)\]", text):
        size = math.prod(int(axis) for axis in axes.split(",") if axis)
        found.append((kind, size * BITS.get(kind, 0) // 8))
    return found


def nbytes(text: str) -> int:
    """Returns the bytes of all arrays of a shape."""
    return sum(size for _, size in shapes(text))


def report(program: Any) -> dict:
    """Returns the table's figures on a compiled program, in bytes and numbers of instructions."""
    memory = program.memory_analysis()
    lines = list(instructions(program.as_text()))
    return {
        "peak_bytes": peak_bytes(program),
        "temporary_bytes": memory.temp_size_in_bytes,
        "argument_bytes": memory.argument_size_in_bytes,
        "aliased_bytes": memory.alias_size_in_bytes,
        "fused_attention": fused_attention(lines),
        "float32_products_in_eat": float32_products(lines),
        "copies": copies(lines),
        "host_transfers": host_transfers(lines) + bool(memory.host_temp_size_in_bytes),
        "collectives": collectives(lines),
    }


def peak_bytes(program: Any) -> int:
    """Returns the bytes that a program needs: its arguments, the results that do not reuse them,
    and all intermediates.
    """
    m = program.memory_analysis()
    return (
        m.argument_size_in_bytes
        + m.output_size_in_bytes
        - m.alias_size_in_bytes
        + m.temp_size_in_bytes
    )


def fused_attention(lines: Sequence[Instruction]) -> dict[str, int]:
    """Returns {"forward", "backward"}: the numbers of calls of cuDNN's attention."""
    targets = [
        found[1]
        for i in lines
        if (found := re.search(r'custom_call_target="__cudnn\$fmha(\w+)"', i.line))
    ]
    backward = sum(target.endswith("Backward") for target in targets)
    return {"forward": len(targets) - backward, "backward": backward}


def float32_products(lines: Sequence[Instruction]) -> list[str]:
    """Returns the names of the products in EAT whose factors are both float32 or float64."""
    made = {(i.computation, i.name): i for i in lines}
    found = []
    for i in lines:
        if (
            i.kind not in ("dot", "convolution", "custom-call")
            or not PRODUCTS.search(i.line)
            or not _in_eat(i.line)
        ):
            continue
        factors = [
            made[i.computation, name].shape
            for name in i.operands[:2]
            if (i.computation, name) in made
        ]
        if factors and all(
            kind in ("f32", "f64") for factor in factors for kind, _ in shapes(factor)[:1]
        ):
            found.append(i.name)
    return found


def _in_eat(line: str) -> bool:
    where = re.search(r'op_name="([^"]*)"', line)
    return bool(where and re.search(r"\beat/|\bEAT\b", where[1]))


def copies(lines: Sequence[Instruction]) -> dict[str, dict[str, int]]:
    """Returns {"attention", "elsewhere": {"count", "bytes"}} of the instructions that only move
    more than 8 MB.
    """
    inside: dict[str, list[Instruction]] = {}
    for i in lines:
        inside.setdefault(i.computation, []).append(i)
    called = {i.name: _called(i) for i in lines if i.kind == "fusion"}
    parts_of_others = set(called.values())
    found = {place: {"count": 0, "bytes": 0} for place in ("attention", "elsewhere")}
    for i in lines:
        kinds = {part.kind for part in inside.get(called.get(i.name, ""), [i])} - FREE
        moves = kinds and kinds <= MOVES and kinds != {"bitcast"}
        # Instructions inside a fusion are counted with the fusion that calls them.
        if moves and nbytes(i.shape) > LARGE and i.computation not in parts_of_others:
            place = found["attention" if "/attention/" in i.line else "elsewhere"]
            place["count"] += 1
            place["bytes"] += nbytes(i.shape)
    return found


def _called(fusion: Instruction) -> str:
    found = re.search(r"calls=%?([\w.-]+)", fusion.line)
    return found[1] if found else ""


def host_transfers(lines: Sequence[Instruction]) -> int:
    """Returns the number of instructions that send to the host, wait for it, or keep data in its
    memory.
    """
    return sum(bool(HOST.search(i.line.partition("metadata=")[0])) for i in lines)


def collectives(lines: Sequence[Instruction]) -> dict[str, dict[str, int]]:
    """Returns {"all-reduce": {"count", "bytes" of the results on one device}, ...}."""
    found: dict[str, dict[str, int]] = {}
    for i in lines:
        kind = i.kind.removesuffix("-start")
        if kind not in COLLECTIVES:
            continue
        results = shapes(i.shape)
        # An instruction that only starts an operation lists the data to send before the results.
        begun = i.kind != kind
        if begun and (kind != "all-reduce" or i.shape.startswith("((")):
            results = results[len(results) // 2 :]
        entry = found.setdefault(kind, {"count": 0, "bytes": 0})
        entry["count"] += 1
        entry["bytes"] += sum(size for _, size in results)
    return found
