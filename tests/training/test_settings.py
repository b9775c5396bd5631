import dataclasses
import math
import re

import pytest

from asd_jax.models.settings import LoRA
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.settings import to_dict
from asd_jax.training.settings import (
    FineTuning,
    Head,
    Log,
    Objective,
    Optimizer,
    Pretraining,
    PretrainingOptimizer,
)

# What a run does of which the config says nothing, and the range of each number.
FINE_TUNING = {
    "epochs": (10, "[0, inf)"),
    "steps": (0, "[0, inf)"),
    "batch_size": (32, "[1, inf)"),
    "accumulate": (1, "[1, inf)"),
    "learning_rate": (5e-5, "(0, inf)"),
    "warmup_fraction": (0.1, "[0, 1]"),
    "weight_decay": (0.05, "[0, inf)"),
    "clip_norm": (1.0, "(0, inf)"),
    "ema": (0.0, "[0, 1)"),
    "snapshots": (1, "[1, 64]"),
    "on_bad_loss": ("stop", ""),
    "strategy": ("full", ""),
    "thaw_fraction": (0.5, "[0, 1]"),
    "lora_rank": (64, "[1, inf)"),
    "lora_alpha": (64.0, "(0, inf)"),
    "lora_init": ("peft", ""),
    "lora_targets": ("qkv", ""),
    "layer_decay": (1.0, "[0, 1]"),
    "drop_path": (0.0, "[0, 1)"),
    "remat": (False, ""),
    "cache_tokens": (False, ""),
    "head": ("arcface", ""),
    "scale": (30.0, "(0, inf)"),
    "margin": (0.5, "[0, inf)"),
    "subclusters": (16, "[1, inf)"),
    "scale_rule": ("nearest", ""),
    "subcentres": (1, "[1, inf)"),
    "subcentres_of": ("all", ""),
    "train_centres": (True, ""),
    "mixup": ("waveform", ""),
    "mixup_alpha": (0.4, "(0, inf)"),
    "mixup_probability": (0.5, "[0, 1]"),
    "noise_probability": (0.0, "[0, 1]"),
    "noise_low_db": (5.0, "[-60, 60]"),
    "noise_high_db": (20.0, "[-60, 60]"),
    "mask_frames": (80, "[0, inf)"),
    "mask_filters": (80, "[0, inf)"),
    "mask_probability": (0.5, "[0, 1]"),
}
# EAT's published recipe.
PRETRAINING = {
    "objective": ("eat", ""),
    "teachers": ("", ""),
    "steps": (400_000, "[1, inf)"),
    "views": (16, "[1, inf)"),
    "mask_share": (0.8, "[0, 1)"),
    "mask_adjust": (0.07, "[0, 1]"),
    "mask_block": (5, "[1, inf)"),
    "mask_noise": (0.01, "[0, inf)"),
    "decoder_layers": (6, "[1, inf)"),
    "decoder_kernel": (3, "[1, inf)"),
    "decoder_groups": (16, "[1, inf)"),
    "decoder_width": (128, "[4, inf)"),
    "decoder_heads": (4, "[1, inf)"),
    "weighting": ("published", ""),
    "utterance_weight": (1.0, "[0, inf)"),
    "ema_start": (0.9998, "[0, 1]"),
    "ema_end": (0.99999, "[0, 1]"),
    "ema_steps": (100_000, "[1, inf)"),
    "least_spread": (0.05, "[0, inf)"),
    "batch_size": (48, "[1, inf)"),
    "learning_rate": (5e-4, "(0, inf)"),
    "warmup_fraction": (53_333 / 400_000, "[0, 1]"),
    "weight_decay": (0.05, "[0, inf)"),
    "decay_everything": (True, ""),
    "clip_norm": (4.0, "(0, inf)"),
    "on_bad_loss": ("stop", ""),
}
LOG = {"every": (20, "[1, inf)"), "checkpoint_every": (200, "[1, inf)")}
KEYS = [(FineTuning, FINE_TUNING), (Pretraining, PRETRAINING), (Log, LOG)]
# Keys that must fit another one, which is given its own value with them.
TOGETHER = {
    "noise_low_db": {"noise_high_db": 60.0},
    "noise_high_db": {"noise_low_db": -60.0},
    "decoder_width": {"decoder_heads": 1},
    "mask_share": {"objective": "distill", "teachers": "a.b:c"},
}


