"""Files beside the embeddings."""

import json
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from any_json import ANY_JSON, PROPERTY
from hypothesis import given

from asd_jax.config import RunConfig
from asd_jax.data.clips import Clip
from asd_jax.data.windows import Window
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.eat import EATConfig
from asd_jax.models.encoder import EncoderConfig, Pooling
from asd_jax.run import embed
from asd_jax.run.embed import (
    FRONT_END,
    SKIPPED,
    embed_shard,
    embedding_settings,
    join_shards,
    read_skipped,
    versions,
    window_embeddings,
    without_path,
    write_front_end,
)
from asd_jax.run.manifest import Manifest
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import read_json, write_json
from asd_jax.runtime.settings import with_values
from asd_jax.scoring.embeddings import Embeddings


@PROPERTY
@given(content=ANY_JSON)
def test_a_list_of_skipped_clips_of_any_shape_is_one_or_refused(tmp_path, content):
    path = tmp_path / SKIPPED
    path.write_text(json.dumps(content))
    try:
        found = read_skipped(path)
    except InputError as error:
        assert str(path) in str(error)
    else:
        assert (
            all({"file", "reason"} == set(clip) for clip in found) and found == content["skipped"]
        )


ENCODER = EncoderConfig(FrontEnd("even"), EATConfig(32, 1, 2), Pooling("mean", -1, 0))


def vectors_of(clips, value=1.0):
    ones = np.full((len(clips), 2), value, np.float32)
    columns = ("section", "split", "domain", "label", "attribute")
    files = np.array([Path(clip.path).name for clip in clips])
    values = [np.array([getattr(clip, name) for clip in clips]) for name in columns]
    return Embeddings(ones, files, *values)


@pytest.fixture
def embedded(monkeypatch):
    """The clips that were embedded, by the names of their files; each file must be readable."""
    embedded = []

    def embed_machine(config, encoder, params, clips):
        if bad := [clip for clip in clips if not Path(clip.path).read_text()]:
            raise InputError(f"{bad[0].path}: empty")
        embedded.append([Path(clip.path).name for clip in clips])
        return vectors_of(clips), vectors_of(clips, 2.0)

    def without_unreadable(config, clips):
        bad = [clip for clip in clips if not Path(clip.path).read_text()]
        return [clip for clip in clips if clip not in bad], [
            {"file": clip.path, "reason": "empty"} for clip in bad
        ]

    monkeypatch.setattr(embed, "embed_machine", embed_machine)
    monkeypatch.setattr(embed, "without_unreadable", without_unreadable)
    return embedded


@pytest.fixture
def clips(tmp_path):
    """Clips of two machines."""
    clips = []
    for machine in ("fan", "pump"):
        for n in range(3):
            path = tmp_path / "data" / machine / "train" / f"{n}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("sound")
            clips.append(Clip(str(path), machine, "00", "train", "source", 0, ""))
    return clips


def run_embed(clips, folder, **options):
    values = options.pop("values", {})
    config = with_values(RunConfig(), values)
    return embed.embed_clips(config, ENCODER, options.pop("params", {}), clips, folder, **options)


