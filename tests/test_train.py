"""The command train: its flags are what the run gets."""

from pathlib import Path

import pytest

import asd_jax.train


@pytest.fixture
def trained(monkeypatch):
    calls = []
    monkeypatch.setattr(
        "asd_jax.run.train.train_seeds",
        lambda config, workdir, **options: calls.append((config, workdir, options)),
    )
    return calls


def test_the_run_gets_the_config_with_its_changes_and_the_workdir(command, trained):
    flags = ["--config=configs/quickstart.py:smoke", "--config.optimizer.epochs=3"]
    assert command(asd_jax.train, *flags, "--workdir=runs/a")[0] == 0
    assert command(asd_jax.train, *flags, "--workdir=runs/a", "--overwrite")[0] == 0
    assert [call[1:] for call in trained] == [
        (Path("runs/a"), {"overwrite": False}),
        (Path("runs/a"), {"overwrite": True}),
    ]
    config = trained[0][0]
    assert (config.optimizer.epochs, config.optimizer.batch_size) == (3, 8)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ["--workdir=runs/a"],
            "error: --config=... is needed: config file, e.g. configs/toycar.py, or "
            "configs/toycar.py:smoke",
        ),
        (
            ["--config=configs/quickstart.py:smoke"],
            "error: --workdir=... is needed: folder for checkpoints, weights, embeddings and "
            "results",
        ),
    ],
)
def test_a_flag_that_is_missing_is_named_with_its_meaning(command, trained, flags, said):
    status, _, err = command(asd_jax.train, *flags)
    assert status == 2 and err.splitlines()[0].startswith(said) and not trained