@pytest.mark.parametrize(("settings", "keys"), KEYS)
def test_a_run_of_which_nothing_is_said_follows_the_published_recipe(settings, keys):
    assert to_dict(settings()) == {name: default for name, (default, _) in keys.items()}


def ends(default, interval):
    """The values at the ends of an interval: (permitted, refused), without infinite ones."""
    permitted = []
    refused = []
    for end, closed, outwards in (
        (interval[1:].split(", ")[0], interval[0] == "[", -math.inf),
        (interval[:-1].split(", ")[1], interval[-1] == "]", math.inf),
    ):
        if end == "inf":
            continue
        value = type(default)(end)
        step = math.copysign(1, outwards)
        whole = isinstance(default, int)
        beyond = value + int(step) if whole else math.nextafter(value, outwards)
        inside = value - int(step) if whole else math.nextafter(value, -outwards)
        permitted.append(value if closed else inside)
        refused.append(beyond if closed else value)
    return permitted, refused


@pytest.mark.parametrize(
    ("settings", "name", "default", "interval"),
    [(of, name, *key) for of, keys in KEYS for name, key in keys.items() if key[1]],
)
def test_every_number_has_its_range_and_both_ends_are_as_written(settings, name, default, interval):
    permitted, refused = ends(default, interval)
    for value in permitted:
        changes = {name: value, **TOGETHER.get(name, {})}
        assert getattr(settings(**changes), name) == value
    for value in refused:
        with pytest.raises(InputError, match=f"^{name}=.* must "):
            settings(**{name: value})


