"""Defines the settings of fine-tuning and of pre-training."""

import dataclasses
import functools

from asd_jax.models.settings import LoRA
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.settings import CheckedSettings, key

ON_BAD_LOSS = ("stop", "skip")
OBJECTIVES = ("eat", "masked_autoencoder", "distill")


@dataclasses.dataclass(frozen=True)
class Optimizer(CheckedSettings):
    """How long fine-tuning takes and how fast it learns."""

    epochs: int = key(10, "passes over the training clips; 0 keeps the initial weights", least=0)
    steps: int = key(
        0, "number of training steps, instead of epochs; 0: as many as epochs give", least=0
    )
    batch_size: int = key(32, "clips in a training step, and in a batch of embedding", least=1)
    accumulate: int = key(
        1,
        "number of parts in which a batch passes the encoder, to save memory; the gradients "
        "are the same, but drop_path draws for each part and the scale of adacos changes "
        "with each",
        least=1,
    )
    learning_rate: float = key(
        5e-5, "highest learning rate, which is reached at the end of the warm-up", above=0
    )
    warmup_fraction: float = key(
        0.1, "share of all steps in which the learning rate rises", least=0, most=1
    )
    weight_decay: float = key(0.05, "weight decay of matrices; vectors have none", least=0)
    clip_norm: float = key(
        1.0, "largest norm of all gradients together; longer ones are scaled down", above=0
    )
    ema: float = key(
        0.0,
        "decay of a running average of the weights, which is then the result, e.g. 0.999; 0: "
        "no average",
        least=0,
        below=1,
    )
    snapshots: int = key(
        1,
        "number of checkpoints, at equal distances in the second half of training, that all "
        "embed every clip; the score of a clip is the mean of their standardised scores",
        least=1,
        most=64,
    )
    on_bad_loss: str = key(
        "stop",
        "what to do when the loss or a gradient is not finite: stop, or skip the step, which "
        "then changes nothing",
        choices=ON_BAD_LOSS,
    )

    def __post_init__(self):
        super().__post_init__()
        if self.batch_size % self.accumulate:
            raise InputError(
                f"accumulate={self.accumulate} parts do not divide batch_size={self.batch_size}"
            )

    def snapshot_steps(self, steps: int) -> list[int]:
        """Returns the steps after which weights are kept, besides the last of `steps`."""
        # The last of them is the end of the training, whose weights are kept in any case.
        kept = [round(steps * (1 + n / self.snapshots) / 2) for n in range(1, self.snapshots)]
        return sorted({step for step in kept if 0 < step < steps})

    def total_steps(self, clips: int) -> int:
        """Returns the number of steps for the given number of clips.

        Raises:
            InputError: there are too few clips for a single step.
        """
        if self.steps:
            return self.steps
        # The last batch is dropped if it is not full.
        steps = self.epochs * clips // self.batch_size
        if self.epochs and not steps:
            raise InputError(
                f"batch_size={self.batch_size} is more than {self.epochs} x {clips} clips: no "
                "step to take"
            )
        return steps


