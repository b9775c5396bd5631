"""Defines settings of the models, separate from the code that needs JAX."""

import dataclasses

from asd_jax.runtime.errors import InputError

TARGETS = ("qkv", "out", "fc1", "fc2")


@dataclasses.dataclass(frozen=True)
class LoRA:
    """The low-rank update (alpha / rank) x A B of a layer's output; A (inputs, rank), B (rank,
    outputs).

    Attributes:
        rank: rank of the update.
        alpha: scale of the update times the rank.
        targets: which layers of a block have an update, some of TARGETS.
    """

    rank: int = 64
    alpha: float = 64.0
    targets: tuple[str, ...] = ("qkv",)

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
