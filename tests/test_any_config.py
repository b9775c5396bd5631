"""Whatever is typed after --config.: the smoke run runs, or one message says why not."""

import re

import hypothesis
import pytest
from hypothesis import strategies as st

import asd_jax.train
from asd_jax.config import RunConfig, described, read_config
from asd_jax.data.factory import write_factory
from asd_jax.run.encoder import check_run
from asd_jax.runtime.errors import InputError
from configs import base, quickstart

# What would only be slow or large; the folders are the test's own.
LEFT_OUT = {"data.root", "data.cache", "data.machines", "model.weights", "seeds", "report.clips"}
BOUNDED = {
    "data.clip_seconds": [-1.0, 0.0, 0.05, 0.3, 0.5],
    "optimizer.epochs": [-1, 0, 1, 2],
    "optimizer.steps": [-1, 0, 1, 2],
    "optimizer.accumulate": [-1, 0, 1, 2, 3],
    "model.depth": [-1, 1, 2],
    "model.width": [-4, 3, 32, 64],
    "data.threads": [-1, 0, 1, 4],
}
WORDS = """
none global local even mel gammatone given train test held_out waveform spectrogram fit window
bucket repeat zeros mean near soxr torchaudio error skip eat filter_bank base tiny
attentive_statistics cls band_mean float32 bfloat16 se cbam
arcface adacos stop knn gmm knn+mahalanobis cosine euclidean min pooled max rank gamma quantile
""".split()


def leaves(table, prefix=""):
    for key, value in table.items():
        yield from (
            leaves(value, f"{prefix}{key}.") if hasattr(value, "keys") else [(prefix + key, value)]
        )


def words_of(key):
    """The words in a key's meaning, and others."""
    meaning = MEANINGS[key]
    return sorted({word.strip(".,;:()") for word in meaning.split()} & set(WORDS)) or WORDS


def values(key, default):
    if key in BOUNDED:
        return st.sampled_from(BOUNDED[key])
    if isinstance(default, bool):
        return st.booleans()
    if isinstance(default, int):
        return st.sampled_from([-1, 0, 1, 2, 3, 8, 16, 64, 2024])
    if isinstance(default, float):
        return st.sampled_from(
            [-1.0, 0.0, 1e-6, 0.3, 1.0, 2.5, 8000.0, 1e30, float("nan"), float("inf")]
        )
    return st.one_of(st.sampled_from(words_of(key)), st.sampled_from(["", "nonsense"]))


MEANINGS = {key: meaning for key, _, meaning in described(RunConfig())}
KEYS = {key: value for key, value in leaves(base.get_config()) if key not in LEFT_OUT}
OVERRIDES = st.lists(st.sampled_from(sorted(KEYS)), min_size=1, max_size=3, unique=True).flatmap(
    lambda keys: st.fixed_dictionaries({key: values(key, KEYS[key]) for key in keys})
)


def blames(message, key):
    """Whether a message of one line names the key: with its section at the start, or as advice in
    backquotes, of which a command makes its flag.
    """
    section, _, name = key.rpartition(".")
    word = re.search(rf"\b{re.escape(name)}\b", message) is not None
    named = (message.startswith(section) and word) or f"`{name}=" in message
    return named and "\n" not in message


@hypothesis.settings(max_examples=100, derandomize=True, deadline=None)
@hypothesis.given(OVERRIDES)
def test_any_config_is_found_right_or_wrong_before_anything_is_read(overrides):
    config = quickstart.get_config("smoke")
    config.update_from_flattened_dict(overrides)
    try:
        check_run(read_config(RunConfig, config))
    except InputError as error:
        assert any(blames(str(error), key) for key in overrides), (overrides, error)


@pytest.mark.slow
@hypothesis.settings(
    max_examples=4,
    derandomize=True,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
)
@hypothesis.given(OVERRIDES)
def test_any_config_runs_or_says_why_not(command, tmp_path_factory, overrides):
    folder = tmp_path_factory.mktemp("any")
    sizes = {"train_source": 6, "train_target": 2, "test_per_condition": 2}
    write_factory(folder / "data", machines=["fan", "gearbox"], clip_seconds=0.5, **sizes)
    flags = [
        "--config=configs/quickstart.py:smoke",
        f"--workdir={folder / 'run'}",
        f"--config.data.root={folder / 'data'}",
    ]
    flags += ["--config.data.clip_seconds=0.5", "--config.model.depth=1", "--config.report.clips=0"]
    status, out, err = command(
        asd_jax.train, *flags, *(f"--config.{key}={value}" for key, value in overrides.items())
    )
    if status == 0:
        assert (folder / "run" / "results.json").exists()
    else:
        said = err.removeprefix("error: ").removesuffix("\n")
        assert status == 2 and said != err, (overrides, err)
        # What a flag cannot be is said before there is a config.
        flags = [f"--config.{key}=" in said.splitlines()[0] for key in overrides]
        assert any(flags) or any(blames(said, key) for key in overrides), (overrides, err)
