"""Bad input of every kind: exit status 2, one message that names the thing, no traceback, nothing
left behind.
"""

import json
import re
import shutil

import numpy as np
import pytest
import soundfile

import asd_jax.evaluate
import asd_jax.train
from asd_jax.data.factory import write_factory
from asd_jax.models.eat import EATConfig
from asd_jax.runtime.files import write_json
from asd_jax.runtime.lock import lock_folder
from asd_jax.scoring.embeddings import Embeddings
from asd_jax.training.weights import random_eat, save_weights, write_safetensors

QUICK = "--config=configs/quickstart.py:smoke"
TRAIN = [QUICK, "--config.data.root={bad}/factory"]
FROZEN = [QUICK, "--config.data.root={bad}/factory", "--weights=none"]
WEIGHTS = [*TRAIN, "--config.model.weights={bad}/weights/"]


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    """A folder of things that are wrong, each in one way."""
    root = tmp_path_factory.mktemp("bad")
    sizes = {"train_source": 2, "train_target": 1, "test_per_condition": 1}
    write_factory(root / "factory", machines=["fan", "gearbox"], clip_seconds=1.0, **sizes)
    make_recordings(root)
    make_weights(root / "weights")
    make_embeddings(root)
    make_configs(root / "configs")
    return root


def make_recordings(root):
    wave = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    (root / "empty").mkdir()
    (root / "a_file").write_text("not a folder")

    def data(name, bad_clip):
        shutil.copytree(root / "factory" / "fan", root / name / "fan")
        bad_clip(root / name / "fan")

    def replaced(content):
        return lambda machine: (machine / "train" / "own.wav").write_bytes(content)

    def sound(samples, **more):
        return lambda machine: soundfile.write(
            machine / "train" / "own.wav", samples, 16000, **more
        )

    whole = next((root / "factory" / "fan" / "train").glob("*.wav")).read_bytes()
    data("truncated", replaced(whole[:1000]))
    data("text", replaced(b"these are words, not sound" * 100))
    data("no_bytes", replaced(b""))
    data("too_short", sound(wave[:300]))
    data("not_finite", sound(np.where(np.arange(16000) == 7, np.nan, wave), subtype="FLOAT"))
    data("not_scaled", sound(wave * 32768, subtype="FLOAT"))
    data(
        "anomaly",
        lambda m: (m / "train" / "section_00_source_train_anomaly_0000_x_1.wav").write_bytes(whole),
    )
    data(
        "misnamed",
        lambda m: (m / "test" / "section_00_left_test_normal_0001_x.wav").write_bytes(whole),
    )
    data(
        "wrong_split",
        lambda m: (m / "test" / "section_00_source_train_normal_0000_x_1.wav").write_bytes(whole),
    )
    data("no_train", lambda m: shutil.rmtree(m / "train"))
    (root / "one_class" / "mine" / "train").mkdir(parents=True)
    for n in range(9):
        soundfile.write(root / "one_class" / "mine" / "train" / f"{n}.wav", wave, 16000)
    shutil.copytree(root / "factory" / "fan", root / "emu" / "bearingEmu")


def make_weights(folder):
    sizes = EATConfig(64, 2, 2)
    params, header = random_eat(sizes, 0), {"kind": "eat", "eat": sizes.__dict__}
    save_weights(folder / "good.safetensors", params, header)
    whole = (folder / "good.safetensors").read_bytes()
    (folder / "truncated.safetensors").write_bytes(whole[:-100])
    (folder / "text.safetensors").write_text("weights")
    (folder / "folder.safetensors").mkdir()
    write_safetensors(folder / "foreign.safetensors", {"w": np.ones(3, np.float32)}, {})
    save_weights(folder / "nan.safetensors", {**params, "cls": params["cls"] * np.nan}, header)
    save_weights(
        folder / "lacks.safetensors", {k: v for k, v in params.items() if k != "cls"}, header
    )
    save_weights(
        folder / "surplus.safetensors", {**params, "extra": np.ones(2, np.float32)}, header
    )
    save_weights(folder / "shape.safetensors", {**params, "cls": np.ones(3, np.float32)}, header)
    save_weights(folder / "sizes.safetensors", params, {**header, "eat": {"width": 3}})
    save_weights(folder / "future.safetensors", params, {**header, "format": 99})
    save_weights(
        folder / "other_size.safetensors",
        random_eat(EATConfig(32, 1, 2), 0),
        {"kind": "eat", "eat": EATConfig(32, 1, 2).__dict__},
    )


