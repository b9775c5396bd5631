"""Tokens of a frozen EAT, computed once."""

import dataclasses
import functools
import json
import resource

import jax
import numpy as np
import pytest
import soundfile
from machine_sound import sound

from asd_jax.config import Backbone, Data, Model, RunConfig
from asd_jax.data.clips import Clip
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.eat import EATConfig
from asd_jax.models.encoder import EncoderConfig, Pooling
from asd_jax.run import cached_tokens as module
from asd_jax.run.cached_tokens import FILE, cached_tokens, remove_tokens
from asd_jax.run.clips import clip_windows
from asd_jax.runtime.errors import InputError
from asd_jax.training.clips import TrainingClips
from asd_jax.training.fine_tuning import fine_tune
from asd_jax.training.loop import Job
from asd_jax.training.settings import Augmentation, FineTuning, Log, Optimizer
from asd_jax.training.weights import random_eat

SIZES = EATConfig(32, 2, 2)
ENCODER = EncoderConfig(FrontEnd(simam=SimAM("local")), SIZES, Pooling(embedding_dim=16))
CONFIG = RunConfig(
    data=Data(clip_seconds=0.5),
    backbone=Backbone(strategy="frozen", cache_tokens=True),
    augment=Augmentation(mixup="none", mask_probability=0.0),
    optimizer=Optimizer(batch_size=4, steps=6, learning_rate=3e-3),
)
EAT = (SIZES, jax.tree.map(np.asarray, random_eat(SIZES, 0)))


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    clips = []
    for n in range(10):
        path = folder / f"{n}.wav"
        soundfile.write(path, sound(n, 0.5, fault=0.1 * (n % 2)), 16000)
        clips.append(Clip(str(path), "fan", "00", "train", "source", 0, f"speed_{n % 2}"))
    return clip_windows(CONFIG, clips, training=True)


def trained(windows, workdir, tokens):
    settings = CONFIG.fine_tuning
    if tokens is None:
        settings = dataclasses.replace(settings, cache_tokens=False)
    read = module.window_reader(CONFIG, windows)
    data = TrainingClips(windows, read, tokens=tokens)
    fine_tune(ENCODER, EAT[1], data, settings, Job(workdir, log=Log(every=1)))
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


@pytest.mark.slow
def test_training_on_kept_tokens_gives_the_same_losses(windows, tmp_path):
    tokens = cached_tokens(CONFIG, ENCODER, EAT, windows, tmp_path / "tokens")
    plain = trained(windows, tmp_path / "plain", None)
    kept = trained(windows, tmp_path / "kept", tokens)
    assert len(plain) == 6 and plain[0] != plain[-1]
    np.testing.assert_allclose(kept, plain, rtol=9e-7)  # measured 4.3e-7
    remove_tokens(tmp_path / "tokens")
    assert not (tmp_path / "tokens").exists()


def test_shards_that_are_done_are_not_computed_again(windows, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SHARD", 4)
    monkeypatch.setattr("asd_jax.run.shards.SHARD", 4)
    tokens = cached_tokens(CONFIG, ENCODER, EAT, windows, tmp_path)
    assert len(tokens) == 10
    # They stay on disk; a row is a copy that no file is kept open for.
    assert all(isinstance(part, np.memmap) for part in tokens._parts)
    assert type(tokens[9]) is np.ndarray
    read = module.window_reader(CONFIG, windows)
    chosen = (0, 3, 5, 9)
    waves = np.stack([read(windows[n]) for n in chosen])
    simam = np.full(4, ENCODER.front_end.simam.mode_of("fan"), np.int32)
    pooling = Pooling("mean", embedding_dim=0)
    plain = dataclasses.replace(ENCODER, pooling=pooling)
    tokens_of = jax.jit(functools.partial(module._tokens_of, plain, np.float32))
    wanted = tokens_of({"eat": EAT[1]}, waves, simam)
    # measured 0, as the program is the same; other processors may compile it otherwise
    np.testing.assert_allclose([tokens[n] for n in chosen], wanted, atol=2e-5)
    assert tokens[0].dtype == np.float32
    (tmp_path / "000001" / FILE).unlink()
    written = []
    work = module._write_tokens
    monkeypatch.setattr(
        module, "_write_tokens", lambda *args: (written.append(args[3].name), work(*args))
    )
    again = cached_tokens(CONFIG, ENCODER, EAT, windows, tmp_path)
    assert written == ["000001"]
    np.testing.assert_array_equal(again[9], tokens[9])


def test_what_would_change_the_tokens_is_refused_with_the_remedy():
    with pytest.raises(InputError, match="`strategy=frozen` `mixup=none` `mask_probability=0`"):
        FineTuning(cache_tokens=True)
    with pytest.raises(InputError, match="`attention=none`"):
        dataclasses.replace(CONFIG, model=Model(attention="se")).validate()


def test_a_disk_that_is_too_small_is_said_before_anything_is_computed(
    windows, tmp_path, monkeypatch
):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(InputError, match="tokens of 10 clips take .* GB"):
        cached_tokens(CONFIG, ENCODER, EAT, windows, tmp_path)
    with pytest.raises(InputError, match="`weights=FILE`"):
        cached_tokens(CONFIG, ENCODER, None, windows, tmp_path)
    monkeypatch.setattr(module.processes, "is_distributed", lambda: True)
    with pytest.raises(InputError, match="and one process"):
        cached_tokens(CONFIG, ENCODER, EAT, windows, tmp_path)


def test_tokens_need_their_own_size_less_what_is_done_already(windows, tmp_path, monkeypatch):
    folder = tmp_path / "deep" / "tokens"
    free = {"bytes": 0}
    monkeypatch.setattr(
        module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": free["bytes"]})
    )
    pooling = Pooling("mean", embedding_dim=0)
    encoder = dataclasses.replace(ENCODER, pooling=pooling)

    def check():
        module._check_room(encoder, {"eat": EAT[1]}, windows, folder)

    # 64 frames x 128 filters in patches of 16 x 16 and the CLS token, of 32 float32 each
    needed = 10 * (4 * 8 + 1) * 32 * 4
    free["bytes"] = needed
    check()
    free["bytes"] = needed - 1
    with pytest.raises(InputError, match="tokens of 10 clips take 0.0 GB"):
        check()
    (folder / "000000").mkdir()
    (folder / "000000" / FILE).write_bytes(b"x")
    check()


def test_the_config_says_how_many_threads_read_the_clips(windows, tmp_path, monkeypatch):
    asked = {}

    def clip_batches(*of, **options):
        asked.update(options)
        return []

    monkeypatch.setattr(module, "clip_batches", clip_batches)
    config = dataclasses.replace(CONFIG, data=Data(clip_seconds=0.5, threads=7))
    module._write_tokens(config, ENCODER, {}, tmp_path, windows)
    assert asked == {"batch_size": 4, "threads": 7}


def test_a_full_disk_is_one_message_and_ends_no_process(windows, tmp_path):
    """Memory-mapped tokens would meet SIGBUS; a limit of the file's size is a disk that is full."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(InputError, match=r"tokens.npy: cannot be written \(File too large"):
            cached_tokens(CONFIG, ENCODER, EAT, windows, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
    assert not list(tmp_path.rglob("*.part"))
