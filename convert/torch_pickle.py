"""Interprets the pickle of a checkpoint by a small stack machine, which executes nothing.

It supports containers, numbers, strings and tensors. A class that only holds settings (omegaconf,
argparse, enums, fairseq's) becomes an inert `StandIn`; any other name, and any opcode that
`torch.save` does not write, is rejected. There is no import mechanism that could be abused.
"""

import dataclasses
import itertools
import math
import pickletools
import re
import reprlib
import struct
import zipfile
from typing import Any

import ml_dtypes
import numpy as np

from asd_jax.runtime.archives import UNREADABLE
from asd_jax.runtime.errors import InputError

# A real pickle has less than 100,000 opcodes. A step takes microseconds.
MOST_OPCODES = 1 << 19
HIGHEST_RANK = 8
DTYPES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}
# Classes of settings and counters that training programs leave in a checkpoint. They are kept as
# inert stand-ins.
STAND_INS = re.compile(
    r"(omegaconf|fairseq|examples|EAT|data2vec|enum|typing)(\.\w+)* \w+"
    r"|argparse Namespace|collections (OrderedDict|defaultdict)|pathlib (Pure)?PosixPath|_codecs "
    r"encode"
    r"|(builtins|__builtin__) (int|long|float|bool|str|unicode|bytes|list|dict|tuple|set|object)"
    r"|torch (device|Size|(b?float|u?int)\d+|bool)|numpy dtype|numpy\.(_?core)\.multiarray scalar"
)
TENSORS = ("_rebuild_tensor_v2", "_rebuild_parameter", "_rebuild_parameter_with_state")
# What a damaged pickle may make the stack machine raise.
DAMAGED = (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, struct.error)


@dataclasses.dataclass(frozen=True)
class Name:
    """A class or function that a pickle names; it is never imported."""

    text: str


# The content could be endless to print, so there is no repr.
@dataclasses.dataclass(eq=False, repr=False)
class StandIn:
    """An object of a class that is not imported: the arguments of its constructor and its state."""

    name: str
    arguments: tuple
    state: Any = None