@dataclasses.dataclass(frozen=True)
class Backbone(CheckedSettings):
    """How EAT is fine-tuned."""

    strategy: str = key(
        "full",
        "how EAT learns: full; frozen: only pooling and head learn; lora: low-rank updates, "
        "merged at the end; gradual: blocks thaw one by one, the last first",
        choices=("full", "frozen", "lora", "gradual"),
    )
    thaw_fraction: float = key(
        0.5, "share of all steps after which gradual has thawed all of EAT", least=0, most=1
    )
    lora_rank: int = key(64, "rank of the updates of lora", least=1)
    # Equal to the rank by default, so that the updates are not scaled.
    lora_alpha: float = key(64.0, "alpha of lora: its updates are scaled by alpha / rank", above=0)
    lora_init: str = key(
        "peft",
        "initial range of the factor A of lora: peft, up to sqrt(1 / inputs) as the library peft "
        "starts it, or he, up to sqrt(6 / inputs)",
        choices=("peft", "he"),
    )
    lora_targets: str = key("qkv", "comma-separated layers of a block: qkv, out, fc1, fc2")
    layer_decay: float = key(
        1.0,
        "block i of n learns at layer_decay^(n - i) times the learning rate; EAT's own "
        "recipe: 0.65",
        least=0,
        most=1,
    )
    drop_path: float = key(
        0.0, "stochastic depth: rate of the last block; EAT's own recipe: 0.1", least=0, below=1
    )
    remat: bool = key(
        False, "recompute blocks in the backward pass: much less memory, a third more time"
    )
    cache_tokens: bool = key(
        False,
        "whether a frozen EAT computes each clip's tokens once and keeps them on disk during "
        "training; needs mixup=none and mask_probability=0",
    )

    def __post_init__(self):
        super().__post_init__()
        _ = self.lora  # raises if the keys of LoRA are wrong

    @property
    def lora(self) -> LoRA | None:
        """The low-rank updates that `strategy` specifies, None if it specifies none.

        Raises:
            InputError: a target is not a layer of a block.
        """
        if self.strategy != "lora":
            return None
        targets = tuple(name.strip() for name in self.lora_targets.split(",") if name.strip())
        return LoRA(self.lora_rank, self.lora_alpha, targets, self.lora_init)


@dataclasses.dataclass(frozen=True)
class Head(CheckedSettings):
    """The loss of fine-tuning and its class centres."""

    head: str = key(
        "arcface",
        "classifier and loss: arcface; adacos, whose scale follows the training; "
        "subcluster_adacos; adaproj, whose classes are subspaces (the last three have no "
        "margin); or package.module:function",
        choices=("arcface", "adacos", "subcluster_adacos", "adaproj"),
        function=True,
    )
    scale: float = key(30.0, "factor of the cosines in arcface", above=0)
    # The margin of the ArcFace paper.
    margin: float = key(0.5, "angle that arcface adds to the true class, in radians", least=0)
    subclusters: int = key(
        16, "centres of a class in subcluster_adacos, dimensions of a class in adaproj", least=1
    )
    scale_rule: str = key(
        "nearest",
        "how adacos sets its scale: nearest, by the angle to the nearest centre of a class; "
        "public, as public systems do: by the sum of the angles to its centres, and exp(0) "
        "for a clip's own class",
        choices=("nearest", "public"),
    )
    subcentres: int = key(1, "centres of a class in arcface, of which the nearest counts", least=1)
    subcentres_of: str = key(
        "all",
        "classes that have subcentres: all, or without_attributes: those of machines whose "
        "attributes are concealed",
        choices=("all", "without_attributes"),
    )
    train_centres: bool = key(
        True, "whether the centres of subcluster_adacos learn; public systems keep random ones"
    )


@dataclasses.dataclass(frozen=True)
class Augmentation(CheckedSettings):
    """The random changes made to the training clips."""

    mixup: str = key(
        "waveform",
        "what mixup adds up: waveform, spectrogram, or none (no mixup)",
        choices=("waveform", "spectrogram", "none"),
    )
    mixup_alpha: float = key(0.4, "the weights of mixup are drawn from Beta(alpha, alpha)", above=0)
    mixup_probability: float = key(
        0.5, "probability that a clip is mixed with another", least=0, most=1
    )
    noise_probability: float = key(
        0.0,
        "probability that a supplemental noise clip (DCASE 2025) is added to a clip",
        least=0,
        most=1,
    )
    noise_low_db: float = key(5.0, "lowest signal-to-noise ratio of that noise", least=-60, most=60)
    noise_high_db: float = key(
        20.0, "highest signal-to-noise ratio of that noise", least=-60, most=60
    )
    mask_frames: int = key(80, "SpecAugment: widest stripe in time, in frames", least=0)
    mask_filters: int = key(80, "SpecAugment: widest stripe in frequency, in filters", least=0)
    mask_probability: float = key(0.5, "SpecAugment: probability of each stripe", least=0, most=1)

    def __post_init__(self):
        super().__post_init__()
        if self.noise_low_db > self.noise_high_db:
            raise InputError(
                f"noise_low_db={self.noise_low_db} is above noise_high_db={self.noise_high_db}"
            )