def left(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


JOINED = {f"{folder}{name}.npz" for folder in ("", "filter_bank/") for name in ("fan", "pump")}


def test_every_machine_has_its_embeddings_and_those_of_the_filter_bank(
    embedded, clips, tmp_path, capsys
):
    folder = tmp_path / "run"
    assert run_embed(clips, folder) == 6
    assert left(folder) == JOINED | {"made_of.json"} and not (folder / "shards").exists()
    assert set(Manifest(folder).files) == JOINED
    names = [f"{n}.wav" for n in range(3)]
    assert embedded == [names, names]
    for machine in ("fan", "pump"):
        own = Embeddings.load(folder / f"{machine}.npz")
        plain = Embeddings.load(folder / "filter_bank" / f"{machine}.npz")
        assert own.files.tolist() == plain.files.tolist() == names
        assert (own.vectors == 1).all() and (plain.vectors == 2).all()
    assert "embedded again" not in capsys.readouterr().out
    # What is valid stays; what is not is made again, with a word about it.
    assert run_embed(clips, folder) == 0 and len(embedded) == 2
    (folder / "filter_bank" / "fan.npz").write_bytes(b"damaged")
    assert run_embed(clips, folder) == 3 and len(embedded) == 3
    assert "fan: other recordings, weights or settings" in capsys.readouterr().out
    assert run_embed(clips, folder, params={"eat": np.ones(3)}) == 6
    assert run_embed(clips, folder, params={"eat": np.ones(3)}) == 0


def test_a_worker_embeds_and_leaves_the_joining_to_another(embedded, clips, tmp_path):
    folder = tmp_path / "run"
    assert run_embed(clips, folder, join=False) == 6
    shards = {
        f"shards/{m}/000000/{name}"
        for m in ("fan", "pump")
        for name in ("encoder.npz", "filter_bank.npz", SKIPPED, "made_of.json")
    }
    assert {name for name in left(folder) if ".lock" not in name} == shards
    assert run_embed(clips, folder) == 0
    assert left(folder) == JOINED | {"made_of.json"}


def test_the_first_process_alone_removes_shards(embedded, clips, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    run_embed(clips, folder, join=False)
    with monkeypatch.context() as patch:
        patch.setattr(embed.processes, "is_first", lambda: False)
        embed._remove(embed.Shards(folder / "shards" / "fan", ("encoder.npz",), str, "clips"))
    assert (folder / "shards" / "fan" / "000000" / "encoder.npz").exists()


def test_a_clip_that_cannot_be_read_is_left_out_and_listed(embedded, clips, tmp_path):
    folder = tmp_path / "run"
    Path(clips[1].path).write_text("")
    assert run_embed(clips, folder) == 6
    assert Embeddings.load(folder / "fan.npz").files.tolist() == ["0.wav", "2.wav"]
    listed = read_skipped(folder / f"fan_{SKIPPED}")
    assert listed == [{"file": "fan/train/1.wav", "reason": "empty"}]
    assert not (folder / f"pump_{SKIPPED}").exists()
    # Mended, it is listed no more.
    Path(clips[1].path).write_text("sound")
    run_embed(clips, folder)
    assert len(Embeddings.load(folder / "fan.npz").files) == 3
    assert not (folder / f"fan_{SKIPPED}").exists()


def test_a_machine_of_which_no_clip_can_be_read_is_named_with_the_first(embedded, clips, tmp_path):
    for clip in clips[:3]:
        Path(clip.path).write_text("")
    said = "machine fan: none of its clips can be read; the first, fan/train/0.wav: empty"
    with pytest.raises(InputError, match=f"^{said}$"):
        run_embed(clips, tmp_path / "run")


def test_an_error_that_is_of_no_clip_is_not_taken_for_one(clips, tmp_path, monkeypatch):
    def fails(*_):
        raise InputError("no memory")

    monkeypatch.setattr(embed, "embed_machine", fails)
    monkeypatch.setattr(embed, "without_unreadable", lambda config, clips: (clips, []))
    with pytest.raises(InputError, match="^no memory$"):
        embed_shard(RunConfig(), ENCODER, {}, tmp_path, clips)


def test_processes_that_embed_together_agree_first_on_what_can_be_read(
    embedded, clips, tmp_path, monkeypatch
):
    monkeypatch.setattr(embed.processes, "is_distributed", lambda: True)
    Path(clips[0].path).write_text("")
    embed_shard(RunConfig(), ENCODER, {}, tmp_path, clips[:3])
    assert embedded == [["1.wav", "2.wav"]]
    noted = [{"file": "fan/train/0.wav", "reason": "empty"}]
    assert read_json(tmp_path / SKIPPED) == {"skipped": noted}


def test_parts_are_joined_in_order_although_one_has_no_clip(clips, tmp_path):
    shards = [tmp_path / f"{n:06}" for n in range(3)]
    for n, shard in enumerate(shards):
        shard.mkdir()
        bad = [{"file": "x", "reason": "y"}] if n == 1 else []
        write_json(shard / SKIPPED, {"skipped": bad})
        if n != 1:
            vectors_of(clips[:2], n).save(shard / "encoder.npz")
            vectors_of(clips[:2], 5.0).save(shard / "filter_bank.npz")
    join_shards(shards, "fan", tmp_path / "run")
    found = Embeddings.load(tmp_path / "run" / "fan.npz")
    assert found.vectors[:, 0].tolist() == [0, 0, 2, 2]
    assert read_skipped(tmp_path / "run" / f"fan_{SKIPPED}") == [{"file": "x", "reason": "y"}]


def test_embeddings_depend_on_these_settings():
    config = with_values(RunConfig(), {"data.pad": "zeros", "optimizer.batch_size": 5})
    found = embedding_settings(config, ENCODER)
    assert found.pop("encoder")["front_end"]["spacing"] == "even"
    known = versions()
    assert found == {
        "clip_seconds": 10.0,
        "length": "fit",
        "pad": "zeros",
        "hop_seconds": 5.0,
        "channel": "mean",
        "resampler": "soxr",
        "dtype": "float32",
        "batch_size": 5,
        "jax": known["jax"],
        "flax": known["flax"],
    }
    other = with_values(config, {"model.runtime": "openvino"})
    assert embedding_settings(other, ENCODER)["runtime"] == "openvino"
    assert set(known) == {"jax", "flax", "numpy", "scipy", "scikit-learn"}


def window_of(file, start=0, **changes):
    values = {"machine": "fan", "section": "00", "split": "train", "domain": "source"}
    values |= {"label": 0, "attribute": "a"}
    return Window(f"d/{file}", **values | changes, start=start, samples=8000)


def test_the_rows_of_windows_have_the_columns_of_their_clips_and_starts_only_where_needed():
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    windows = [
        window_of("a.wav"),
        window_of("b.wav", section="01", split="test", domain="target", label=1, attribute="b"),
        window_of("c.wav"),
    ]
    found = window_embeddings(vectors, windows, ("clip", "embedding"))
    np.testing.assert_array_equal(found.vectors, vectors)
    assert found.files.tolist() == ["a.wav", "b.wav", "c.wav"]
    assert found.window_start_seconds is None and found.axes == ("clip", "embedding")
    columns = ("section", "split", "domain", "label", "attribute")
    row = tuple(getattr(found, name)[1] for name in columns)
    assert row == ("01", "test", "target", 1, "b")
    windows[1] = window_of("a.wav", start=4000)
    found = window_embeddings(vectors[:, None], windows, ("clip", "band", "embedding"))
    assert found.window_start_seconds.tolist() == [0, 0.25, 0]
    assert found.axes == ("clip", "band", "embedding")


def test_another_runtime_gets_one_mode_and_jax_one_for_each_clip(clips, monkeypatch):
    asked = []

    def embed_windows(embed_batch, windows, read, batching, *, what, extras):
        batch = {"wave": np.ones((2, 400), np.float32), "simam_mode": np.zeros(2, np.int32)}
        asked.append((embed_batch(batch), batching, what, extras))
        return np.ones((3, 4), np.float32), np.full((3, 2), 2, np.float32)

    monkeypatch.setattr(embed, "embed_windows", embed_windows)
    monkeypatch.setattr(
        embed, "embed_in", lambda runtime, encoder, params: lambda wave, mode: (runtime, mode)
    )
    monkeypatch.setattr(embed, "embed", lambda encoder, params, wave, mode, dtype: (mode, dtype))
    monkeypatch.setattr(embed, "window_reader", lambda config, clips: clips)
    modes = SimAM({"fan": "global", "pump": "local"})
    encoder = EncoderConfig(FrontEnd(simam=modes), ENCODER.eat, ENCODER.pooling)
    values = {"optimizer.batch_size": 5, "data.threads": 3, "model.dtype": "bfloat16"}
    config = with_values(RunConfig(), values)
    own, plain = embed.embed_machine(config, encoder, {}, clips[:3])
    (modes_of_clips, dtype), batching, what, extras = asked[0]
    assert modes_of_clips.tolist() == [0, 0] and dtype is embed.compute_dtype(config.model)
    assert (batching.batch_size, batching.threads) == (5, 3)
    mode = modes.mode_of("fan")
    assert (what, extras) == ("clips of fan embedded", {"simam_mode": mode})
    assert own.vectors.shape == (3, 4) and (plain.vectors == 2).all()
    config = with_values(RunConfig(), {"model.runtime": "openvino"})
    embed.embed_machine(config, encoder, {}, clips[:3])
    assert asked[1][0] == ("openvino", mode)


def test_the_front_end_of_embeddings_is_noted_and_paths_are_cut(tmp_path):
    write_front_end(tmp_path, FrontEnd("mel", mean=-3.0))
    noted = read_json(tmp_path / FRONT_END)
    assert (noted["spacing"], noted["mean"]) == ("mel", -3.0)
    found = without_path({"file": "/home/me/data/fan/train/a.wav", "reason": "short"})
    assert found == {"file": "fan/train/a.wav", "reason": "short"}


def test_shards_that_a_killed_process_had_joined_are_removed_by_the_next_run(tmp_path, monkeypatch):
    def vectors(config, encoder, params, clips):
        return (vectors_of(clips),) * 2

    monkeypatch.setattr(embed, "embed_machine", vectors)
    (tmp_path / "0.wav").write_text("")
    clips = [Clip(str(tmp_path / "0.wav"), "fan", "00", "train", "source", 0, "")]
    arguments = RunConfig(), ENCODER, {}, clips, tmp_path / "run"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(embed, "_remove", mock.Mock(side_effect=KeyboardInterrupt))
        embed.embed_clips(*arguments)
    shard = tmp_path / "run" / "shards" / "fan" / "000000"
    (shard / ".lock").write_text("process 1 on a-host\n")
    assert (shard / "encoder.npz").exists()
    assert embed.embed_clips(*arguments) == 0
    there = {path.relative_to(tmp_path / "run").as_posix() for path in tmp_path.glob("run/**/*")}
    assert there == {"fan.npz", "filter_bank", "filter_bank/fan.npz", "made_of.json"}
