"""Defines every key of a run and of pre-training, with its default, its range and its meaning.

  python -m asd_jax.config                 the keys of training and scoring
  python -m asd_jax.config --pretrain      the keys of pre-training

A config file in configs/ returns a ConfigDict of these keys, and --config.section.key=value changes
single values. A command converts the ConfigDict once into the frozen dataclasses below; no other
code reads a ConfigDict.
"""

import dataclasses
import importlib.util
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from absl import flags
from ml_collections import ConfigDict

from asd_jax.data.audio import RESAMPLERS
from asd_jax.data.dcase import check_machines
from asd_jax.features.settings import Features, PretrainingFeatures
from asd_jax.models.settings import POOLINGS, RUNTIME, RUNTIMES, Tokens
from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError, did_you_mean
from asd_jax.runtime.log import print_line
from asd_jax.runtime.settings import CheckedSettings, key, settings_from, to_dict, with_values
from asd_jax.scoring.official_score import check_year
from asd_jax.scoring.options import Scoring
from asd_jax.training.settings import (
    Augmentation,
    Backbone,
    FineTuning,
    Head,
    Log,
    Objective,
    Optimizer,
    Pretraining,
    PretrainingOptimizer,
)

DTYPES = ("float32", "bfloat16")
SIZES = ("base", "large", "tiny")
SHARDS = (
    "devices that share one copy of parameters and optimiser state (FSDP): less memory each, "
    "more traffic; 1: each has its own copy; 0: all share one"
)
T = TypeVar("T", "RunConfig", "PretrainConfig")


@dataclasses.dataclass(frozen=True)
class Recordings(CheckedSettings):
    """How recordings are read: the keys that training and pre-training share."""

    root: str = key("", "folder of recordings")
    channel: str = key(
        "mean",
        "of recordings with several: mean, near, far, difference, cancelled (the near one without "
        "what the far one predicts of it), guarded (likewise, the machine kept), or a number",
    )
    resampler: str = key(
        "soxr",
        "or torchaudio: sample for sample what torchaudio.functional.resample gives",
        choices=RESAMPLERS,
    )
    cache: str = key(
        "",
        "folder for decoded clips; worth it where recordings are compressed, resampled or far away",
    )
    threads: int = key(4, "that read recordings ahead", least=1)


@dataclasses.dataclass(frozen=True)
class Data(Recordings):
    """The recordings of a run, and which parts of them are processed."""

    root: str = key("", 'folder of recordings, see README; "factory": built-in synthetic machines')
    machines: str = key("", "comma-separated machine types; empty: all found")
    year: int = key(2024, "of the DCASE edition whose official score is computed")
    clip_seconds: float = key(10.0, "seconds of a clip that are used, from its start")
    length: str = key(
        "fit",
        "fit: longer clips cut, shorter ones padded; window: overlapping windows of clip_seconds, "
        "scores merged by scoring.windows; bucket: every clip at its own length (training: fit)",
        choices=("fit", "window", "bucket"),
    )
    pad: str = key(
        "repeat",
        "what fills shorter clips: repeat, their own beginning, or zeros",
        choices=("repeat", "zeros"),
    )
    level: str = key(
        "keep",
        "or normalize: each window is scaled to an RMS of -30 dB, for recordings whose level says "
        "nothing",
        choices=("keep", "normalize"),
    )
    hop_seconds: float = key(5.0, "between windows", above=0)
    on_bad_clip: str = key(
        "error",
        "or skip: clips that cannot be read are left out and listed in results.json",
        choices=("error", "skip"),
    )
    domain_in_class: bool = key(False, "also separate source from target in training")
    supplemental: bool = key(
        False,
        "also train on the supplemental clips of clean machine sound (DCASE 2025), a class of "
        "each machine",
    )
    held_out: float = key(
        0.0,
        "share of the normal clips kept out of training, for scoring.normalization=held_out",
        least=0,
        below=1,
    )
    resident: bool = key(
        False,
        "keep all training clips on the accelerator, 0.32 GB a thousand of 10 s, not read batches",
    )
    pseudo_classes: int = key(
        0,
        "of a machine without attributes, by Ward clustering of frozen embeddings; 0: one class",
        least=0,
    )

    def __post_init__(self):
        super().__post_init__()
        check_year(self.year)

    @property
    def machine_names(self) -> list[str]:
        """The names in `machines`; an empty list means all machines found."""
        return [name.strip() for name in self.machines.split(",") if name.strip()]