def make_embeddings(root):
    rng, n = np.random.default_rng(0), 8
    split = np.array(["train"] * 4 + ["test"] * 4)
    text = {
        "files": np.array([f"{i}.wav" for i in range(n)]),
        "section": np.full(n, "00"),
        "split": split,
    }
    text |= {"domain": np.array(["source", "target"] * 4), "attribute": np.full(n, "")}
    good = {
        "vectors": rng.normal(size=(n, 3)).astype(np.float32),
        "label": np.array([0] * 6 + [1] * 2),
        **text,
    }

    def file(name, **changes):
        (root / "npz" / name).mkdir(parents=True)
        np.savez(
            root / "npz" / name / "fan.npz",
            **{k: v for k, v in {**good, **changes}.items() if v is not None},
        )

    file("lacks", domain=None)
    file("nan", vectors=np.full((n, 3), np.nan, np.float32))
    file("short", label=good["label"][:5])
    file("label", label=good["label"] + 5)
    file(
        "axes",
        vectors=np.ones((n, 2, 3), np.float32),
        axes=np.array(["clip", "layers", "embedding"]),
    )
    file(
        "swapped",
        vectors=np.ones((n, 2, 3), np.float32),
        axes=np.array(["clip", "embedding", "layer"]),
    )
    file("no_axes", vectors=np.float32(1))
    file("one_axis", vectors=good["vectors"][:, 0])
    file("complex", vectors=good["vectors"] * 1j)
    file("number", section=np.zeros(n, np.int64))
    file("column", label=good["label"][:, None])
    file("starts", window_start_seconds=np.zeros(3))
    halves = {
        "files": np.array(["a.wav", "b.wav"] * 4),
        "section": np.array(["00"] * 4 + ["00", "00", "01", "01"]),
    }
    file("two_sections", window_start_seconds=np.zeros(n), **halves)
    file("above", section=np.full(n, "/../../../../above"))
    file("absolute", section=np.full(n, f"{root}/absolute"))
    file("nul", section=np.full(n, "0\0" + "0"))
    file("not_utf8", section=np.full(n, "0\udcff"))
    file("long", section=np.full(n, "0" * 5000))
    file("surrogate", files=np.array([f"{i}\ud800.wav" for i in range(n)]))
    file("no_file", files=np.array([f"../{i}.wav" for i in range(n)]))
    file("attribute", attribute=np.full(n, "0\0" + "0"))
    file("one_name", files=np.full(n, "a.wav"))
    file("one_name_in_two_folders", files=np.array([f"{i}/a.wav" for i in range(n)]))
    file("anomaly", label=np.ones(n, np.int64))
    file("m" * 101)
    (root / "npz" / ("m" * 101) / "fan.npz").rename(root / "npz" / f"{'m' * 101}.npz")
    file("objects", section=np.array([{"pickled": 1}] * n, dtype=object))
    file("truncated")
    path = root / "npz" / "truncated" / "fan.npz"
    path.write_bytes(path.read_bytes()[:-50])
    Embeddings(
        good["vectors"],
        *(text[k] for k in ("files", "section", "split", "domain")),
        good["label"],
        text["attribute"],
    ).save(root / "unfinished" / "embeddings" / "fan.npz")
    write_json(root / "unfinished" / "data.json", {"fan": {}, "gearbox": {}})


def make_configs(folder):
    folder.mkdir()
    head = (
        "from configs import quickstart\ndef get_config(mode=''):\n    c = "
        "quickstart.get_config('smoke')\n"
    )
    for name, line in {
        "unknown": "c.optimizer.lerning_rate = 1e-3",
        "group": "c.optimiser = {'epochs': 1}",
        "lacks": "del c.optimizer['epochs']",
        "type": "c.arcface.unlock(); c.arcface._fields['scale'] = 'much'",
        "flat": "del c['augment']; c.augment = 3",
        "raises": "raise RuntimeError('no idea')",
    }.items():
        (folder / f"{name}.py").write_text(f"{head}    {line}\n    return c\n")
    (folder / "syntax.py").write_text("def get_config(:\n")


