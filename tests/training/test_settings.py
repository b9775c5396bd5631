import re

import pytest

from asd_jax.models.settings import LoRA
from asd_jax.runtime.errors import InputError
from asd_jax.training.settings import FineTuning, Optimizer, Pretraining


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
    assert Optimizer(epochs=0).total_steps(100) == 0
    said = "batch_size=32 is more than 2 x 15 clips: no step to take"
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        Optimizer(epochs=2, batch_size=32).total_steps(15)


def test_snapshots_are_never_at_the_ends():
    assert Optimizer(snapshots=3).snapshot_steps(60) == [40, 50]
    assert Optimizer(snapshots=64).snapshot_steps(2) == [1]


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
    keys = {"lora_rank": 4, "lora_alpha": 8.0, "lora_targets": "qkv, fc1", "lora_init": "peft"}
    assert FineTuning(strategy="lora", **keys).lora == LoRA(4, 8.0, ("qkv", "fc1"), "peft")
    assert FineTuning(strategy="full", **keys).lora is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mask_share": 0.0}, "mask_share=0 hides no patch, so that nothing is left to predict"),
        ({"decoder_kernel": 2}, "decoder_kernel=2 must be odd"),
        (
            {"decoder_width": 6, "decoder_heads": 3},
            "decoder_width=6 must be divisible by 4 and by decoder_heads=3",
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
    for wrong in ({"objective": "distill"}, {"teachers": "d.npz"}):
        with pytest.raises(InputError, match="^objective=.*: distill needs teachers, and no other"):
            Pretraining(**wrong)
