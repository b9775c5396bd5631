"""How to fine-tune: every choice in one place, checked when it is made."""

import dataclasses

from asd_jax.errors import InputError
from asd_jax.models.lora import LoRA
from asd_jax.training.loop import ON_BAD_LOSS

CHOICES = {
    "mixup": ("waveform", "spectrogram", "none"),
    "strategy": ("full", "frozen", "lora", "gradual"),
    "head": ("arcface", "adacos", "subcluster_adacos"),
    "on_bad_loss": ON_BAD_LOSS,
}
SECTION = {"mixup": "augment", "strategy": "backbone", "head": "arcface", "on_bad_loss": "optimizer"}  # of the config


@dataclasses.dataclass(frozen=True)
class FineTuning:
    """How to fine-tune; the keys of config.optimizer, backbone, arcface and augment (see configs/base.py)."""

    epochs: int = 10
    batch_size: int = 32
    accumulate: int = 1
    learning_rate: float = 5e-5
    warmup_fraction: float = 0.1
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    ema: float = 0.0
    on_bad_loss: str = "stop"
    strategy: str = "full"
    thaw_fraction: float = 0.5
    lora_rank: int = 64
    lora_alpha: float = 64.0
    lora_targets: str = "qkv"
    layer_decay: float = 1.0
    drop_path: float = 0.0
    remat: bool = False
    head: str = "arcface"
    scale: float = 30.0
    margin: float = 0.5
    subclusters: int = 16
    train_centres: bool = True
    mixup: str = "waveform"
    mixup_alpha: float = 0.4
    mixup_probability: float = 0.5
    mask_frames: int = 80
    mask_filters: int = 80
    mask_probability: float = 0.5

    def __post_init__(self):
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise InputError(f"{SECTION[name]}.{name}={getattr(self, name)!r}; known: {', '.join(known)}")
        for name in ("epochs", "weight_decay", "margin", "mask_frames", "mask_filters"):
            if getattr(self, name) < 0:
                raise InputError(f"{name}={getattr(self, name)} must be at least 0")
        for name in ("batch_size", "accumulate", "learning_rate", "clip_norm", "scale", "mixup_alpha", "subclusters"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name}={getattr(self, name)} must be above 0")
        for name in ("warmup_fraction", "mixup_probability", "mask_probability", "thaw_fraction", "layer_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}={getattr(self, name)} must lie in 0..1")
        for name in ("ema", "drop_path"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)} must be at least 0 and less than 1")
        if self.batch_size % self.accumulate:
            raise InputError(
                f"optimizer.accumulate={self.accumulate} parts do not divide optimizer.batch_size={self.batch_size}"
            )
        _ = self.lora  # checks its keys

    @property
    def lora(self) -> LoRA | None:
        """The low-rank updates that `strategy` asks for."""
        if self.strategy != "lora":
            return None
        targets = tuple(name.strip() for name in self.lora_targets.split(",") if name.strip())
        return LoRA(self.lora_rank, self.lora_alpha, targets)

    def trains(self, path: str) -> bool:
        """Whether the parameter of this path, e.g. "encoder/eat/cls", is trained at all."""
        if path == "head/centres":
            return self.train_centres
        if not path.startswith("encoder/eat/") or self.strategy in ("full", "gradual"):
            return True
        return self.strategy == "lora" and path.endswith(("/lora_a", "/lora_b"))

    def steps(self, clips: int) -> int:
        """Number of steps on so many clips.

        Raises:
            InputError: not one.
        """
        steps = self.epochs * clips // self.batch_size
        if self.epochs and not steps:
            raise InputError(
                f"optimizer.batch_size={self.batch_size} is more than {self.epochs} x {clips} clips: no step to take"
            )
        return steps