@dataclasses.dataclass(frozen=True)
class FineTuning(Optimizer, Backbone, Head, Augmentation):
    """All settings of fine-tuning: the keys of config.optimizer, backbone, arcface and augment."""

    @classmethod
    def of(cls, *parts: Optimizer | Backbone | Head | Augmentation) -> "FineTuning":
        """Returns the merged settings of the given parts."""
        return cls(**functools.reduce(dict.__or__, map(dataclasses.asdict, parts)))

    def __post_init__(self):
        super().__post_init__()
        # Tokens that are computed once must be those of every step.
        if not self.cache_tokens:
            return
        # Stripes of width 0 hide nothing.
        masks = self.mask_probability and (self.mask_frames or self.mask_filters)
        wrong = {
            f"strategy={self.strategy}": self.strategy != "frozen" and "strategy=frozen",
            f"mixup={self.mixup}": self.mixup != "none" and "mixup=none",
            f"mask_probability={self.mask_probability:g}": masks and "mask_probability=0",
            f"noise_probability={self.noise_probability:g}": self.noise_probability
            and "noise_probability=0",
            f"drop_path={self.drop_path:g}": self.drop_path and "drop_path=0",
        }
        if instead := {own: other for own, other in wrong.items() if other}:
            raise InputError(
                "cache_tokens=True computes the tokens of a clip once, but with "
                f"{', '.join(instead)} they differ from step to step; set "
                f"{' '.join(f'`{other}`' for other in instead.values())}, or `cache_tokens=False`"
            )

    def trains(self, path: str) -> bool:
        """Returns whether the parameter of this path, e.g. "encoder/eat/cls", is trained at all."""
        if path == "head/centres":
            return self.train_centres
        # gradual trains all in the end; until then the optimiser keeps blocks as they are.
        if not path.startswith("encoder/eat/") or self.strategy in ("full", "gradual"):
            return True
        return self.strategy == "lora" and path.endswith(("/lora_a", "/lora_b"))


@dataclasses.dataclass(frozen=True)
class Log(CheckedSettings):
    """How often a run writes log lines and checkpoints."""

    every: int = key(20, "steps between lines", least=1)
    checkpoint_every: int = key(200, "steps between checkpoints", least=1)