@dataclasses.dataclass(frozen=True)
class Factory(CheckedSettings):
    """The size of the synthetic data set, used with data.root=factory."""

    seed: int = key(0, "another seed, other recordings of the same machines", least=0)
    machines: str = key(
        "", "comma-separated machines to write; empty: those of data.machines, or all"
    )
    train_source: int = key(80, "normal training clips of a machine in the source domain")
    train_target: int = key(10, "normal training clips of a machine in the target domain")
    test_per_condition: int = key(15, "test clips per (normal, anomaly) x (source, target)")


@dataclasses.dataclass(frozen=True)
class Size(CheckedSettings):
    """The size of EAT: the keys that training and pre-training share."""

    size: str = key("base", "base, large or tiny", choices=SIZES)
    depth: int = key(
        0, "number of blocks; 0: the size's own; set to cut the model down", least=0, most=64
    )
    width: int = key(0, "of the tokens; 0: the size's own", least=0, most=8192)
    heads: int = key(0, "of attention; 0: the size's own", least=0, most=64)
    block: int = key(-1, "whose output is pooled; -1 is the last", least=-64, most=63)
    dtype: str = key(
        "float32",
        "of EAT's computation: float32 or bfloat16; parameters stay float32",
        choices=DTYPES,
    )


@dataclasses.dataclass(frozen=True)
class Model(Size):
    """The encoder that a training run builds."""

    encoder: str = key(
        "eat",
        "or filter_bank: the time-averaged front end, the free baseline without a model",
        choices=("eat", "filter_bank"),
    )
    weights: str = key(
        "", "safetensors file made by convert.eat or a run; none: from scratch, on purpose"
    )
    pooling: str = key(
        "attentive_statistics",
        "attentive_statistics, mean, cls, gem, max, gwrp, rdp or rdp_gem",
        choices=POOLINGS,
    )
    embedding_dim: int = key(
        256, "width of the embedding; 0: the pooled vector itself", least=0, most=65_536
    )
    attention: str = key(
        "none", "a trainable rival in SimAM's place, with features.simam=none: se, cbam or spatial"
    )
    runtime: str = key("jax", RUNTIME, choices=RUNTIMES)


@dataclasses.dataclass(frozen=True)
class Frozen(CheckedSettings):
    """The encoder of `evaluate --weights`, which is used without training."""

    pooling: str = key(
        "",
        "band_mean, mean, cls, gem, max, gwrp, rdp or rdp_gem; empty: the file's own, or band_mean "
        "if it has none",
        choices=("band_mean", *(p for p in POOLINGS[1:] if p != "band_mean"), ""),
    )
    features: str = key(
        "weights",
        "weights: the front end in the file's header; names of keys of `features`, with commas: "
        "likewise but for these keys (evaluate writes those that are set); config: `features`",
    )
    block: int = key(
        -2,
        "whose output is pooled; the last is the most specialised on the pre-training",
        least=-64,
        most=63,
    )

    def __post_init__(self):
        super().__post_init__()
        known = [field.name for field in dataclasses.fields(Features)]
        for name in self.feature_names if self.features != "config" else ():
            if name not in known:
                choices = ["weights", "config", *known]
                raise InputError(
                    f"features={self.features[:80]!r}; known: weights, config, or keys of "
                    f"`features` with commas.{did_you_mean(name, choices)}"
                )

    @property
    def feature_names(self) -> list[str]:
        """The keys of `features` that replace values of the file's own front end."""
        names = [name.strip() for name in self.features.split(",")]
        return [] if names == ["weights"] else [name for name in names if name]


@dataclasses.dataclass(frozen=True)
class Parallel(CheckedSettings):
    """How several devices share the training state; every batch is divided among all of them."""

    shards: int = key(1, SHARDS)


