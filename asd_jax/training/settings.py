"""How to fine-tune: every choice in one place, checked when it is made."""

import dataclasses

from asd_jax.models.lora import LoRA
from asd_jax.runtime.errors import InputError
from asd_jax.training.loop import ON_BAD_LOSS

CHOICES = {
    "augment.mixup": ("waveform", "spectrogram", "none"),
    "backbone.strategy": ("full", "frozen", "lora", "gradual"),
    "arcface.head": ("arcface", "adacos", "subcluster_adacos"),
    "optimizer.on_bad_loss": ON_BAD_LOSS,
}
RANGES = {
    "optimizer": {
        "at least 0": "epochs weight_decay",
        "above 0": "batch_size accumulate learning_rate clip_norm",
        "in 0..1": "warmup_fraction",
        "at least 0 and below 1": "ema",
    },
    "backbone": {"in 0..1": "thaw_fraction layer_decay", "at least 0 and below 1": "drop_path"},
    "arcface": {"at least 0": "margin", "above 0": "scale subclusters"},
    "augment": {
        "at least 0": "mask_frames mask_filters",
        "above 0": "mixup_alpha",
        "in 0..1": "mixup_probability mask_probability",
    },
}
_RANGE = {  # all false for NaN
    "at least 0": lambda x: x >= 0,
    "above 0": lambda x: x > 0,
    "in 0..1": lambda x: 0 <= x <= 1,
    "at least 0 and below 1": lambda x: 0 <= x < 1,
    "above 0 and below 1": lambda x: 0 < x < 1,
}


def check(settings, choices: dict[str, tuple[str, ...]], ranges: dict[str, dict[str, str]]) -> None:
    """Settings -> an InputError that names the first key of the config whose value cannot be.

    Args:
        settings: has an attribute for each key, without its section.
        choices: {"section.key": values}.
        ranges: {section: {a range of `_RANGE`: "key key ..."}}.
    """
    for key, known in choices.items():
        if (value := getattr(settings, key.partition(".")[2])) not in known:
            raise InputError(f"{key}={value!r}; known: {', '.join(known)}")
    for section, names in ranges.items():
        for words, keys in names.items():
            for key in keys.split():
                if not _RANGE[words](value := getattr(settings, key)):
                    raise InputError(f"{section}.{key}={value} must be {words}")


@dataclasses.dataclass(frozen=True)
class FineTuning:
    """How to fine-tune; the keys of config.optimizer, backbone, arcface and augment (see
    configs/base.py).
    """

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
        check(self, CHOICES, RANGES)
        if self.batch_size % self.accumulate:
            raise InputError(
                f"optimizer.accumulate={self.accumulate} parts do not divide "
                f"optimizer.batch_size={self.batch_size}"
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
                f"optimizer.batch_size={self.batch_size} is more than {self.epochs} x {clips} "
                f"clips: no step to take"
            )
        return steps