@dataclasses.dataclass(frozen=True)
class Objective(CheckedSettings):
    """The objective of pre-training; see asd_jax/training/pretraining.py."""

    objective: str = key(
        "eat",
        "what the encoder predicts: eat: the outputs of a teacher, a running average of "
        "itself; masked_autoencoder: the normalised pixels of the masked patches; distill: "
        "the outputs of the encoders in `teachers`",
        choices=OBJECTIVES,
    )
    teachers: str = key(
        "",
        "encoders to distill, comma-separated: package.module:function, which is called at "
        "every step, or FILE.npz of targets for the recordings of data.root",
    )
    steps: int = key(400_000, "number of training steps", least=1)
    views: int = key(16, "masked copies of every clip in a step", least=1)
    mask_share: float = key(
        0.8, "share of the patches that are hidden; with distill, 0 hides none", least=0, below=1
    )
    mask_adjust: float = key(
        0.07,
        "what is added to the share of kept patches when the block centres are counted",
        least=0,
        most=1,
    )
    mask_block: int = key(5, "edge of the blocks that are kept, in patches", least=1)
    mask_noise: float = key(
        0.01,
        "standard deviation of the noise that EAT's decoder gets at the masked places",
        least=0,
    )
    decoder_layers: int = key(
        6, "layers of the decoder: convolutions of EAT, blocks of the masked autoencoder", least=1
    )
    decoder_kernel: int = key(
        3, "width of the decoder's convolutions in EAT, an odd number", least=1
    )
    decoder_groups: int = key(16, "groups of the decoder's convolutions in EAT", least=1)
    decoder_width: int = key(
        128, "width of the decoder's blocks in the masked autoencoder", least=4
    )
    decoder_heads: int = key(
        4, "attention heads of the decoder's blocks in the masked autoencoder", least=1
    )
    weighting: str = key(
        "published",
        "published: the utterance loss is a sum over clips and views, the frame loss a mean per "
        "masked patch, so its weight grows with the batch; mean: both are means",
        choices=("published", "mean"),
    )
    utterance_weight: float = key(1.0, "factor of the utterance loss", least=0)
    ema_start: float = key(
        0.9998,
        "decay of the teacher's running average at the start; it changes linearly to ema_end",
        least=0,
        most=1,
    )
    ema_end: float = key(
        0.99999, "decay of the teacher's running average after ema_steps", least=0, most=1
    )
    ema_steps: int = key(
        100_000, "steps in which that decay changes from ema_start to ema_end", least=1
    )
    # Between the limits of EAT's own code: 0.1 for targets, 0.01 for predictions.
    least_spread: float = key(
        0.05,
        "training stops when targets or predictions vary less than this over all sounds, "
        "because they have collapsed",
        least=0,
    )

    def __post_init__(self):
        super().__post_init__()
        if not self.mask_share and self.objective != "distill":
            raise InputError("mask_share=0 hides no patch, so that nothing is left to predict")
        if (self.objective == "distill") != bool(self.teacher_names):
            raise InputError(
                f"objective={self.objective}, teachers={self.teachers!r}: distill needs teachers, "
                "and no other objective has any; e.g. `objective=distill` "
                "`teachers=my_package.my_module:embed`"
            )
        # An even kernel has no centre, so its output would be shifted by half a patch.
        if not self.decoder_kernel % 2:
            raise InputError(f"decoder_kernel={self.decoder_kernel} must be odd")
        # The position table has four equal parts: sine and cosine of time and of band.
        if self.decoder_width % self.decoder_heads or self.decoder_width % 4:
            raise InputError(
                f"decoder_width={self.decoder_width} must be divisible by 4 and by "
                f"decoder_heads={self.decoder_heads}"
            )

    @property
    def teacher_names(self) -> list[str]:
        """The names in `teachers`."""
        return [name.strip() for name in self.teachers.split(",") if name.strip()]


@dataclasses.dataclass(frozen=True)
class PretrainingOptimizer(CheckedSettings):
    """How fast pre-training learns; the defaults are EAT's published values."""

    batch_size: int = key(48, "clips in a training step", least=1)
    learning_rate: float = key(
        5e-4, "highest learning rate, which is reached at the end of the warm-up", above=0
    )
    # EAT's learning rate rises for 53,333 of 400,000 steps.
    warmup_fraction: float = key(
        53_333 / 400_000, "share of all steps in which the learning rate rises", least=0, most=1
    )
    weight_decay: float = key(0.05, "weight decay of AdamW", least=0)
    decay_everything: bool = key(
        True, "whether biases and norms decay too, as fairseq does by mistake"
    )
    clip_norm: float = key(
        4.0, "largest norm of all gradients together; longer ones are scaled down", above=0
    )
    on_bad_loss: str = key(
        "stop",
        "what to do when the loss or a gradient is not finite: stop, or skip the batch",
        choices=ON_BAD_LOSS,
    )


@dataclasses.dataclass(frozen=True)
class Pretraining(Objective, PretrainingOptimizer):
    """All settings of pre-training: the keys of config.pretraining and config.optimizer."""

    @classmethod
    def of(cls, objective: Objective, optimizer: PretrainingOptimizer) -> "Pretraining":
        """Returns the merged settings of the two parts."""
        return cls(**dataclasses.asdict(objective), **dataclasses.asdict(optimizer))