@dataclasses.dataclass(frozen=True, eq=False)
class Storage:
    """One archive entry of raw numbers."""

    archive: zipfile.ZipFile
    entry: str
    dtype: np.dtype
    elements: int


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """A strided view of a storage, still on disk."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype:
        return self.storage.dtype

    def read(self) -> np.ndarray:
        """Returns the numbers, reading only the part of the storage that the view spans.

        Raises:
            InputError: There are fewer bytes than stated, or the checksum is wrong.
        """
        storage = self.storage
        itemsize = self.dtype.itemsize
        span = _span(self.shape, self.strides)
        try:
            with storage.archive.open(storage.entry) as file:
                file.seek(self.offset * itemsize)
                # zipfile verifies the CRC only when a whole entry is read.
                data = file.read(span * itemsize)
        except UNREADABLE as error:
            raise InputError(
                f"{storage.archive.filename}: {storage.entry} is damaged ({str(error)[:100]})"
            ) from error
        if len(data) != span * itemsize:
            raise InputError(f"{storage.archive.filename}: {storage.entry} ends early")
        # Strides are counted in elements there, in bytes by NumPy.
        steps = [stride * itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(np.frombuffer(data, self.dtype), self.shape, steps)


def unwrap(value: Any) -> Any:
    """Returns the content of a stand-in: omegaconf's content or value, the attributes of a
    namespace, or the value of an enum.
    """
    if not isinstance(value, StandIn):
        return value
    if isinstance(value.state, dict):
        return value.state.get("_content", value.state.get("_val", value.state))
    return value.arguments[0] if value.arguments else None


class StackMachine:
    """Interprets the opcodes that torch.save writes (pickle protocols 2 to 5)."""

    VALUES = {
        "BININT",
        "BININT1",
        "BININT2",
        "LONG1",
        "BINFLOAT",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "SHORT_BINBYTES",
        "BINBYTES",
        "BINSTRING",
        "SHORT_BINSTRING",
    }
    CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
    CONTAINERS = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_SET": set}
    TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}

    def __init__(self, archive, prefix):
        self.archive = archive
        self.prefix = prefix
        # `outer` holds the stacks that MARK has set aside.
        self.stack = []
        self.outer = []
        self.memo = {}

    def run(self, data: bytes) -> Any:
        """Returns the object that a pickle describes.

        Raises:
            InputError: It has an opcode or a name that checkpoints do not have.
            DAMAGED: One of these errors, if it is damaged.
        """
        # genops splits the bytes into opcodes and runs none of them.
        for opcode, argument, _ in itertools.islice(pickletools.genops(data), MOST_OPCODES):
            if opcode.name == "STOP":
                return self.stack.pop()
            self.step(opcode.name, argument)
        raise ValueError(f"more than {MOST_OPCODES} opcodes")

    def step(self, opcode, argument):
        stack = self.stack
        if opcode in self.VALUES:
            stack.append(argument)
        elif opcode in self.CONSTANTS:
            stack.append(self.CONSTANTS[opcode])
        elif opcode in self.CONTAINERS:
            stack.append(self.CONTAINERS[opcode]())
        elif opcode in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        # This opcode numbers its entries itself, from 0.
        elif opcode == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif opcode in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif opcode == "MARK":
            self.outer.append(stack)
            self.stack = []
        elif opcode in ("TUPLE", "APPENDS", "SETITEMS", "ADDITEMS"):
            self.stack = self.outer.pop()
            self.collect(opcode, stack)
        elif opcode in self.TUPLES:
            self.stack.append(tuple(self.take(self.TUPLES[opcode])))
        elif opcode in ("APPEND", "SETITEM"):
            self.collect(opcode + "S", self.take(2 if opcode == "SETITEM" else 1))
        elif opcode in ("GLOBAL", "STACK_GLOBAL"):
            stack.append(self.name(argument or " ".join(self.take(2))))
        elif opcode in ("REDUCE", "NEWOBJ"):
            stack.append(self.call(*self.take(2)))
        elif opcode == "BUILD":
            (state,) = self.take(1)
            if isinstance(stack[-1], StandIn):
                # Other objects (e.g. the _metadata of a state_dict) need no state.
                stack[-1].state = state
        elif opcode == "BINPERSID":
            stack.append(self.storage(stack.pop()))
        elif opcode not in ("PROTO", "FRAME"):
            raise InputError(
                f"{self.archive.filename}: torch.save does not write the pickle opcode {opcode}; "
                "refused"
            )

    def take(self, count):
        # A slice of a stack that is too short would give fewer values without an error.
        if len(self.stack) < count:
            raise IndexError("the stack is empty")
        taken = self.stack[-count:]
        del self.stack[-count:]
        return taken

    def collect(self, opcode, items):
        if opcode == "TUPLE":
            self.stack.append(tuple(items))
        elif opcode == "APPENDS":
            # The unbound methods raise a TypeError if the target has another type.
            list.extend(self.stack[-1], items)
        elif opcode == "ADDITEMS":
            set.update(self.stack[-1], map(_key, items))
        else:
            target = self.stack[-1].state if isinstance(self.stack[-1], StandIn) else self.stack[-1]
            dict.update(target, zip(map(_key, items[::2]), items[1::2], strict=True))

    def name(self, text):
        module, _, name = text.partition(" ")
        tensor = module == "torch._utils" and name in TENSORS
        if not (tensor or (module == "torch" and name in DTYPES) or STAND_INS.fullmatch(text)):
            dotted = f"{module}.{name}"[:120]
            raise InputError(
                f"{self.archive.filename}: the file names {dotted!r}, which is no part of a "
                "checkpoint's data; refused, nothing was run (of a whole model, save its "
                "state_dict() instead)"
            )
        return Name(text)

    def call(self, function, arguments):
        # torch.save writes tuples. A list that is called repeatedly could be copied without end.
        if not isinstance(function, Name) or type(arguments) is not tuple:
            raise InputError(
                f"{self.archive.filename}: the pickle calls an object that is no class; refused"
            )
        text = function.text
        # Later opcodes fill the dictionary.
        if text == "collections OrderedDict" and not arguments:
            return {}
        if text == "torch._utils _rebuild_tensor_v2":
            # The arguments after these, such as requires_grad and hooks, matter to training only.
            return _tensor(*arguments[:4])
        # A parameter is a wrapper of its tensor.
        if text.startswith("torch._utils _rebuild_parameter") and isinstance(arguments[0], Tensor):
            return arguments[0]
        if not STAND_INS.fullmatch(text):
            raise TypeError(f"{text} is called with the wrong arguments")
        return StandIn(text, arguments, {} if text == "collections defaultdict" else None)

    def storage(self, identity):
        if type(identity) is not tuple:
            raise TypeError("a storage is named by a tuple")
        # As torch.save writes it: "storage", class, key, device, number of elements.
        kind, name, key, _, elements = identity
        if kind != "storage" or type(key) is not str or not _count(elements):
            raise ValueError(f"no storage {reprlib.repr(key)}")
        dtype = DTYPES[name.text.removeprefix("torch ")]
        entry = f"{self.prefix}data/{key}"
        if elements * dtype.itemsize > self.archive.getinfo(entry).file_size:
            raise ValueError(f"storage {key[:40]!r} is shorter than it claims")
        return Storage(self.archive, entry, dtype, elements)


def _tensor(storage, offset, shape, strides):
    # A shape may be a torch.Size, which is a stand-in here.
    shape, strides = (
        tuple(s.arguments[0] if isinstance(s, StandIn) else s) for s in (shape, strides)
    )
    if (
        not all(map(_count, (offset, *shape, *strides)))
        or len(shape) != len(strides)
        or len(shape) > HIGHEST_RANK
    ):
        raise ValueError("a tensor's shape, strides and offset must be whole numbers")
    # Views that repeat elements (stride 0) are rejected, because a tiny file could request any
    # amount of memory.
    if math.prod(shape) > storage.elements or offset + _span(shape, strides) > storage.elements:
        raise ValueError(
            f"a tensor of shape {shape} does not fit its storage of {storage.elements} elements"
        )
    return Tensor(storage, offset, shape, strides)


def _span(shape, strides):
    # An empty tensor spans nothing, whatever its strides say.
    if 0 in shape:
        return 0
    return 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))


def _count(value):
    # Arithmetic with an integer of megabytes could take hours.
    return type(value) is int and 0 <= value < 1 << 48


def _key(value):
    """Returns `value` if it may be a key; hashing nested tuples could take forever."""
    if isinstance(value, (tuple, frozenset)):
        raise TypeError("a tuple as key")
    return value
