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
from pathlib import Path
from typing import Any, TypeVar

from absl import flags
from ml_collections import ConfigDict

from asd_jax.data.audio import RESAMPLERS
from asd_jax.data.dcase import check_machines
from asd_jax.features.settings import Features, PretrainingFeatures
from asd_jax.models.settings import POOLINGS, RUNTIME, RUNTIMES, Tokens
from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError, did_you_mean
from asd_jax.runtime.files import read_json
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

# Names in jax.numpy.
DTYPES = ("float32", "bfloat16")
# Names of the constructors of EATConfig.
SIZES = ("base", "large", "tiny")
SHARDS = (
    "number of devices that share one copy of parameters and optimiser state (FSDP): less memory "
    "each, more traffic; 1: each has its own copy; 0: all share one"
)
T = TypeVar("T", "RunConfig", "PretrainConfig")


@dataclasses.dataclass(frozen=True)
class Recordings(CheckedSettings):
    """How recordings are read: the keys that training and pre-training share."""

    root: str = key("", "folder of recordings")
    channel: str = key(
        "mean",
        "sound of recordings with several channels: mean, near, far, difference, cancelled "
        "(the near channel without what the far one predicts of it), guarded (cancelled, but "
        "the machine is kept), or the number of a channel",
    )
    resampler: str = key(
        "soxr",
        "soxr, or torchaudio: sample for sample what torchaudio.functional.resample gives",
        choices=RESAMPLERS,
    )
    cache: str = key(
        "",
        "folder for decoded clips; worth it where recordings are compressed, resampled or far away",
    )
    threads: int = key(4, "number of threads that read recordings ahead", least=1)


