"""Bad input of every kind: exit status 2, one message that names the thing, no traceback, nothing
left behind.
"""

import json
import shutil

import numpy as np
import pytest
import soundfile
from clean_failure import fails_cleanly

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
    params = random_eat(sizes, 0)
    header = {"kind": "eat", "eat": sizes.__dict__}
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
    rng = np.random.default_rng(0)
    n = 8
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
        "config: no key 'optimizer.lerning_rate'; all keys, with meanings: python -m "
        "asd_jax.config, of pre-training: --pretrain. Did you mean 'learning_rate'?",
    ),
    (
        [*TRAIN, "--config.optimizer.epochs=many"],
        "flag --config.optimizer.epochs=many: invalid literal for int() with base 10: "
        "'many' (--help lists the flags)",
    ),
    (
        [*TRAIN, "--config.optimizer.epochs=2.5"],
        "flag --config.optimizer.epochs=2.5: invalid literal for int() with base 10: "
        "'2.5' (--help lists the flags)",
    ),
    (
        [*TRAIN, "--config.optimizer.learning_rate=nan"],
        "optimizer.learning_rate=nan is not a finite number",
    ),
    (
        [*TRAIN, "--config.optimizer.weight_decay=inf"],
        "optimizer.weight_decay=inf is not a finite number",
    ),
    (
        [*TRAIN, "--config.optimizer.on_bad_loss=hide"],
        "optimizer.on_bad_loss='hide'; known: stop, skip.",
    ),
    (
        [*TRAIN, "--config.features.simam=lokal"],
        "features.simam: unknown mode lokal; known: none, global, local",
    ),
    (
        [*TRAIN, "--config.features.simam={{fan: local}}"],
        "features.simam names no mode for machine gearbox; it has fan",
    ),
    (
        [*TRAIN, "--config.features.spacing=linear"],
        ("features.spacing='linear'; known: even, mel, gammatone or package.module:function."),
    ),
    (
        [*TRAIN, "--config.features.bins=80"],
        ("features.bins=80 must be a multiple of 32 with local SimAM (simam_tile_filters)"),
    ),
    (
        [*TRAIN, "--config.features.bins=72", "--config.features.simam=global"],
        "model: EAT needs a multiple of 16 filters, not 72",
    ),
    (
        [*TRAIN, "--config.features.low_hz=9000"],
        "features.low_hz=9000.0, high_hz=8000.0: no filter bank from 9000.0 to 8000.0 Hz "
        "at 16000 Hz",
    ),
    ([*TRAIN, "--config.features.std=0"], "features.std=0.0 must be above 0 and at most 1000"),
    (
        [*TRAIN, "--config.features.statistics=mine"],
        "features.statistics='mine'; known: given, train, weights.",
    ),
    (
        [*TRAIN, "--config.model.encoder=beats"],
        "model.encoder='beats'; known: eat, filter_bank. Did you mean 'eat'?",
    ),
    ([*TRAIN, "--config.model.size=huge"], "model.size='huge'; known: base, large, tiny."),
    (
        [*TRAIN, "--config.model.heads=5"],
        "model: EAT width 64 must be divisible by 5 heads and by 4",
    ),
    ([*TRAIN, "--config.model.heads=-1"], "model.heads=-1 must lie in 0..64"),
    (
        [*TRAIN, "--config.model.dtype=float8"],
        "model.dtype='float8'; known: float32, bfloat16. Did you mean 'float32'?",
    ),
    (
        [*TRAIN, "--config.model.pooling=band_mean"],
        "model.pooling=band_mean keeps the bands apart, which ArcFace cannot train; it "
        "is for frozen encoders. For training: --config.tokens.bands=joined",
    ),
    (
        [*TRAIN, "--config.model.pooling=median"],
        "model.pooling='median'; known: attentive_statistics, mean, cls, band_mean, gem, "
        "max, gwrp, rdp, rdp_gem. Did you mean 'mean'?",
    ),
    ([*TRAIN, "--config.model.block=2"], "pooling of `block=2`: EAT has blocks 0..1"),
    ([*TRAIN, "--config.model.embedding_dim=-1"], "model.embedding_dim=-1 must lie in 0..65536"),
    (
        [*TRAIN, "--config.data.clip_seconds=0.1"],
        "data.clip_seconds=0.1: too short, EAT needs 16 frames (0.175 s)",
    ),
    ([*TRAIN, "--config.data.hop_seconds=0"], "data.hop_seconds=0.0 must be above 0"),
    ([*TRAIN, "--config.data.held_out=1.5"], "data.held_out=1.5 must be at least 0 and below 1"),
    ([*TRAIN, "--config.data.length=crop"], "data.length='crop'; known: fit, window, bucket."),
    ([*TRAIN, "--config.data.on_bad_clip=hide"], "data.on_bad_clip='hide'; known: error, skip."),
    ([*TRAIN, "--config.data.pad=mirror"], "data.pad='mirror'; known: repeat, zeros."),
    (
        [*TRAIN, "--config.data.resampler=linear"],
        "data.resampler='linear'; known: soxr, torchaudio.",
    ),
    (
        [*TRAIN, "--config.data.channel=far"],
        "{bad}/factory/fan/test/...wav: no channel 'far' in a file of 1 channel(s) "
        "(on_bad_clip=skip leaves such clips out)",
    ),
    ([*TRAIN, "--config.data.threads=0"], "data.threads=0 must be at least 1"),
    (
        [*TRAIN, "--config.data.year=1999"],
        "data.year 1999: DCASE Task 2 as scored here was held from 2020 to 2026",
    ),
    (
        [*TRAIN, "--config.data.year=2020"],
        "data.year=2020: DCASE 2020 had no machine gearbox; it is of 2021, 2022, 2023, "
        "2024, 2025. Set --config.data.year to the edition that the recordings are of, "
        "or choose --config.data.machines",
    ),
    (
        [*TRAIN, "--config.data.machines=ToyDrone"],
        "data.year=2024: DCASE 2024 had no machine ToyDrone; it is of 2023, 2026. Set "
        "--config.data.year to the edition that the recordings are of, or choose "
        "--config.data.machines",
    ),
    ([*TRAIN, "--config.optimizer.batch_size=0"], "optimizer.batch_size=0 must be at least 1"),
    (
        [*TRAIN, "--config.optimizer.batch_size=999"],
        "optimizer.batch_size=999 is more than 2 x 6 clips: no step to take",
    ),
    ([*TRAIN, "--config.optimizer.epochs=-1"], "optimizer.epochs=-1 must be at least 0"),
    ([*TRAIN, "--config.augment.mixup_alpha=0"], "augment.mixup_alpha=0.0 must be above 0"),
    (
        [*TRAIN, "--config.augment.mixup=wave"],
        ("augment.mixup='wave'; known: waveform, spectrogram, none. Did you mean 'waveform'?"),
    ),
    ([*TRAIN, "--config.log.every=0"], "log.every=0 must be at least 1"),
    ([*TRAIN, "--config.seed=-1"], "seed=-1 must be at least 0"),
    ([*TRAIN, "--config.seeds=0"], "seeds=0 must lie in 1..1000"),
    (
        [*TRAIN, "--config.optimizer.zzz=1"],
        "config: no key 'optimizer.zzz'; all keys, with meanings: python -m "
        "asd_jax.config, of pre-training: --pretrain.",
    ),
    (
        [*TRAIN, "--config.optimiser.epochs=1"],
        "config: no key 'optimiser.epochs'; all keys, with meanings: python -m "
        "asd_jax.config, of pre-training: --pretrain. Did you mean 'optimizer'?",
    ),
    (
        [*TRAIN, "--config.features.simam_lambda=0"],
        "features.simam_lambda=0.0 must be above 0 and at most 1000000000.0",
    ),
    (
        [*TRAIN, "--config.scoring.back_end=knm"],
        "scoring.back_end='knm'; known: knn, smote, mem_mixup, k_means, local_density, "
        "mahalanobis, pca_residual, gmm, band_matching, varmin, several joined by +, "
        "package.module:function, or auto. Did you mean 'knn'?",
    ),
    ([*TRAIN, "--config.scoring.k=0"], "scoring.k=0 must lie in 1..1000000"),
    (
        [*TRAIN, "--config.scoring.normalization=held_out"],
        "scoring.normalization=held_out needs clips held out: set --config.data.held_out, e.g. 0.2",
    ),
    (
        [*TRAIN, "--config.frozen.pooling=attentive_statistics"],
        "frozen.pooling='attentive_statistics'; known: band_mean, mean, cls, gem, max, "
        "gwrp, rdp, rdp_gem, empty.",
    ),
    (
        [QUICK, "--config.optimizer.batch_size=999"],
        "optimizer.batch_size=999 is more than 2 x 30 clips: no step to take",
    ),  # after the factory was written
    (
        [QUICK, "--config.factory.train_source=0"],
        "factory: needs at least one machine and counts of at least 1, not ['fan', "
        "'gearbox'], {'train_source': 0, 'train_target': 3, 'test_per_condition': 4}",
    ),
    ([QUICK, "--confg.seed=1"], "Unknown command line flag 'confg.seed' (--help lists the flags)"),
    (
        [QUICK, "surplus"],
        ("unexpected argument 'surplus'; flags are written --name=value (--help lists them)"),
    ),
    (
        ["--config=configs/nowhere.py"],
        "configs/nowhere.py: no such config file; those of the project are in "
        ".../configs/ and have the names base, dcase2024, dcase2025, dcase2026, "
        "distill_tiny, pretrain_base, pretrain_tiny, quickstart, small, toycar.",
    ),
    (
        [],
        "--config=... is needed: config file, e.g. configs/toycar.py, or "
        "configs/toycar.py:smoke (--help lists the flags)",
    ),
    (
        ["--config=configs/quickstart.py:fast"],
        "configs/quickstart.py:fast: config mode 'fast'; known: smoke",
    ),
    (
        [],
        "--config=... is needed: config file, e.g. configs/toycar.py, or "
        "configs/toycar.py:smoke (--help lists the flags)",
    ),
    (
        ["--config={bad}/configs/unknown.py"],
        "config: no key 'optimizer.lerning_rate'; optimizer has epochs, steps, "
        "batch_size, accumulate, learning_rate, warmup_fraction, weight_decay, "
        "clip_norm, ema, snapshots, on_bad_loss. Did you mean 'learning_rate'?",
    ),
    (
        ["--config={bad}/configs/group.py"],
        "config: no key 'optimiser'; it has seed, seeds, compiled, data, factory, "
        "features, augment, model, backbone, tokens, frozen, arcface, optimizer, "
        "parallel, scoring, log, report. Did you mean 'optimizer'?",
    ),
    (["--config={bad}/configs/lacks.py"], "config: lacks 'optimizer.epochs', e.g. 10"),
    (["--config={bad}/configs/type.py"], "arcface.scale='much' should be of type float, e.g. 30.0"),
    (
        ["--config={bad}/configs/flat.py"],
        "config: augment=3 should have keys: mixup, mixup_alpha, mixup_probability, "
        "noise_probability, noise_low_db, noise_high_db, mask_frames, mask_filters, "
        "mask_probability",
    ),
    (["--config={bad}/configs/raises.py"], "{bad}/configs/raises.py: no idea"),
    (
        ["--config={bad}/configs/syntax.py"],
        "{bad}/configs/syntax.py: invalid syntax (syntax.py, line 1)",
    ),
]
DATA = [
    (
        ["--config=configs/toycar.py"],
        "data/dcase2024: no such folder; expected tree (the levels dev_data/, eval_data/ "
        "and raw/ may be there or not):\n...",
    ),
    (
        [*TRAIN, "--config.data.root="],
        "--config.data.root names no folder of recordings; expected tree (the levels "
        "dev_data/, eval_data/ and raw/ may be there or not):\n...",
    ),
    (
        [*TRAIN, "--config.data.machines=valve"],
        "{bad}/factory: no machine valve here; found: fan, gearbox\n...",
    ),
    *(
        ([QUICK, "--config.data.machines=", f"--config.data.root={{bad}}/{name}"], message)
        for name, message in {
            "empty": (
                "{bad}/empty: no recordings here; expected tree (the levels dev_data/, "
                "eval_data/ and raw/ may be there or not):\n..."
            ),
            "a_file": (
                "{bad}/a_file: no such folder; expected tree (the levels dev_data/, eval_data/ "
                "and raw/ may be there or not):\n..."
            ),
            "truncated": (
                "{bad}/truncated/fan/train/own.wav: truncated, the header states 32000 bytes of "
                "sound but 956 are there (on_bad_clip=skip leaves such clips out)"
            ),
            "text": (
                "{bad}/text/fan/train/own.wav: not readable as audio (format not recognised); "
                "convert it, e.g. ffmpeg -i FILE sound.wav (on_bad_clip=skip leaves such clips "
                "out)"
            ),
            "no_bytes": (
                "{bad}/no_bytes/fan/train/own.wav: empty, no bytes in it (on_bad_clip=skip "
                "leaves such clips out)"
            ),
            "too_short": (
                "{bad}/too_short/fan/train/own.wav: 300 samples at 16000 Hz are shorter than one "
                "frame of 25 ms (on_bad_clip=skip leaves such clips out)"
            ),
            "not_finite": (
                "{bad}/not_finite/fan/train/own.wav: NaN or infinity among the samples "
                "(on_bad_clip=skip leaves such clips out)"
            ),
            "not_scaled": (
                "{bad}/not_scaled/fan/train/own.wav: samples up to 1.318e+04; scale the "
                "recording to [-1, 1] (on_bad_clip=skip leaves such clips out)"
            ),
            "anomaly": (
                "{bad}/anomaly/fan/train/section_00_source_train_anomaly_0000_x_1.wav: an "
                "anomaly in the train folder, which is for normal sound only\n..."
            ),
            "misnamed": (
                "{bad}/misnamed/fan/test/section_00_left_test_normal_0001_x.wav: not a DCASE "
                "file name; expected "
                "section_<SS>_<source|target>_<train|test>_<normal|anomaly>_<NNNN>_<attributes>.w"
                "av, or section_<SS>_<NNNN>.wav for unlabelled test clips\n..."
            ),
            "wrong_split": (
                "{bad}/wrong_split/fan/test/section_00_source_train_normal_0000_x_1.wav: a train "
                "clip in the test folder; move it to where it belongs\n..."
            ),
            "no_train": (
                "{bad}/no_train: machine fan has no training clips in its train folder; expected "
                "tree (the levels dev_data/, eval_data/ and raw/ may be there or not):\n..."
            ),
            "one_class": (
                "all training clips are of one class [('mine', '00', '')]: ArcFace needs at "
                "least two (machine, section, attribute) classes. Add machines "
                "(--config.data.machines), tell domains apart "
                "(--config.data.domain_in_class=True) if the clips have two, or use the encoder "
                "as it is, without training:\n..."
            ),
            "emu": (
                "data.year=2024: DCASE 2024 had no machine bearingEmu; it is of 2026. Set "
                "--config.data.year to the edition that the recordings are of, or choose "
                "--config.data.machines"
            ),
        }.items()
    ),
]
FILES = [
    (
        [*TRAIN, "--config.model.weights="],
        "--config.model.weights names no weight file; the public EAT-base weights are "
        "brought in with\n...",
    ),
    (
        [*TRAIN, "--config.model.weights=nothing.safetensors"],
        "nothing.safetensors: no such weight file; the public EAT-base weights are "
        "brought in with\n...",
    ),
    *(
        (
            [*TRAIN, f"--config.model.weights={{bad}}/weights/{name}.safetensors"],
            message,
        )
        for name, message in {
            "truncated": (
                "{bad}/weights/truncated.safetensors: not a readable safetensors file (...)"
            ),
            "text": (
                "{bad}/weights/text.safetensors: not a readable safetensors file (a header of "
                "32497614082106743 bytes)"
            ),
            "folder": ("{bad}/weights/folder.safetensors: a folder; name the weight file in it"),
            "foreign": (
                "{bad}/weights/foreign.safetensors: a safetensors file, but not one of asd_jax; "
                "public EAT checkpoints are brought in with\n..."
            ),
            "nan": ("{bad}/weights/nan.safetensors: tensor cls holds NaN or infinity"),
            "lacks": (
                "{bad}/weights/lacks.safetensors: the weights do not fit the model: missing cls"
            ),
            "surplus": (
                "{bad}/weights/surplus.safetensors: the weights do not fit the model: not used "
                "extra"
            ),
            "shape": (
                "{bad}/weights/shape.safetensors: the weights do not fit the model: cls has "
                "shape (3,), expected (64,)"
            ),
            "sizes": (
                "{bad}/weights/sizes.safetensors: the header's EATConfig is not valid (no field "
                "'width'. Did you mean 'depth'?)"
            ),
            "future": (
                "{bad}/weights/future.safetensors: format 99, kind 'eat'; expected eat or "
                "encoder, and this version reads format 1"
            ),
            "other_size": (
                "{bad}/weights/other_size.safetensors holds EATConfig(embed_dim=32, depth=1, "
                "num_heads=2, mlp_ratio=4.0, mel_bins=128), but the config asks for "
                "EATConfig(embed_dim=64, depth=2, num_heads=2, mlp_ratio=4.0, mel_bins=128); set "
                "--config.model.size to fit"
            ),
        }.items()
    ),
]
EVALUATE = [
    (
        [],
        "{tmp}/w: no finished run here (no embeddings/); give --config and --weights, or "
        "--embeddings",
    ),
    (
        [QUICK],
        "frozen mode needs --weights=FILE.safetensors (none: random weights), or "
        "--config.model.encoder=filter_bank",
    ),
    ([*FROZEN, "--config.model.dtype=int8"], "model.dtype='int8'; known: float32, bfloat16."),
    ([*FROZEN, "--config.frozen.block=-3"], "pooling of `block=-3`: EAT has blocks 0..1"),
    (
        ["--embeddings=nowhere"],
        ("nowhere: no <machine>.npz files here; see asd_jax.scoring.embeddings for their fields"),
    ),
    (
        ["--embeddings={bad}/npz/lacks"],
        "{bad}/npz/lacks/fan.npz: lacks domain; see Embeddings for the fields expected",
    ),
    (
        ["--embeddings={bad}/npz/nan"],
        "{bad}/npz/nan/fan.npz: embeddings: NaN or infinity in the vector of 0.wav, or a "
        "value beyond float32",
    ),
    (
        ["--embeddings={bad}/npz/short"],
        "{bad}/npz/short/fan.npz: embeddings: 8 vectors but 5 label",
    ),
    (
        ["--embeddings={bad}/npz/label"],
        "{bad}/npz/label/fan.npz: embeddings: label 5; known: -1, 0, 1",
    ),
    (
        ["--embeddings={bad}/npz/axes"],
        "{bad}/npz/axes/fan.npz: embeddings: axes ('clip', 'layers', 'embedding'); "
        "known: ('clip', 'embedding'), ('clip', 'band', 'embedding'), ('clip', 'layer', "
        "'embedding')",
    ),
    (
        ["--embeddings={bad}/npz/swapped"],
        "{bad}/npz/swapped/fan.npz: embeddings: axes ('clip', 'embedding', 'layer'); "
        "known: ('clip', 'embedding'), ('clip', 'band', 'embedding'), ('clip', 'layer', "
        "'embedding')",
    ),
    (
        ["--embeddings={bad}/npz/no_axes"],
        "{bad}/npz/no_axes/fan.npz: embeddings: axes ('clip', 'embedding') name 2 axes "
        "of vectors ()",
    ),
    (
        ["--embeddings={bad}/npz/one_axis"],
        "{bad}/npz/one_axis/fan.npz: embeddings: axes ('clip', 'embedding') name 2 axes "
        "of vectors (8,)",
    ),
    (
        ["--embeddings={bad}/npz/complex"],
        "{bad}/npz/complex/fan.npz: embeddings: vectors of complex64, not real numbers",
    ),
    (
        ["--embeddings={bad}/npz/number"],
        "{bad}/npz/number/fan.npz: embeddings: section of int64 (8,), not text (n,)",
    ),
    (
        ["--embeddings={bad}/npz/column"],
        "{bad}/npz/column/fan.npz: embeddings: label of int64 (8, 1), not numbers (n,)",
    ),
    (
        ["--embeddings={bad}/npz/starts"],
        "{bad}/npz/starts/fan.npz: embeddings: 8 vectors but 3 window_start_seconds",
    ),
    (
        ["--embeddings={bad}/npz/two_sections"],
        "{bad}/npz/two_sections/fan.npz: embeddings: windows of a.wav in sections 00 and "
        "01; windows of one name are of one clip, so names must differ",
    ),
    (
        ["--embeddings={bad}/npz/above"],
        "{bad}/npz/above/fan.npz: section '/../../../../above' is a path, not a name",
    ),
    (
        ["--embeddings={bad}/npz/absolute"],
        "{bad}/npz/absolute/fan.npz: section '{bad}/absolute' is a path, not a name",
    ),
    (["--embeddings={bad}/npz/nul"], "{bad}/npz/nul/fan.npz: section '0\\x000' has a NUL in it"),
    (
        ["--embeddings={bad}/npz/not_utf8"],
        "{bad}/npz/not_utf8/fan.npz: section '0\\udcff' is not UTF-8; rename it",
    ),
    (
        ["--embeddings={bad}/npz/long"],
        "{bad}/npz/long/fan.npz: section "
        "'000000000000000000000000000000000000000000000000000000000000...' is longer "
        "than 100 bytes",
    ),
    (
        ["--embeddings={bad}/npz/surrogate"],
        ("{bad}/npz/surrogate/fan.npz: path '0\\ud800.wav' has characters that are no text"),
    ),
    (
        ["--embeddings={bad}/npz/no_file"],
        "{bad}/npz/no_file/fan.npz: path '../0.wav' leaves the folder",
    ),
    (
        ["--embeddings={bad}/npz/attribute"],
        "{bad}/npz/attribute/fan.npz: attribute '0\\x000' has a NUL in it",
    ),
    (
        ["--embeddings={bad}/npz/one_name"],
        "{bad}/npz/one_name: fan.npz: two test clips of one name, a.wav, so scores "
        "cannot be assigned; windows of one clip have window_start_seconds",
    ),
    (
        ["--embeddings={bad}/npz/one_name_in_two_folders"],
        "{bad}/npz/one_name_in_two_folders: fan.npz: two test clips of one name, a.wav, "
        "so scores cannot be assigned; windows of one clip have window_start_seconds",
    ),
    (
        ["--embeddings={bad}/npz/anomaly"],
        "{bad}/npz/anomaly: fan.npz: 0.wav is labelled an anomaly (1) in split train, "
        "which is for normal sound only (4 such clips)",
    ),
    (
        ["--embeddings={bad}/npz"],
        "{bad}/npz: machine "
        "'mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm...' is longer "
        "than 100 bytes",
    ),
    (
        ["--embeddings={bad}/npz/objects"],
        "{bad}/npz/objects/fan.npz: not a readable npz file (ValueError: 'section.npy' "
        "claims object (8,), but its entry has 178 bytes)",
    ),
    (
        ["--embeddings={bad}/npz/truncated"],
        "{bad}/npz/truncated/fan.npz: not a readable npz file (File is not a zip file)",
    ),
    (
        ["--embeddings={bad}/npz/nan", "--year=1999"],
        "data.year 1999: DCASE Task 2 as scored here was held from 2020 to 2026",
    ),
]


