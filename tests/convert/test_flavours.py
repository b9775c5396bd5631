"""The forms in which checkpoints lie about: every one gives the same parameters, or one remedy."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import benchmarks.parity
import convert.classifier
import convert.eat
from asd_jax.runtime.errors import InputError
from asd_jax.training.weights import load_encoder, load_pipeline, read_weights
from benchmarks.torch_writer import Call, Reference, save, tensor
from convert.eat import convert as converted
from convert.eat import find, write, write_huggingface

GOLDEN = Path(__file__).parent.parent / "golden"
CONFIG = GOLDEN / "tiny_eat_hf_config.json"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def public():
    return load_file(GOLDEN / "tiny_eat_hf.safetensors")


@pytest.fixture(scope="module")
def expected(public):
    return converted(GOLDEN / "tiny_eat_hf.safetensors")


def equal(found, expected):
    assert found[0] == expected[0]
    jax.tree.map(np.testing.assert_array_equal, found[1], expected[1])


def state(public, rename=lambda name: name):
    """A state_dict as torch saves it: an OrderedDict with _metadata."""
    named = {rename(name): tensor(array) for name, array in public.items()}
    return Call(Reference("collections", "OrderedDict"), (), None) if not named else named


RENAMED = {
    "as published": lambda name: name,
    "without prefix": lambda name: name.removeprefix("model."),
    "DataParallel": lambda name: f"module.{name}",
    "compiled": lambda name: f"_orig_mod.{name}",
    "compiled and DataParallel": lambda name: f"module._orig_mod.{name}",
    "FSDP": lambda name: f"_fsdp_wrapped_module.{name}",
    "blocks compiled one by one": lambda name: name.replace("attn.", "_orig_mod.attn."),
    "of a LightningModule": lambda name: f"model.{name}",
    "a part of another model": lambda name: f"system.backbone.{name.removeprefix('model.')}",
}


@pytest.mark.parametrize("how", RENAMED)
def test_a_plain_state_dict_under_any_wrapper(how, tmp_path, public, expected):
    save(tmp_path / "a.pt", state(public, RENAMED[how]))
    equal(converted(tmp_path / "a.pt", heads=4), expected)


def test_names_that_become_one_and_files_of_two_models_are_refused(tmp_path, public):
    save(tmp_path / "a.pt", state(public | {"module.pre_norm.bias": public["model.pre_norm.bias"]}))
    with pytest.raises(InputError, match="two tensors are called 'pre_norm.bias'"):
        converted(tmp_path / "a.pt", heads=4)
    plain = {name.removeprefix("model."): array for name, array in public.items()}
    both = {f"{part}.{name}": a for part in ("student", "teacher") for name, a in plain.items()}
    save(tmp_path / "b.pt", state(both))
    with pytest.raises(InputError, match=r"2 models, under 'student\.', 'teacher\.'"):
        converted(tmp_path / "b.pt", heads=4)
    save(
        tmp_path / "c.pt",
        state({f"eat.{n}": a for n, a in plain.items()} | {"arc.w": plain["pre_norm.bias"]}),
    )
    with pytest.raises(InputError, match="not known 'arc.w'"):
        converted(tmp_path / "c.pt", heads=4)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_a_state_dict_of_a_training_checkpoint(key, tmp_path, public, expected):
    save(tmp_path / "a.ckpt", {"epoch": 3, "lr": 0.1, key: state(public), "callbacks": {}})
    equal(converted(tmp_path / "a.ckpt", heads=4), expected)


def test_pytorch_model_bin_in_a_folder_with_its_config(tmp_path, public, expected):
    save(tmp_path / "pytorch_model.bin", state(public))
    shutil.copy(CONFIG, tmp_path / "config.json")
    equal(converted(tmp_path), expected)


def test_the_only_weight_file_of_a_folder_is_taken_and_one_of_several_is_asked_for(
    tmp_path, public, expected
):
    save_file(public, tmp_path / "eat_epoch30.safetensors")
    shutil.copy(CONFIG, tmp_path / "config.json")
    equal(converted(tmp_path), expected)
    save_file(public, tmp_path / "eat_epoch20.safetensors")
    with pytest.raises(InputError, match=r"eat_epoch20.*eat_epoch30.*name one of them"):
        converted(tmp_path)


def sharded(folder, public, ending="safetensors"):
    """Writes two shards and their index, and returns the path of the index and its content."""
    names = sorted(public)
    parts = names[: len(names) // 2], names[len(names) // 2 :]
    stem = "model" if ending == "safetensors" else "pytorch_model"
    index = {}
    for number, part in enumerate(parts, 1):
        name = f"{stem}-0000{number}-of-00002.{ending}"
        own = {tensor_name: public[tensor_name] for tensor_name in part}
        if ending == "safetensors":
            save_file(own, folder / name)
        else:
            save(folder / name, state(own))
        index |= dict.fromkeys(part, name)
    path = folder / f"{stem}.{ending}.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": index}))
    shutil.copy(CONFIG, folder / "config.json")
    return path, index


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_shards_are_put_together(ending, tmp_path, public, expected):
    index, _ = sharded(tmp_path, public, ending)
    equal(converted(tmp_path), expected)
    equal(converted(index), expected)
    write(tmp_path, tmp_path / "ours.safetensors")
    assert read_weights(tmp_path / "ours.safetensors")[1]["sha256"] == find(index).header["sha256"]


def test_the_hash_of_shards_depends_on_each(tmp_path, public):
    first = find(sharded(tmp_path, public)[0]).header["sha256"]
    changed = public | {"model.pre_norm.bias": public["model.pre_norm.bias"] + 1}
    assert find(sharded(tmp_path, changed)[0]).header["sha256"] != first


def again(path, index):
    text = path.read_text()
    name = next(iter(index))
    path.write_text(text.replace('"weight_map": {', f'"weight_map": {{"{name}": "b.bin", '))


def in_two_shards(path, index):
    names = sorted(set(index.values()))
    tensors = load_file(path.with_name(names[0])) | load_file(path.with_name(names[1]))
    save_file(tensors, path.with_name(names[0]))


def not_in_the_index(path, index):
    del index["model.pre_norm.bias"]
    path.write_text(json.dumps({"weight_map": index}))


def elsewhere(path, index):
    index["model.pre_norm.bias"] = "../other.safetensors"
    path.write_text(json.dumps({"weight_map": index}))


def not_there(path, index):
    path.with_name(index["model.pre_norm.bias"]).unlink()


def in_no_shard(path, index):
    index["model.more"] = index["model.pre_norm.bias"]
    path.write_text(json.dumps({"weight_map": index}))


BROKEN = {
    again: "is there twice",
    in_two_shards: "which the index says is model-0000",
    not_in_the_index: "'model.pre_norm.bias', which the index says is in no shard",
    elsewhere: "is a path, not a name",
    not_there: "1 of 2 shards are missing: model-0000",
    in_no_shard: "1 tensors of the index are in no shard: 'model.more'",
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_shards_that_disagree_with_their_index_are_refused(broken, tmp_path, public):
    path, index = sharded(tmp_path, public)
    broken(path, index)
    with pytest.raises(InputError, match=BROKEN[broken]):
        converted(tmp_path)


def test_a_repository_in_the_hubs_cache_is_read_and_named_with_its_commit(
    tmp_path, public, expected
):
    cache = tmp_path / "models--worstchan--tiny"
    (cache / "blobs").mkdir(parents=True)
    shutil.copy(CONFIG, cache / "blobs" / "c0")
    save_file(public, cache / "blobs" / "d1")
    for commit in (COMMIT, COMMIT[::-1]):
        folder = cache / "snapshots" / commit
        folder.mkdir(parents=True)
        # The hub's client keeps the files elsewhere.
        (folder / "config.json").symlink_to("../../blobs/c0")
        (folder / "model.safetensors").symlink_to("../../blobs/d1")
    with pytest.raises(InputError, match="name the folder of one commit"):
        converted(cache)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(COMMIT)
    equal(converted(cache), expected)
    for source in (cache, cache / "snapshots" / COMMIT):
        assert find(source).header["source"] == f"worstchan/tiny@{COMMIT}"


def test_heads_are_asked_for_where_nothing_says_them_and_may_not_contradict(tmp_path, public):
    save_file(public, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=r"config.json beside it .* or give --heads=N"):
        converted(tmp_path / "a.safetensors")
    assert converted(tmp_path / "a.safetensors", heads=4)[0].num_heads == 4
    shutil.copy(CONFIG, tmp_path / "config.json")
    with pytest.raises(InputError, match="--heads=8, but the settings say num_heads=4"):
        converted(tmp_path / "a.safetensors", heads=8)


def test_the_command_takes_the_heads_from_its_flag(tmp_path, public, expected, command):
    save_file(public, tmp_path / "a.safetensors")
    flags = f"--source={tmp_path}/a.safetensors", f"--output={tmp_path}/ours.safetensors"
    status, _, err = command(convert.eat, *flags)
    assert status == 2 and "give --heads=N" in err and "Traceback" not in err
    status, _, err = command(convert.eat, *flags, "--heads=4")
    assert status == 0, err
    equal(load_encoder(tmp_path / "ours.safetensors"), expected)


TEXTS = {
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 341\n": "Git LFS pointer",
    b"<!DOCTYPE html>\n<html><head><title>EAT</title>": "an HTML page.*resolve/main",
    b"\n <html lang=en>": "an HTML page",
    b'{"error":"Repository not found"}': "JSON text",
    b"\x1f\x8b\x08\x00": "gzip archive",
    b"\x89HDF\r\n": "HDF5",
    b"model.pt".ljust(257, b"\0") + b"ustar\x0000": "tar archive",
    b"": "an empty file",
    b"\x80\x02\x8a\nl\xfc": r"torch before 1.6 .*torch.save\(torch.load\(FILE, weights_only=True\)",
}


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text[:16]))
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_what_is_no_checkpoint_is_named_for_what_it_is(text, name, tmp_path):
    (tmp_path / name).write_bytes(text)
    with pytest.raises(InputError, match=TEXTS[text]):
        converted(tmp_path)


def test_other_models_are_named_and_all_missing_tensors_listed(tmp_path, public):
    beats = {"encoder.layers.0.self_attn.k_proj.weight": tensor(np.zeros((4, 4), np.float32))}
    save(tmp_path / "beats.pt", {"cfg": {"encoder_layers": 12}, "model": beats})
    with pytest.raises(InputError, match="no EAT: the names of its tensors are those of BEATs"):
        converted(tmp_path / "beats.pt")
    lost = ["local_encoder.proj.weight", "blocks.0.mlp.fc1.weight", "blocks.2.norm2.bias"]
    rest = {name: t for name, t in public.items() if name.removeprefix("model.") not in lost}
    save(tmp_path / "part.pt", state(rest))
    with pytest.raises(InputError, match="not those of an EAT") as error:
        converted(tmp_path / "part.pt", heads=4)
    assert all(f"missing {name}" in str(error.value) for name in lost)


def test_outputs_have_the_ending_of_what_is_written(tmp_path):
    source = GOLDEN / "tiny_eat_hf.safetensors"
    with pytest.raises(InputError, match=r"name it z.safetensors"):
        write(source, tmp_path / "z.pt")
    with pytest.raises(InputError, match="the output is a folder"):
        write_huggingface(source, tmp_path / "z.safetensors")
    assert not list(tmp_path.iterdir())


def test_an_exported_folder_has_every_field_that_the_published_configuration_has(tmp_path):
    write_huggingface(GOLDEN / "tiny_eat_fairseq.pt", tmp_path)
    published, ours = (json.loads(path.read_text()) for path in (CONFIG, tmp_path / "config.json"))
    assert set(published) <= set(ours)
    same = set(published) - {"max_length", "num_classes"}  # the stored table is of any length
    assert {key: ours[key] for key in same} == {key: published[key] for key in same}


def test_a_converted_eat_becomes_a_pipeline_by_naming_its_pooling(tmp_path):
    path = tmp_path / "eat.safetensors"
    write(GOLDEN / "tiny_eat_fairseq.pt", path)
    wave = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    with pytest.raises(InputError, match=r'load_pipeline\(path, pooling="cls"\)'):
        load_pipeline(path)
    pipeline = load_pipeline(path, pooling="cls", spacing="mel")
    one = pipeline.embed(wave)
    assert one.shape == (48,)
    np.testing.assert_array_equal(one, pipeline.embed(wave[None])[0])
    even = load_pipeline(path, pooling="cls", spacing="even")
    assert float(np.abs(even.embed(wave) - one).max()) > 1e-3
    with pytest.raises(InputError, match='wanted "b s"'):
        pipeline.embed(wave[None, None])
    with pytest.raises(InputError, match="400 samples or more"):
        pipeline.embed(wave[:100])


@pytest.mark.slow
def test_the_classifier_is_a_command(tmp_path, command):
    from asd_jax.data.factory import write_factory

    write_factory(tmp_path / "f", machines=["fan"], clip_seconds=1.0, train_source=1)
    recording = next((tmp_path / "f" / "fan" / "train").glob("*.wav"))
    weights = tmp_path / "eat.safetensors"
    write(GOLDEN / "tiny_eat_finetuned_fairseq.pt", weights, with_head=True)
    classes = len(convert.classifier.probabilities(weights, recording))
    (tmp_path / "labels.csv").write_text(
        "index,mid,display_name\n" + "".join(f"{n},/m/{n},class {n}\n" for n in range(classes))
    )
    flags = f"--weights={weights}", f"--recording={recording}", f"--labels={tmp_path}/labels.csv"
    status, out, err = command(convert.classifier, *flags, "--top=3")
    assert status == 0, err
    rows = [line.split(maxsplit=2) for line in out.splitlines()]
    assert len(rows) == 3 and all(row[2] == f"class {row[0]}" for row in rows)
    shares = [float(row[1]) for row in rows]
    assert shares == sorted(shares, reverse=True)


def test_parity_without_transformers_says_what_to_install(command, monkeypatch):
    monkeypatch.setattr(benchmarks.parity.importlib.util, "find_spec", lambda name: None)
    status, _, err = command(benchmarks.parity, "--reference=transformers", "--checkpoint=a/b")
    assert status == 2 and "pip install transformers timm" in err and "Traceback" not in err


def test_our_own_weights_are_the_same_by_way_of_the_public_layout(tmp_path):
    """What benchmarks.parity compares for weights of ours."""
    write(GOLDEN / "tiny_eat_fairseq.pt", tmp_path / "eat.safetensors")
    write_huggingface(tmp_path / "eat.safetensors", tmp_path / "public")
    equal(converted(tmp_path / "public"), load_encoder(tmp_path / "eat.safetensors"))