CONFIG = [
    (
        [*TRAIN, "--config.optimizer.lerning_rate=1"],
        "no key 'optimizer.lerning_rate'.*Did you mean 'learning_rate'",
    ),
    ([*TRAIN, "--config.optimizer.epochs=many"], "epochs"),
    ([*TRAIN, "--config.optimizer.epochs=2.5"], "epochs"),
    (
        [*TRAIN, "--config.optimizer.learning_rate=nan"],
        "optimizer.learning_rate=nan is not a finite number",
    ),
    (
        [*TRAIN, "--config.optimizer.weight_decay=inf"],
        "optimizer.weight_decay=inf is not a finite number",
    ),
    ([*TRAIN, "--config.optimizer.on_bad_loss=hide"], "on_bad_loss='hide'; known: stop, skip"),
    ([*TRAIN, "--config.features.simam=lokal"], "unknown mode lokal; known: none, global, local"),
    ([*TRAIN, "--config.features.simam={{fan: local}}"], "names no mode for machine gearbox"),
    ([*TRAIN, "--config.features.spacing=linear"], "known: even, mel, gammatone"),
    (
        [*TRAIN, "--config.features.bins=80"],
        "bins=80 must be a multiple of 32 with local SimAM",
    ),
    (
        [*TRAIN, "--config.features.bins=72", "--config.features.simam=global"],
        "multiple of 16 filters, not 72",
    ),
    ([*TRAIN, "--config.features.low_hz=9000"], "no filter bank from 9000.0 to 8000.0 Hz"),
    ([*TRAIN, "--config.features.std=0"], "features.std=0.0 must be above 0"),
    ([*TRAIN, "--config.features.statistics=mine"], "known: given, train"),
    ([*TRAIN, "--config.model.encoder=beats"], "known: eat, filter_bank"),
    ([*TRAIN, "--config.model.size=huge"], "known: base, large, tiny"),
    ([*TRAIN, "--config.model.heads=5"], "must be divisible by 5 heads"),
    ([*TRAIN, "--config.model.heads=-1"], "model.heads=-1 must lie in 0..64"),
    ([*TRAIN, "--config.model.dtype=float8"], "known: float32, bfloat16"),
    ([*TRAIN, "--config.model.pooling=band_mean"], "band_mean keeps the bands apart"),
    ([*TRAIN, "--config.model.pooling=median"], "pooling kind='median'; known"),
    ([*TRAIN, "--config.model.block=2"], "EAT has blocks 0..1"),
    ([*TRAIN, "--config.model.embedding_dim=-1"], "model.embedding_dim=-1 must be at least 0"),
    ([*TRAIN, "--config.data.clip_seconds=0.1"], "clip_seconds=0.1: too short"),
    ([*TRAIN, "--config.data.hop_seconds=0"], "hop_seconds=0.0 must be above 0"),
    ([*TRAIN, "--config.data.held_out=1.5"], "held_out=1.5 must be"),
    ([*TRAIN, "--config.data.length=crop"], "known: fit, window, bucket"),
    ([*TRAIN, "--config.data.on_bad_clip=hide"], "known: error, skip"),
    ([*TRAIN, "--config.data.pad=mirror"], "known: repeat, zeros"),
    ([*TRAIN, "--config.data.resampler=linear"], "known: soxr, torchaudio"),
    ([*TRAIN, "--config.data.channel=far"], "no channel 'far'"),
    ([*TRAIN, "--config.data.threads=0"], "data.threads=0 must be at least 1"),
    ([*TRAIN, "--config.data.year=1999"], "year 1999"),
    (
        [*TRAIN, "--config.data.year=2020"],
        "DCASE 2020 had no machine gearbox; it is of 2021, 2022, 2023, 2024, 2025",
    ),
    (
        [*TRAIN, "--config.data.machines=ToyDrone"],
        "data.year=2024: DCASE 2024 had no machine ToyDrone",
    ),
    ([*TRAIN, "--config.optimizer.batch_size=0"], "batch_size=0 must be"),
    ([*TRAIN, "--config.optimizer.batch_size=999"], "no step to take"),
    ([*TRAIN, "--config.optimizer.epochs=-1"], "optimizer.epochs=-1 must be at least 0"),
    ([*TRAIN, "--config.augment.mixup_alpha=0"], "augment.mixup_alpha=0.0 must be above 0"),
    ([*TRAIN, "--config.augment.mixup=wave"], "known: waveform, spectrogram, none"),
    ([*TRAIN, "--config.log.every=0"], "log.every=0 must be at least 1"),
    ([*TRAIN, "--config.seed=-1"], "seed=-1 must be at least 0"),
    ([*TRAIN, "--config.seeds=0"], "seeds=0 must lie in 1..1000"),
    (
        [*TRAIN, "--config.optimizer.zzz=1"],
        "no key 'optimizer.zzz'; all keys, with meanings: python -m asd_jax.config",
    ),
    (
        [*TRAIN, "--config.optimiser.epochs=1"],
        "no key 'optimiser.epochs'.*Did you mean 'optimizer'",
    ),
    ([*TRAIN, "--config.features.simam_lambda=0"], "simam_lambda=0.0 must be above 0"),
    ([*TRAIN, "--config.scoring.back_end=knm"], "Did you mean 'knn'"),
    ([*TRAIN, "--config.scoring.k=0"], "scoring.k=0 must lie in 1..1000000"),
    ([*TRAIN, "--config.scoring.normalization=held_out"], "set --config.data.held_out"),
    ([*TRAIN, "--config.frozen.pooling=attentive_statistics"], "known: band_mean, mean, cls"),
    (
        [QUICK, "--config.optimizer.batch_size=999"],
        "no step to take",
    ),  # after the factory was written
    ([QUICK, "--config.factory.train_source=0"], "factory"),
    ([QUICK, "--confg.seed=1"], "confg"),
    ([QUICK, "surplus"], "unexpected argument 'surplus'"),
    (
        ["--config=configs/nowhere.py"],
        "nowhere.py: no such config file; those of the project are in .*/configs/",
    ),
    ([], "--config=... is needed: config file, e.g. configs/toycar.py"),
    (["--config=configs/quickstart.py:fast"], "mode 'fast'; known: smoke"),
    ([], "--config"),
    (
        ["--config={bad}/configs/unknown.py"],
        "no key 'optimizer.lerning_rate'.*Did you mean 'learning_rate'",
    ),
    (["--config={bad}/configs/group.py"], "no key 'optimiser'.*Did you mean 'optimizer'"),
    (["--config={bad}/configs/lacks.py"], "lacks 'optimizer.epochs'"),
    (["--config={bad}/configs/type.py"], "arcface.scale='much' should be of type float"),
    (["--config={bad}/configs/flat.py"], "augment=3 should have keys"),
    (["--config={bad}/configs/raises.py"], "raises.py: no idea"),
    (["--config={bad}/configs/syntax.py"], "syntax.py.*invalid syntax"),
]
DATA = [
    (
        ["--config=configs/toycar.py"],
        r"data/dcase2024: no such folder[\s\S]*tree[\s\S]*asd_jax.data.download --year=2024",
    ),
    ([*TRAIN, "--config.data.root="], "names no folder of recordings"),
    ([*TRAIN, "--config.data.machines=valve"], "no machine valve here; found: fan, gearbox"),
    *(
        ([QUICK, "--config.data.machines=", f"--config.data.root={{bad}}/{name}"], message)
        for name, message in {
            "empty": "empty: no recordings here",
            "a_file": "a_file: no such folder",
            "truncated": "own.wav: truncated",
            "text": "own.wav: not readable as audio",
            "no_bytes": "own.wav: empty, no bytes in it",
            "too_short": "own.wav: 300 samples .* shorter than one frame",
            "not_finite": "own.wav: NaN or infinity",
            "not_scaled": r"own.wav: samples up to .*; scale the recording",
            "anomaly": "train_anomaly_0000_x_1.wav: an anomaly in the train folder",
            "misnamed": "section_00_left_test_normal_0001_x.wav: not a DCASE file name",
            "wrong_split": "a train clip in the test folder",
            "no_train": "fan has no training clips",
            "one_class": "ArcFace needs at least two",
            "emu": "DCASE 2024 had no machine bearingEmu; it is of 2026",
        }.items()
    ),
]
FILES = [
    ([*TRAIN, "--config.model.weights="], "--config.model.weights=none"),
    (
        [*TRAIN, "--config.model.weights=nothing.safetensors"],
        "nothing.safetensors: no such weight file",
    ),
    *(
        (
            [*TRAIN, f"--config.model.weights={{bad}}/weights/{name}.safetensors"],
            f"{name}.safetensors{message}",
        )
        for name, message in {
            "truncated": ": not a readable safetensors file",
            "text": ": not a readable safetensors file",
            "folder": ": a folder; name the weight file in it",
            "foreign": ": a safetensors file, but not one of asd_jax.*\n.*convert.eat",
            "nan": ": tensor cls holds NaN or infinity",
            "lacks": ": the weights do not fit the model: missing cls",
            "surplus": ": the weights do not fit the model: not used extra",
            "shape": r": the weights do not fit the model: cls has shape \(3,\), wanted \(64,\)",
            "sizes": ": the header's EATConfig is not valid",
            "future": ": format 99",
            "other_size": " holds EATConfig.* but the config asks for",
        }.items()
    ),
]
EVALUATE = [
    ([], "no finished run here"),
    ([QUICK], "frozen mode needs --weights"),
    ([*FROZEN, "--config.model.dtype=int8"], "known: float32, bfloat16"),
    ([*FROZEN, "--config.frozen.block=-3"], "EAT has blocks 0..1"),
    (["--embeddings=nowhere"], "nowhere: no <machine>.npz files here"),
    (["--embeddings={bad}/npz/lacks"], "fan.npz: lacks domain"),
    (["--embeddings={bad}/npz/nan"], "fan.npz: embeddings: NaN or infinity in the vector of 0.wav"),
    (["--embeddings={bad}/npz/short"], "fan.npz: embeddings: 8 vectors but 5 label"),
    (["--embeddings={bad}/npz/label"], "fan.npz: embeddings: label 5; known"),
    (
        ["--embeddings={bad}/npz/axes"],
        r"axes \('clip', 'layers', 'embedding'\); known: .*'layer', 'embedding'",
    ),
    (["--embeddings={bad}/npz/swapped"], r"axes \('clip', 'embedding', 'layer'\); known"),
    (["--embeddings={bad}/npz/no_axes"], r"name 2 axes of vectors \(\)"),
    (["--embeddings={bad}/npz/one_axis"], r"name 2 axes of vectors \(8,\)"),
    (["--embeddings={bad}/npz/complex"], "vectors of complex64, not real numbers"),
    (["--embeddings={bad}/npz/number"], r"section of int64 \(8,\), not text \(n,\)"),
    (["--embeddings={bad}/npz/column"], r"label of int64 \(8, 1\), not numbers \(n,\)"),
    (["--embeddings={bad}/npz/starts"], "8 vectors but 3 window_start_seconds"),
    (["--embeddings={bad}/npz/two_sections"], "windows of a.wav in sections 00 and 01"),
    (["--embeddings={bad}/npz/above"], "fan.npz: section '/../../../../above' is a path"),
    (["--embeddings={bad}/npz/absolute"], "fan.npz: section '/.*' is a path"),
    (["--embeddings={bad}/npz/nul"], "fan.npz: section .* has a NUL in it"),
    (["--embeddings={bad}/npz/not_utf8"], "fan.npz: section .* is not UTF-8"),
    (["--embeddings={bad}/npz/long"], r"fan.npz: section '0{60}\.\.\.' is longer than 100 bytes"),
    (["--embeddings={bad}/npz/surrogate"], "fan.npz: path .* has characters that are no text"),
    (["--embeddings={bad}/npz/no_file"], "fan.npz: path '../0.wav' leaves the folder"),
    (["--embeddings={bad}/npz/attribute"], "fan.npz: attribute .* has a NUL in it"),
    (["--embeddings={bad}/npz/one_name"], "two test clips of one name, a.wav"),
    (["--embeddings={bad}/npz/one_name_in_two_folders"], "two test clips of one name, a.wav"),
    (["--embeddings={bad}/npz/anomaly"], r"an anomaly \(1\) in split train.*4 such clips"),
    (["--embeddings={bad}/npz"], "npz: machine 'm{60}...' is longer than 100 bytes"),
    (["--embeddings={bad}/npz/objects"], "fan.npz: not a readable npz file"),
    (["--embeddings={bad}/npz/truncated"], "fan.npz: not a readable npz file"),
    (["--embeddings={bad}/npz/nan", "--year=1999"], "year 1999|NaN"),
]