@dataclasses.dataclass(frozen=True)
class Report(CheckedSettings):
    """The HTML report of a run."""

    page: bool = key(True, "whether to write report/index.html")
    map: str = key("pca", "of the embeddings; or umap (extra `umap`)", choices=("pca", "umap"))
    clips: int = key(
        2,
        "of each machine and section: highest-scored, and as many most wrong, to see and hear",
        least=0,
    )

    def __post_init__(self):
        super().__post_init__()
        # UMAP is optional; that it is missing must be reported before the run, not at its end.
        if self.map == "umap" and not importlib.util.find_spec("umap"):
            raise InputError(
                "map=umap: UMAP is not installed; pip install -e '.[umap]', or leave it at pca"
            )


@dataclasses.dataclass(frozen=True)
class RunConfig(CheckedSettings):
    """All settings of training and scoring.

    The defaults are the paper's choices, and our own where the paper does not specify one.
    """

    seed: int = key(
        0,
        "of the initial weights, the order of clips, the augmentation and the held-out clips",
        least=0,
    )
    seeds: int = key(
        1,
        "number of runs, with seeds seed, seed + 1, ...: mean and deviation are reported",
        least=1,
        most=1000,
    )
    compiled: str = key(
        "~/.cache/asd_jax",
        "folder for compiled programs; empty: compile anew in every run",
    )
    data: Data = Data()
    factory: Factory = Factory()
    features: Features = Features()
    augment: Augmentation = Augmentation()
    model: Model = Model()
    backbone: Backbone = Backbone()
    tokens: Tokens = Tokens()
    frozen: Frozen = Frozen()
    arcface: Head = Head()
    optimizer: Optimizer = Optimizer()
    parallel: Parallel = Parallel()
    scoring: Scoring = Scoring()
    log: Log = Log()
    report: Report = Report()

    def validate(self) -> None:
        """Checks that the sections are consistent with each other.

        Raises:
            InputError: two keys contradict each other; the message names them.
        """
        if self.scoring.normalization == "held_out" and not self.data.held_out:
            raise InputError(
                "scoring.normalization=held_out needs clips held out: set "
                "--config.data.held_out, e.g. 0.2"
            )
        if self.data.root != "factory":
            check_machines(self.data.machine_names, self.data.year)
        if self.model.runtime != "jax" and self.model.dtype != "float32":
            raise InputError(
                f"`runtime={self.model.runtime}` says the type itself: set `dtype=float32`"
            )
        if self.backbone.cache_tokens:
            self._check_cached_tokens()

    def _check_cached_tokens(self) -> None:
        _ = self.fine_tuning  # raises if an augmentation changes the tokens
        if self.data.resident:
            raise InputError("backbone.cache_tokens=True reads no clips: set data.resident=False")
        if self.model.attention != "none":
            raise InputError(
                f"backbone.cache_tokens=True, but model.attention={self.model.attention} learns "
                "before the frozen EAT: set `attention=none`"
            )

    @property
    def fine_tuning(self) -> FineTuning:
        """The settings of fine-tuning, merged from the four sections that define them."""
        return FineTuning.of(self.optimizer, self.backbone, self.arcface, self.augment)


@dataclasses.dataclass(frozen=True)
class PretrainingData(Recordings):
    """The recordings and synthetic sounds of pre-training."""

    root: str = key(
        "",
        "folder of sound files, searched through (folders named test are left out); empty: the "
        "zoo alone",
    )
    zoo_share: float = key(
        0.0, "of every batch that comes from the zoo of synthetic machines", least=0, most=1
    )
    frames: int = key(1024, "of a clip, 10 ms each; a multiple of 16 x pieces", least=1)
    pieces: int = key(
        1,
        "every other step, clips are cut into so many: so that training includes short clips",
        least=1,
    )
    mix_share: float = key(
        0.0,
        "of clips that are mixed with another of their batch, of which distill's student hears the "
        "sum",
        least=0,
        most=1,
    )
    mix_low_db: float = key(-10.0, "of a mixed clip over the other, at least", least=-60, most=60)
    mix_high_db: float = key(15.0, "of a mixed clip over the other, at most", least=-60, most=60)
    gain_db: float = key(0.0, "largest random gain, up or down, of distill", least=0, most=60)
    equalizer_db: float = key(
        0.0, "deviation of distill's random equaliser at its points", least=0, most=30
    )
    speed: float = key(
        0.0, "largest relative change of speed, of a quarter of the recordings", least=0, most=0.5
    )

    def __post_init__(self):
        super().__post_init__()
        if self.mix_low_db > self.mix_high_db:
            raise InputError(
                f"mix_low_db={self.mix_low_db} must not exceed mix_high_db={self.mix_high_db}"
            )

    @property
    def of_distillation(self) -> dict[str, float]:
        """The keys that change the sound and are set, {name: value}; other objectives hear it as it
        is.
        """
        names = ("mix_share", "gain_db", "equalizer_db")
        return {name: value for name in names if (value := getattr(self, name))}