@dataclasses.dataclass(frozen=True)
class Data(Recordings):
    """The recordings of a run, and which parts of them are processed."""

    root: str = key("", 'folder of recordings, see README; "factory": built-in synthetic machines')
    machines: str = key("", "comma-separated machine types; empty: all found")
    year: int = key(2024, "edition of DCASE whose rule gives the official score")
    clip_seconds: float = key(10.0, "seconds of a clip that are used, from its start")
    length: str = key(
        "fit",
        "fit: longer clips are cut and shorter ones padded; window: overlapping windows of "
        "clip_seconds, whose scores scoring.windows merges; bucket: every clip at its own "
        "length (in training: fit)",
        choices=("fit", "window", "bucket"),
    )
    pad: str = key(
        "repeat",
        "what fills clips that are too short: repeat, their own beginning; or zeros",
        choices=("repeat", "zeros"),
    )
    level: str = key(
        "keep",
        "keep, or normalize: each window is scaled to an RMS of -30 dB, for recordings whose "
        "level says nothing about the machine",
        choices=("keep", "normalize"),
    )
    # Half a window, so that a sound at the seam of two windows is whole in a third.
    hop_seconds: float = key(5.0, "time between the starts of two windows, in seconds", above=0)
    on_bad_clip: str = key(
        "error",
        "what to do with clips that cannot be read: error, or skip: they are left out and "
        "listed in results.json",
        choices=("error", "skip"),
    )
    domain_in_class: bool = key(
        False, "whether source and target clips are different classes in training"
    )
    supplemental: bool = key(
        False,
        "whether to train on the supplemental clips of clean machine sound (DCASE 2025) as "
        "well, as one class of each machine",
    )
    held_out: float = key(
        0.0,
        "share of the normal clips kept out of training, for scoring.normalization=held_out",
        least=0,
        below=1,
    )
    resident: bool = key(
        False,
        "whether all training clips stay on the accelerator (0.32 GB for a thousand clips of "
        "10 s) instead of being read in batches",
    )
    pseudo_classes: int = key(
        0,
        "number of classes of a machine without attributes, by Ward clustering of frozen "
        "embeddings; 0: one class",
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

    seed: int = key(0, "seed of the recordings; the machines are the same with every seed", least=0)
    machines: str = key(
        "", "comma-separated machines to write, unless data.machines names some; empty: all"
    )
    train_source: int = key(80, "normal training clips of a machine in the source domain")
    train_target: int = key(10, "normal training clips of a machine in the target domain")
    test_per_condition: int = key(
        15, "test clips of each label (normal, anomaly) in each domain (source, target)"
    )


@dataclasses.dataclass(frozen=True)
class Size(CheckedSettings):
    """The size of EAT: the keys that training and pre-training share."""

    size: str = key("base", "size of EAT: base, large or tiny", choices=SIZES)
    depth: int = key(0, "number of blocks; 0: as the size has", least=0, most=64)
    width: int = key(0, "width of the tokens; 0: as the size has", least=0, most=8192)
    heads: int = key(0, "number of attention heads; 0: as the size has", least=0, most=64)
    block: int = key(
        -1, "number of the block whose output is pooled; -1 is the last", least=-64, most=63
    )
    dtype: str = key(
        "float32",
        "number format in which EAT computes: float32 or bfloat16; parameters stay float32",
        choices=DTYPES,
    )


@dataclasses.dataclass(frozen=True)
class Model(Size):
    """The encoder that a training run builds."""

    encoder: str = key(
        "eat",
        "eat, or filter_bank: the time-averaged front end, a baseline without a model",
        choices=("eat", "filter_bank"),
    )
    weights: str = key(
        "",
        "file to start from (.safetensors, made by convert.eat or a run); box: the encoder "
        "in the package; none: random weights",
    )
    pooling: str = key(
        "attentive_statistics",
        "how tokens become one embedding: attentive_statistics, mean, cls, gem, max, gwrp, "
        "rdp or rdp_gem",
        choices=POOLINGS,
    )
    embedding_dim: int = key(
        256, "width of the embedding; 0: that of the pooled vector", least=0, most=65_536
    )
    attention: str = key(
        "none",
        "a trainable attention in place of SimAM (with features.simam=none): se, cbam or spatial",
    )
    runtime: str = key("jax", RUNTIME, choices=RUNTIMES)


@dataclasses.dataclass(frozen=True)
class Frozen(CheckedSettings):
    """The encoder of `evaluate --weights`, which is used without training."""

    pooling: str = key(
        "",
        "pooling of frozen weights: band_mean, mean, cls, gem, max, gwrp, rdp or rdp_gem; "
        "empty: that of the file, or band_mean if it has none",
        # Without attentive_statistics, the first, which a frozen encoder has no parameters for.
        choices=("band_mean", *(p for p in POOLINGS[1:] if p != "band_mean"), ""),
    )
    features: str = key(
        "weights",
        "front end of frozen weights: weights: that of the file's header; config: the "
        "section `features`; comma-separated names of keys of `features`: that of the header "
        "except for these keys (evaluate writes those that are set)",
    )
    block: int = key(
        -2,
        "number of the block whose output is pooled; -1, the last, is the most specialised "
        "in pre-training",
        least=-64,
        most=63,
    )

    def __post_init__(self):
        super().__post_init__()
        known = [field.name for field in dataclasses.fields(Features)]
        # The word config stands for the whole section and names no key.
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
        # The word weights stands for the file's own front end and names no key.
        return [] if names == ["weights"] else [name for name in names if name]


@dataclasses.dataclass(frozen=True)
class Parallel(CheckedSettings):
    """How several devices share the training state; every batch is divided among all of them."""

    shards: int = key(1, SHARDS)


@dataclasses.dataclass(frozen=True)
class Report(CheckedSettings):
    """The HTML report of a run."""

    page: bool = key(True, "whether to write report/index.html")
    map: str = key(
        "pca", "projection of the embeddings: pca or umap (extra `umap`)", choices=("pca", "umap")
    )
    clips: int = key(
        2,
        "clips of each machine and section with a picture and a player: so many with the "
        "highest scores, and so many that are most wrong",
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
        "seed of the initial weights, the order of clips, the augmentation and the held-out clips",
        least=0,
    )
    seeds: int = key(
        1,
        "number of runs, with the seeds seed, seed + 1, ...; their mean and deviation are reported",
        least=1,
        most=1000,
    )
    compiled: str = key(
        "~/.cache/asd_jax",
        "folder for compiled programs; empty: every run compiles again",
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
            # The factory's machines belong to no edition.
            check_machines(self.data.machine_names, self.data.year)
        # The name of an OpenVINO runtime includes its precision, so dtype could contradict it.
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
        "folder of sound files, searched with its subfolders (folders named test are left "
        "out); empty: only the zoo",
    )
    zoo_share: float = key(
        0.0, "share of every batch that comes from the zoo of synthetic machines", least=0, most=1
    )
    # 10.24 s, the length of EAT's own pre-training clips.
    frames: int = key(
        1024, "length of a clip in frames of 10 ms, a multiple of 16 x pieces", least=1
    )
    pieces: int = key(
        1,
        "number of pieces into which clips are cut in every second step, so that training "
        "includes short clips",
        least=1,
    )
    mix_share: float = key(
        0.0,
        "share of clips that are mixed with another one of their batch; the student of "
        "distill gets the sum",
        least=0,
        most=1,
    )
    mix_low_db: float = key(
        -10.0, "lowest power of a mixed clip over the other", least=-60, most=60
    )
    mix_high_db: float = key(
        15.0, "highest power of a mixed clip over the other", least=-60, most=60
    )
    gain_db: float = key(
        0.0, "largest random gain of the student's input in distill, up or down", least=0, most=60
    )
    equalizer_db: float = key(
        0.0,
        "standard deviation of the random frequency response of the student's input in distill",
        least=0,
        most=30,
    )
    speed: float = key(
        0.0,
        "largest relative change of speed, which a quarter of the recordings get",
        least=0,
        most=0.5,
    )

    def __post_init__(self):
        super().__post_init__()
        if self.mix_low_db > self.mix_high_db:
            raise InputError(
                f"mix_low_db={self.mix_low_db} must not exceed mix_high_db={self.mix_high_db}"
            )

    @property
    def of_distillation(self) -> dict[str, float]:
        """{name: value} of the keys that change the sound and are not zero; for distill alone."""
        names = ("mix_share", "gain_db", "equalizer_db")
        return {name: value for name in names if (value := getattr(self, name))}


@dataclasses.dataclass(frozen=True)
class PretrainingModel(Size):
    """The encoder that pre-training builds."""

    weights: str = key(
        "none",
        "none, or a file to continue from, of any filter bank: made by convert.eat (with "
        "--with_decoder, its decoder continues too), a run, or pre-training",
    )
    block: int = key(
        -2,
        "number of the block whose output is pooled when the file is used without fine-tuning",
        least=-64,
        most=63,
    )
    file_dtype: str = key(
        "float32",
        "number format of the weights that are written; float16 takes half the space",
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

    seed: int = key(0, "seed of the initial weights, the sounds, the crops and the masks", least=0)
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


def config_of_file(path: Path) -> ConfigDict:
    """Returns the config of a run's config.json, or the defaults if there is no such file.

    Raises:
        InputError: the file is not the config of a run.
    """
    config = config_dict(RunConfig())
    if path.is_file():
        try:
            config.update(read_json(path))
        # ConfigDict reports unknown keys and wrong types by these exceptions.
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: not the config of a run ({error})") from error
    return config


def read_config(kind: type[T], values: "ConfigDict | Mapping[str, Any]") -> T:
    """Returns the settings that a ConfigDict or the content of a config.json describes.

    Every key is checked.

    Raises:
        InputError: a key is unknown, missing or has a wrong value; the message names the key and,
            for an unknown one, the nearest known key.
    """
    # A config file may let one key refer to another; their values are put in first.
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
    # A key that is set to its default on purpose shows only on the command line, hence `given`.
    names = [
        field.name
        for field in dataclasses.fields(Features)
        if f"features.{field.name}" in given
        or getattr(config.features, field.name) != getattr(default, field.name)
    ]
    # Without such keys, the file's own front end is used.
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