@pytest.mark.parametrize(("flags", "message"), CONFIG + DATA + FILES)
def test_train_says_what_is_wrong_and_leaves_nothing(
    bad, command, tmp_path, flags, message, monkeypatch
):
    # Python keeps what it compiles, as it does unless the environment forbids it.
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    flags = [f"--workdir={tmp_path / 'w'}", *(flag.format(bad=bad) for flag in flags)]
    message = message.replace("{bad}", str(bad))
    fails_cleanly(command, asd_jax.train, flags, message, tmp_path, bad)


@pytest.mark.parametrize(("flags", "message"), EVALUATE)
def test_evaluate_says_what_is_wrong_and_leaves_nothing(bad, command, tmp_path, flags, message):
    flags = [f"--workdir={tmp_path / 'w'}", *(flag.format(bad=bad) for flag in flags)]
    message = message.replace("{bad}", str(bad)).replace("{tmp}", str(tmp_path))
    fails_cleanly(command, asd_jax.evaluate, flags, message, tmp_path, bad)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", "{", "{tmp}/config.json: not a readable JSON file (...)"),
        (
            "config.json",
            '{"seed": 0}',
            "{tmp} holds a run of another config; it differs in arcface (None there, ... here). "
            "Use another --workdir, or --overwrite to remove that run first",
        ),
        (
            "data.json",
            '{"fan": {"clips": 9}}',
            "{tmp} holds a run on other recordings of fan (9 there, 7 here), gearbox (0 there, "
            "7 here). Use another --workdir, or --overwrite to remove that run first",
        ),
        ("data.json", "[", "{tmp}/data.json: not a readable JSON file (...)"),
    ],
)
def test_workdir_that_holds_something_else_stays_as_it_is(
    bad, command, tmp_path, name, content, message
):
    (tmp_path / "results.json").write_text("{}")
    (tmp_path / name).write_text(content)
    flags = [f"--workdir={tmp_path}", *(flag.format(bad=bad) for flag in TRAIN)]
    message = message.replace("{tmp}", str(tmp_path))
    fails_cleanly(command, asd_jax.train, flags, message, tmp_path)


