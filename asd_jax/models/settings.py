"""Defines settings of the models, separate from the code that needs JAX."""

import dataclasses
import re

from asd_jax.runtime.errors import InputError
from asd_jax.runtime.settings import CheckedSettings, key

TARGETS = ("qkv", "out", "fc1", "fc2")
# What computes embeddings without training: JAX, or OpenVINO in float32 or bfloat16, on CPUs.
RUNTIMES = ("jax", "openvino", "openvino_bfloat16")
RUNTIME = (
    "library that embeds: jax, on any device; openvino, on CPUs, the same within 1e-4; or "
    "openvino_bfloat16, on CPUs that compute it, faster and less exact (extra `export`)"
)


@dataclasses.dataclass(frozen=True)
class LoRA:
    """The low-rank update (alpha / rank) x A B of a layer's output; A (inputs, rank), B (rank,
    outputs).

    Attributes:
        rank: rank of the update.
        alpha: scale of the update times the rank.
        targets: which layers of a block have an update, some of TARGETS.
        init: bound of A's uniform distribution: "peft", sqrt(1 / inputs), as in the library peft;
            "he", sqrt(6 / inputs).
    """

    rank: int = 64
    alpha: float = 64.0
    targets: tuple[str, ...] = ("qkv",)
    init: str = "peft"

    def __post_init__(self):
        if self.rank < 1 or not self.alpha > 0:
            raise InputError(
                f"LoRA of rank {self.rank} and alpha {self.alpha}: both must be positive"
            )
        if not self.targets or (unknown := set(self.targets) - set(TARGETS)):
            unknown = unknown if self.targets else {"none"}
            raise InputError(
                f"LoRA targets {', '.join(sorted(unknown))}; known: {', '.join(TARGETS)}"
            )


POOLINGS = (
    "attentive_statistics",
    "mean",
    "cls",
    "band_mean",
    "gem",
    "max",
    "gwrp",
    "rdp",
    "rdp_gem",
)
CONDITIONINGS = ("none", "clamp", "zero", "tanh", "clamp+tanh", "zero+tanh")


@dataclasses.dataclass(frozen=True)
class Tokens(CheckedSettings):
    """What happens to EAT's tokens before and while they are pooled, trained or frozen."""

    blocks: str = key(
        "",
        "blocks whose tokens are averaged, e.g. 3,4,5 or all; empty: the one block of "
        "model.block or frozen.block",
    )
    conditioning: str = key(
        "none",
        "none; clamp (values below condition_low become it), zero (they become 0), tanh (of values "
        "above condition_high), clamp+tanh or zero+tanh",
        choices=CONDITIONINGS,
    )
    condition_low: float = key(
        0.1, "value of clamp and zero; that of arXiv 2603.04605", least=-1e6, most=1e6
    )
    condition_high: float = key(
        0.5, "value of tanh; that of arXiv 2603.04605", least=-1e6, most=1e6
    )
    bands: str = key(
        "mixed",
        "mixed: tokens are pooled over time and frequency; apart: over time, which gives an "
        "embedding for each frequency band (frozen encoders); joined: over time, with the "
        "bands as one vector",
        choices=("mixed", "apart", "joined"),
    )
    gem_power: float = key(
        3.0, "power p of the generalised mean in gem and rdp_gem", above=0, most=100
    )
    gwrp_decay: float = key(
        0.9, "decay r of gwrp, in which the i-th largest value has the weight r^i", least=0, most=1
    )
    rdp_gamma: float = key(
        1.0, "power of a token's deviation in rdp and rdp_gem", least=0, most=100
    )

    def __post_init__(self):
        super().__post_init__()
        if not re.fullmatch(r"|all|-?\d{1,2}(, ?-?\d{1,2})*", self.blocks):
            raise InputError(
                f"blocks={self.blocks[:40]!r}; write numbers with commas, e.g. 3,4,5, or all"
            )

    def block_numbers(self, block: int, depth: int) -> list[int]:
        """Returns the numbers of the averaged blocks: `block` alone unless `blocks` names some."""
        if self.blocks == "all":
            return list(range(depth))
        return [int(number) for number in self.blocks.split(",")] if self.blocks else [block]

    def bands_of(self, kind: str) -> str:
        """Returns what a pooling does with the frequency bands: mixed, apart or joined."""
        return "apart" if kind == "band_mean" and self.bands == "mixed" else self.bands
