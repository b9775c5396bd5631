"""Builds the programs that the commands run on an accelerator, from shapes alone, without drawing
weights.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from asd_jax.detector.views import BATCH as WINDOWS
from asd_jax.detector.views import traced_views
from asd_jax.features.front_end import FrontEnd, SimAM
from asd_jax.models.eat import EATConfig
from asd_jax.models.encoder import Encoder, EncoderConfig, Pooling
from asd_jax.training import mesh as meshes
from asd_jax.training import pretraining, step
from asd_jax.training.clips import draw_from_resident
from asd_jax.training.loop import guard_step
from asd_jax.training.optimizer import adamw, learning_rate_schedule, split
from asd_jax.training.settings import FineTuning
from asd_jax.training.weights import abstract_encoder, embed

STEPS = 1000
CLASSES = 50
# Number of clips that stay on the device.
RESIDENT = 1000
# Number of clips per step with which EAT-large is fine-tuned in 80 GB.
LARGE = 128
# Frames of a clip in pre-training.
FRAMES = 1024
# A bare EAT as `detect` uses it.
BARE = EncoderConfig(FrontEnd("mel", simam=SimAM("none")), pooling=Pooling("band_mean", -2, 0))


class Lowered(NamedTuple):
    """A program to compile, and the sizes that follow from its shapes.

    Attributes:
        program: Object with `compile()`.
        state: Bytes per device of the state that it updates in place; 0 if it has none.
        reduced: Bytes that the devices sum, by formula: a gradient for every trained parameter.
        gathered: Bytes that every device receives in full: the waveforms that mixup may use, and
            the parameters if they are sharded.
    """

    program: Any
    state: int = 0
    reduced: int = 0
    gathered: int = 0


@dataclasses.dataclass(frozen=True)
class Program:
    """One compiled function of a command.

    Attributes:
        task: "fine-tuning", "pre-training", "embedding" or "detect".
        size: Size of EAT: "tiny", "base" or "large".
        variant: Description of what distinguishes it.
        dtype: Dtype of EAT's computation.
        clips: Clips per device.
        seconds: Length of a clip. Clips in pre-training have 1024 frames instead.
        settings: Settings of `FineTuning` or `Pretraining` that differ from the defaults.
        resident: Whether clips are drawn from those on the device.
        shards: Shards of the training state, see `make_mesh`; 0 for all devices.
        depth: Blocks of EAT; 0 for the size's own number.
    """

    task: str
    size: str
    variant: str
    dtype: str = "bfloat16"
    clips: int = 32
    seconds: float = 10.0
    settings: dict = dataclasses.field(default_factory=dict)
    resident: bool = False
    shards: int = 1
    depth: int = 0

    @property
    def name(self) -> str:
        """The description in one line."""
        return f"{self.task} {self.size}, {self.variant}, {self.dtype} x {self.clips}"

    @property
    def eat(self) -> EATConfig:
        """The sizes of EAT."""
        eat = getattr(EATConfig, self.size)()
        return dataclasses.replace(eat, depth=self.depth or eat.depth)

    @property
    def samples(self) -> int:
        """The samples of a clip."""
        if self.task == "pre-training":
            return FrontEnd().samples(FRAMES)
        return round(FrontEnd.sample_rate * self.seconds)

    def lowered(self, devices: Sequence[jax.Device]) -> Lowered:
        """Returns the program for these devices, which share every batch; they may be described
        devices.
        """
        mesh = Mesh(np.array(devices).reshape(-1, self.shards or len(devices)), meshes.AXES)
        if self.task == "fine-tuning":
            return _fine_tuning(self, mesh)
        if self.task == "pre-training":
            return _pretraining(self, mesh)
        return _embedding(self, mesh)


def programs(devices: int = 1) -> list[Program]:
    """Returns everything that the commands run on so many devices: strategies, objectives, lengths
    and sizes.
    """
    fit = "fine-tuning"
    pre = "pre-training"
    emb = "embedding"
    own = {"drop_path": 0.1, "ema": 0.999, "layer_decay": 0.65}
    autoencoder = {"objective": "masked_autoencoder"}
    found = [
        Program(fit, "base", "full"),
        Program(fit, "base", "full, resident clips", resident=True),
        Program(fit, "base", "full, windows of 2 s", seconds=2.0),
        Program(fit, "base", "full", dtype="float32"),
        Program(fit, "base", "frozen", settings={"strategy": "frozen"}),
        Program(fit, "base", "lora", settings={"strategy": "lora"}),
        Program(fit, "base", "gradual", settings={"strategy": "gradual"}),
        Program(fit, "base", "in 4 parts", settings={"accumulate": 4}),
        Program(fit, "base", "remat", settings={"remat": True}),
        Program(fit, "base", "drop path, average, layer decay", settings=own),
        Program(pre, "base", "eat", clips=48),
        Program(pre, "base", "masked autoencoder", clips=48, settings=autoencoder),
        Program(emb, "base", "fit, 10 s"),
        Program(emb, "base", "fit, 10 s", dtype="float32"),
        Program(emb, "base", "window, 2 s", seconds=2.0),
        Program(emb, "base", "bucket, 7.31 s", seconds=7.31),
        Program("detect", "base", "windows of 10 s", dtype="float32", clips=WINDOWS),
        Program(fit, "tiny", "full"),
        Program(pre, "tiny", "eat", clips=48),
        Program(emb, "tiny", "fit, 10 s"),
        Program(fit, "large", "full"),
        Program(fit, "large", "full", clips=LARGE),
        Program(fit, "large", "remat", clips=LARGE, settings={"remat": True}),
        Program(emb, "large", "fit, 10 s"),
    ]
    if devices == 1:
        return [*found, Program("detect", "base", "a stream of 10 s", dtype="float32", clips=1)]
    shared = {"shards": 0}
    return [
        *found,
        Program(fit, "base", "full, all shards", **shared),
        Program(fit, "large", "full, all shards", **shared),
    ]


def _fine_tuning(program: Program, mesh: Mesh) -> Lowered:
    settings = FineTuning(batch_size=program.clips * mesh.size, **program.settings)
    dtype = jnp.dtype(program.dtype)
    samples = program.samples
    config = EncoderConfig(eat=program.eat)
    encoder = Encoder(config, dtype, settings.lora, settings.drop_path, settings.remat)
    head = step.make_head(CLASSES, settings)
    optimizer, schedule = step.make_optimizer(settings, STEPS, program.eat.depth)

    def initial():
        key = jax.random.key(0)
        wave = np.zeros(samples, np.float32)
        return step.initial_state(encoder, head, optimizer, settings, key=key, wave=wave)

    state = jax.eval_shape(initial)
    train_step = step.make_train_step(encoder, head, optimizer, schedule, settings)
    rows = settings.batch_size
    kind = jnp.float32
    if program.resident:
        train_step = draw_from_resident(train_step, rows, jax.random.key(0))
        rows = RESIDENT
        kind = jnp.int16
    batch = {name: jax.ShapeDtypeStruct((rows,), jnp.int32) for name in ("clip", "label")}
    batch |= {"wave": jax.ShapeDtypeStruct((rows, samples), kind), "simam_mode": batch["label"]}
    lowered = _training(program, train_step, state, batch, mesh)
    reduced = _bytes(split(state.params, settings.trains)[0])
    mixed = settings.batch_size * samples * kind.dtype.itemsize
    return lowered._replace(reduced=reduced, gathered=lowered.gathered + mixed)


def _pretraining(program: Program, mesh: Mesh) -> Lowered:
    settings = pretraining.Pretraining(batch_size=program.clips * mesh.size, **program.settings)
    s = settings
    front = FrontEnd(simam=SimAM("none"), frames=FRAMES)
    schedule = learning_rate_schedule(s.learning_rate, s.steps, s.warmup_fraction)
    optimizer = adamw(schedule, weight_decay=s.weight_decay, clip_norm=s.clip_norm, b2=0.95)
    student = pretraining.Student(program.eat, settings, jnp.dtype(program.dtype))
    key = jax.random.key(0)
    state = jax.eval_shape(lambda: pretraining.initial_state(student, optimizer, key))
    train_step = pretraining.make_pretraining_step(student, front, optimizer, schedule)
    batch = {"wave": jax.ShapeDtypeStruct((s.batch_size, program.samples), jnp.float32)}
    lowered = _training(program, train_step, state, batch, mesh)
    return lowered._replace(reduced=_bytes(state.params))


def _training(program: Program, train_step, state, batch: dict, mesh: Mesh) -> Lowered:
    """Returns a training step as `run_steps` compiles it."""
    carried = (state, jax.ShapeDtypeStruct((), jnp.bool))
    placed, sound = jax.tree.map(_at, carried, meshes.shardings(mesh, carried))
    whole = NamedSharding(mesh, jax.P())
    spread = whole if program.resident else NamedSharding(mesh, jax.P(meshes.AXES))
    batch = jax.tree.map(lambda leaf: _at(leaf, spread), batch)
    key = _at(jax.eval_shape(lambda: jax.random.key(0)), whole)
    with _made_for(mesh):
        compiled_later = guard_step(train_step, mesh, carried, skip=False)
        lowered = compiled_later.lower(placed, sound, batch, key)
    held = sum(
        leaf.dtype.itemsize * int(np.prod(leaf.sharding.shard_shape(leaf.shape)))
        for leaf in jax.tree.leaves(placed)
    )
    return Lowered(lowered, held, gathered=_bytes(state.params) if program.shards != 1 else 0)


def _embedding(program: Program, mesh: Mesh) -> Lowered:
    detect = program.task == "detect"
    config = dataclasses.replace(BARE if detect else EncoderConfig(), eat=program.eat)
    whole = NamedSharding(mesh, jax.P())
    spread = NamedSharding(mesh, jax.P(meshes.AXES))
    params = jax.tree.map(lambda leaf: _at(leaf, whole), abstract_encoder(config))
    rows = program.clips * mesh.size
    wave = jax.ShapeDtypeStruct((rows, program.samples), jnp.float32, sharding=spread)
    modes = jax.ShapeDtypeStruct((rows,), jnp.int32, sharding=spread)
    with _made_for(mesh), jax.set_mesh(mesh):
        if detect:
            return Lowered(traced_views.lower(config, params, wave))
        dtype = jnp.dtype(program.dtype)
        return Lowered(embed.lower(config, params, wave, modes, dtype=dtype))


def _made_for(mesh: Mesh):
    return jax.default_device(mesh.devices.flat[0])


def _at(leaf, sharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _bytes(tree) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