def tree(root):
    """Every file's content; folders as None."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in root.rglob("*")}


def fails_cleanly(command, module, flags, message, *folders):
    before = [tree(folder) for folder in folders]
    status, out, err = command(module, *flags)
    assert status == 2, (out, err)
    assert err.startswith("error: ") and err.count("error: ") == 1 and "Traceback" not in err
    assert re.search(message, err), err
    assert [tree(folder) for folder in folders] == before


@pytest.mark.parametrize(("flags", "message"), CONFIG + DATA + FILES)
def test_train_says_what_is_wrong_and_leaves_nothing(bad, command, tmp_path, flags, message):
    flags = [f"--workdir={tmp_path / 'w'}", *(flag.format(bad=bad) for flag in flags)]
    fails_cleanly(command, asd_jax.train, flags, message, tmp_path, bad)


@pytest.mark.parametrize(("flags", "message"), EVALUATE)
def test_evaluate_says_what_is_wrong_and_leaves_nothing(bad, command, tmp_path, flags, message):
    flags = [f"--workdir={tmp_path / 'w'}", *(flag.format(bad=bad) for flag in flags)]
    fails_cleanly(command, asd_jax.evaluate, flags, message, tmp_path, bad)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", "{", "config.json: not a readable JSON file"),
        ("config.json", '{"seed": 0}', "run of another config; it differs in"),
        ("data.json", '{"fan": {"clips": 9}}', r"other recordings of fan \(9 there, 7 here\)"),
        ("data.json", "[", "data.json: not a readable JSON file"),
    ],
)
def test_workdir_that_holds_something_else_stays_as_it_is(
    bad, command, tmp_path, name, content, message
):
    (tmp_path / "results.json").write_text("{}")
    (tmp_path / name).write_text(content)
    flags = [f"--workdir={tmp_path}", *(flag.format(bad=bad) for flag in TRAIN)]
    fails_cleanly(command, asd_jax.train, flags, message, tmp_path)


def test_workdir_that_cannot_be_used(bad, command, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    flags = [flag.format(bad=bad) for flag in TRAIN]
    fails_cleanly(
        command,
        asd_jax.train,
        [*flags, f"--workdir={tmp_path / 'file'}"],
        "file: no folder to write to",
    )
    fails_cleanly(
        command,
        asd_jax.train,
        [*flags, f"--workdir={tmp_path / 'file' / 'w'}"],
        "w: no folder to write to",
    )
    with lock_folder(tmp_path / "held"):
        message = r"held is in use by process \d+ on "
        fails_cleanly(
            command, asd_jax.train, [*flags, f"--workdir={tmp_path / 'held'}"], message, tmp_path
        )
    unfinished = f"--workdir={bad / 'unfinished'}"
    fails_cleanly(command, asd_jax.evaluate, [unfinished], "no embeddings of gearbox yet", bad)


def test_config_of_another_version_in_a_workdir_is_named(command, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"scoring": {"bakend": "knn"}}))
    (tmp_path / "embeddings").mkdir()
    fails_cleanly(
        command,
        asd_jax.evaluate,
        [f"--workdir={tmp_path}"],
        "scoring.bakend.*Did you mean 'back_end'",
        tmp_path,
    )