def test_only_the_head_may_be_a_function_of_the_users():
    assert FineTuning(head="my.heads:softmax").head == "my.heads:softmax"
    for name in ("strategy", "mixup", "scale_rule", "subcentres_of", "on_bad_loss", "lora_init"):
        with pytest.raises(InputError, match=f"^{name}='my.heads:softmax'; known: "):
            FineTuning(**{name: "my.heads:softmax"})
    for name in ("objective", "weighting", "on_bad_loss"):
        with pytest.raises(InputError, match=f"^{name}='other'; known: "):
            Pretraining(**{name: "other"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strategy": "half"}, "^strategy='half'; known: full, frozen, lora, gradual"),
        ({"head": "softmax"}, "^head='softmax'; known: arcface, adacos, subcluster_adacos"),
        (
            {"batch_size": 8, "accumulate": 3},
            "accumulate=3 parts do not divide batch_size=8",
        ),
        ({"ema": 1.0}, "^ema=1.0 must be at least 0 and below 1"),
        ({"weight_decay": float("nan")}, "^weight_decay=nan is not a finite number"),
        ({"strategy": "lora", "lora_targets": "q"}, "LoRA targets q; known: qkv, out, fc1, fc2"),
        ({"layer_decay": 1.5}, "^layer_decay=1.5 must lie in 0..1"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        FineTuning(**changes)


def test_epochs_give_whole_steps_and_steps_replace_them():
    assert Optimizer(epochs=3, batch_size=32).total_steps(100) == 9  # 300 clips
    assert Optimizer(epochs=3, batch_size=32, steps=7).total_steps(100) == 7
    assert Optimizer(epochs=0).total_steps(100) == Optimizer(epochs=0).total_steps(0) == 0
    assert Optimizer(epochs=1, batch_size=32).total_steps(32) == 1
    assert Optimizer(batch_size=6, accumulate=3).accumulate == 3
    said = "batch_size=32 is more than 2 x 15 clips: no step to take"
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        Optimizer(epochs=2, batch_size=32).total_steps(15)


def test_snapshots_are_never_at_the_ends():
    assert Optimizer(snapshots=3).snapshot_steps(60) == [40, 50]
    assert Optimizer(snapshots=2).snapshot_steps(60) == [45]
    assert Optimizer(snapshots=64).snapshot_steps(2) == [1]
    assert Optimizer(snapshots=64).snapshot_steps(1) == []


EVERY = ("encoder/eat/cls", "encoder/eat/block_0/attention/qkv/lora_a", "head/centres", "pooling")
TRAINED = {
    "full": EVERY,
    "gradual": EVERY,
    "frozen": ("head/centres", "pooling"),
    "lora": ("encoder/eat/block_0/attention/qkv/lora_a", "head/centres", "pooling"),
}


@pytest.mark.parametrize("strategy", TRAINED)
def test_a_strategy_trains_its_parameters_alone(strategy):
    settings = FineTuning(strategy=strategy)
    assert tuple(path for path in EVERY if settings.trains(path)) == TRAINED[strategy]
    fixed = FineTuning(strategy=strategy, train_centres=False)
    assert not fixed.trains("head/centres")


def test_updates_of_low_rank_are_those_of_their_strategy():
    keys = {"lora_rank": 4, "lora_alpha": 8.0, "lora_targets": "qkv,, fc1", "lora_init": "he"}
    assert FineTuning(strategy="lora", **keys).lora == LoRA(4, 8.0, ("qkv", "fc1"), "he")
    assert FineTuning(strategy="full", **keys).lora is None


def test_the_range_of_the_added_noise_must_not_be_empty():
    assert FineTuning(noise_low_db=7.0, noise_high_db=7.0).noise_low_db == 7
    with pytest.raises(InputError, match="^noise_low_db=8.0 is above noise_high_db=7.0$"):
        FineTuning(noise_low_db=8.0, noise_high_db=7.0)


KEPT_TOKENS = {
    "cache_tokens": True,
    "strategy": "frozen",
    "mixup": "none",
    "mask_probability": 0.0,
}


@pytest.mark.parametrize(
    ("name", "value", "instead"),
    [
        ("strategy", "full", "strategy=frozen"),
        ("mixup", "spectrogram", "mixup=none"),
        ("mask_probability", 0.5, "mask_probability=0"),
        ("noise_probability", 0.5, "noise_probability=0"),
        ("drop_path", 0.5, "drop_path=0"),
    ],
)
def test_tokens_are_kept_only_where_no_step_changes_them(name, value, instead):
    changes = {**KEPT_TOKENS, name: value}
    said = f"with {name}={value} they differ from step to step; set `{instead}`, or `cache_tokens="
    with pytest.raises(InputError, match=re.escape(said)):
        FineTuning(**changes)
    assert FineTuning(**{**changes, "cache_tokens": False}).cache_tokens is False


@pytest.mark.parametrize("name", ["mask_frames", "mask_filters"])
def test_stripes_of_no_width_do_not_keep_tokens_from_being_kept(name):
    widths = {"mask_frames": 0, "mask_filters": 0}
    settings = FineTuning(**{**KEPT_TOKENS, "mask_probability": 0.5, **widths})
    assert settings.cache_tokens
    with pytest.raises(InputError, match="`mask_probability=0`"):
        dataclasses.replace(settings, **{name: 1})


def test_parts_of_the_settings_come_together():
    pretraining = Pretraining(views=2, clip_norm=3.0)
    whole = to_dict(pretraining)
    names = {field.name for field in dataclasses.fields(Objective)}
    parts = [
        cls(**{name: value for name, value in whole.items() if (name in names) == mine})
        for cls, mine in ((Objective, True), (PretrainingOptimizer, False))
    ]
    assert Pretraining.of(*parts) == pretraining
    assert FineTuning.of(Optimizer(epochs=3), Head(margin=0.1)) == FineTuning(epochs=3, margin=0.1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mask_share": 0.0}, "mask_share=0 hides no patch, so that nothing is left to predict"),
        ({"decoder_kernel": 2}, "decoder_kernel=2 must be odd"),
        ({"decoder_width": 0}, "decoder_width=0 must be at least 4"),
        (
            {"decoder_width": 6, "decoder_heads": 3},
            "decoder_width=6 must be divisible by 4 and by decoder_heads=3",
        ),
        (
            {"decoder_width": 8, "decoder_heads": 3},
            "decoder_width=8 must be divisible by 4 and by decoder_heads=3",
        ),
    ],
)
def test_objectives_that_cannot_be_are_named(changes, said):
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        Pretraining(**changes)


def test_distillation_and_its_teachers_come_together():
    assert Pretraining(objective="distill", teachers="a.b:c, d.npz").teacher_names == [
        "a.b:c",
        "d.npz",
    ]
    assert Pretraining(objective="distill", teachers="a.b:c, ,", mask_share=0.0).mask_share == 0
    for wrong in ({"objective": "distill"}, {"teachers": "d.npz"}):
        with pytest.raises(InputError, match="^objective=.*: distill needs teachers, and no other"):
            Pretraining(**wrong)