@dataclasses.dataclass(frozen=True)
class PretrainingModel(Size):
    """The encoder that pre-training builds."""

    weights: str = key(
        "none",
        "or a file to continue from, of any filter bank: made by convert.eat (--with_decoder: "
        "its decoder continues too), a run, or pre-training",
    )
    block: int = key(
        -2,
        "whose output is pooled when the file is used as it is, without fine-tuning",
        least=-64,
        most=63,
    )
    file_dtype: str = key(
        "float32",
        "of the weights written; float16: half the size",
        choices=("float32", "float16"),
    )


@dataclasses.dataclass(frozen=True)
class PretrainingLog(Log):
    """How often pre-training writes log lines and checkpoints."""

    checkpoint_every: int = key(500, "steps between checkpoints", least=1)


@dataclasses.dataclass(frozen=True)
class PretrainConfig(CheckedSettings):
    """All settings of pre-training; the defaults are EAT's published values, on the m-FB filter
    bank.
    """

    seed: int = key(0, "of the initial weights, the sounds, the crops and the masks", least=0)
    data: PretrainingData = PretrainingData()
    features: PretrainingFeatures = PretrainingFeatures()
    model: PretrainingModel = PretrainingModel()
    pretraining: Objective = Objective()
    optimizer: PretrainingOptimizer = PretrainingOptimizer()
    parallel: Parallel = Parallel()
    log: PretrainingLog = PretrainingLog()

    @property
    def settings(self) -> Pretraining:
        """The settings of pre-training, merged from the two sections that define them."""
        return Pretraining.of(self.pretraining, self.optimizer)


def config_dict(config: "RunConfig | PretrainConfig") -> ConfigDict:
    """Returns the settings as a ConfigDict, which config files can change."""
    return ConfigDict(to_dict(config))


def read_config(kind: type[T], values: "ConfigDict | Mapping[str, Any]") -> T:
    """Returns the settings that a ConfigDict or the content of a config.json describes.

    Every key is checked.

    Raises:
        InputError: a key is unknown, missing or has a wrong value; the message names the key and,
            for an unknown one, the nearest known key.
    """
    if isinstance(values, ConfigDict):
        values = values.copy_and_resolve_references().to_dict()
    return settings_from(kind, values)


def with_set_features(config: RunConfig, given: Collection[str] = ()) -> RunConfig:
    """Returns the config whose `frozen.features` names the keys of `features` that the user set.

    A key is set if its value is not the default, or if the command line gives it. A config that
    already names some keys, or frozen.features=config, stays as it is.

    Args:
        config: the settings of a run.
        given: the keys of the command line, e.g. "features.simam".
    """
    if config.frozen.features != "weights":
        return config
    default = Features()
    names = [
        field.name
        for field in dataclasses.fields(Features)
        if f"features.{field.name}" in given
        or getattr(config.features, field.name) != getattr(default, field.name)
    ]
    return with_values(config, {"frozen.features": ",".join(names) or "weights"})


def described(settings: Any, where: str = "") -> Iterator[tuple[str, str, str]]:
    """Yields (key, default, meaning) for every key of the settings, sections included."""
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            yield from described(value, f"{where}{field.name}.")
        else:
            yield where + field.name, repr(value), field.metadata["meaning"]


def define_flags(argv: Sequence[str]) -> None:
    """Defines the command's flags."""
    flags.DEFINE_bool("pretrain", False, "the keys of pre-training")


def main() -> None:
    """Prints every key with its default and its meaning."""
    config = PretrainConfig() if flags.FLAGS.pretrain else RunConfig()
    for name, default, meaning in described(config):
        print_line(f"--config.{name}={default}\n    {meaning}")


if __name__ == "__main__":
    run(main, define_flags)