def test_workdir_that_cannot_be_used(bad, command, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    flags = [flag.format(bad=bad) for flag in TRAIN]
    fails_cleanly(
        command,
        asd_jax.train,
        [*flags, f"--workdir={tmp_path / 'file'}"],
        f"{tmp_path}/file: no folder to write to (File exists)",
    )
    fails_cleanly(
        command,
        asd_jax.train,
        [*flags, f"--workdir={tmp_path / 'file' / 'w'}"],
        f"{tmp_path}/file/w: no folder to write to (Not a directory)",
    )
    with lock_folder(tmp_path / "held"):
        message = f"{tmp_path}/held is in use by process ...: "
        message += "wait for it, stop it, or use another --workdir"
        fails_cleanly(
            command, asd_jax.train, [*flags, f"--workdir={tmp_path / 'held'}"], message, tmp_path
        )
    unfinished = f"--workdir={bad / 'unfinished'}"
    message = f"{bad}/unfinished/embeddings: no embeddings of gearbox yet; "
    message += "the run's own command makes them"
    fails_cleanly(command, asd_jax.evaluate, [unfinished], message, bad)


def test_config_of_another_version_in_a_workdir_is_named(command, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"scoring": {"bakend": "knn"}}))
    (tmp_path / "embeddings").mkdir()
    fails_cleanly(
        command,
        asd_jax.evaluate,
        [f"--workdir={tmp_path}"],
        "config: no key 'scoring.bakend'; scoring has back_end, distance, ..., on_device, seed. "
        "Did you mean 'back_end'?",
        tmp_path,
    )
