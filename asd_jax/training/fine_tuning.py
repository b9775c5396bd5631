"""Fine-tuning: an encoder learns to tell (machine, attribute) classes apart, and so learns what normal sounds like."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import DTypeLike

from asd_jax.data.batches import Reader, training_batches
from asd_jax.data.clips import Clip, clip_class, training_classes
from asd_jax.errors import InputError
from asd_jax.features.augment import mix, mixup_pairs, spec_augment
from asd_jax.models.arcface import ArcFace, arcface_loss
from asd_jax.models.encoder import Encoder, EncoderConfig
from asd_jax.training.log import say
from asd_jax.training.loop import ON_BAD_LOSS, run_steps
from asd_jax.training.optimizer import adamw, learning_rate_schedule

MIXUPS = ("waveform", "spectrogram", "none")


@dataclasses.dataclass(frozen=True)
class FineTuning:
    """How to fine-tune; the keys of config.optimizer, config.arcface and config.augment (see configs/base.py)."""

    epochs: int = 10
    batch_size: int = 32
    learning_rate: float = 5e-5
    warmup_fraction: float = 0.1
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    on_bad_loss: str = "stop"
    scale: float = 30.0
    margin: float = 0.5
    mixup: str = "waveform"
    mixup_alpha: float = 0.4
    mixup_probability: float = 0.5
    mask_frames: int = 80
    mask_filters: int = 80
    mask_probability: float = 0.5

    def __post_init__(self):
        if self.mixup not in MIXUPS:
            raise InputError(f"augment.mixup={self.mixup!r}; known: {', '.join(MIXUPS)}")
        if self.on_bad_loss not in ON_BAD_LOSS:
            raise InputError(f"optimizer.on_bad_loss={self.on_bad_loss!r}; known: {', '.join(ON_BAD_LOSS)}")
        for name in ("epochs", "weight_decay", "margin", "mask_frames", "mask_filters"):
            if getattr(self, name) < 0:
                raise InputError(f"{name}={getattr(self, name)} must be at least 0")
        for name in ("batch_size", "learning_rate", "clip_norm", "scale", "mixup_alpha"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name}={getattr(self, name)} must be above 0")
        for name in ("warmup_fraction", "mixup_probability", "mask_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}={getattr(self, name)} must lie in 0..1")

    def steps(self, clips: int) -> int:
        """Number of steps on so many clips.

        Raises:
            InputError: not one.
        """
        steps = self.epochs * clips // self.batch_size
        if self.epochs and not steps:
            raise InputError(
                f"optimizer.batch_size={self.batch_size} is more than {self.epochs} x {clips} clips: no step to take"
            )
        return steps


class TrainState(NamedTuple):
    """What a step changes: steps done, parameters {"encoder", "arcface"}, optimiser state."""

    step: jax.Array
    params: dict
    optimizer: Any


def fine_tune(
    config: EncoderConfig,
    pretrained: dict | None,
    clips: Sequence[Clip],
    read: Reader,
    settings: FineTuning,
    *,
    workdir: Path,
    seed: int = 0,
    dtype: DTypeLike = jnp.float32,
    with_domain: bool = False,
    threads: int = 4,
    log_every: int = 20,
    checkpoint_every: int = 200,
) -> dict:
    """Training clips -> parameters of `Encoder(config)`; continues from the newest checkpoint in the workdir.

    Args:
        config: the encoder.
        pretrained: parameters of its EAT, None to train from scratch.
        clips: normal training clips.
        read: a clip's waveform, all of one length.
        settings: how to train.
        workdir: metrics.jsonl and checkpoints/ are written here.
        seed: of initial weights, order and augmentation.
        dtype: of EAT's computation.
        with_domain: whether source and target are different classes.
        threads: that read ahead.
        log_every: steps between log lines.
        checkpoint_every: steps between checkpoints.

    Raises:
        InputError: fewer than two classes, fewer clips than a batch, and what `run_steps` raises.
        Interrupted: as `run_steps`.
    """
    classes, extras = class_numbers(clips, config, with_domain)
    steps = settings.steps(len(clips))
    schedule = learning_rate_schedule(settings.learning_rate, steps, settings.warmup_fraction)
    optimizer = adamw(schedule, weight_decay=settings.weight_decay, clip_norm=settings.clip_norm)
    encoder, head = Encoder(config, dtype), ArcFace(len(classes), settings.scale, settings.margin)
    key_init, key_train = jax.random.split(jax.random.key(seed))
    params = initial_params(encoder, head, key_init, read(clips[0]), pretrained)
    say(f"training on {len(clips)} clips of {len(classes)} classes, {steps} steps of {settings.batch_size} clips")
    state = run_steps(
        make_train_step(encoder, head, optimizer, schedule, settings),
        TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params)),
        lambda start: training_batches(
            clips,
            extras,
            read,
            batch_size=settings.batch_size,
            epochs=settings.epochs,
            seed=seed,
            start=start,
            threads=threads,
        ),
        workdir=workdir,
        steps=steps,
        key=key_train,
        batch_size=settings.batch_size,
        log_every=log_every,
        checkpoint_every=checkpoint_every,
        on_bad_loss=settings.on_bad_loss,
        files_of=lambda batch: [clips[number].path for number in np.asarray(batch["clip"])],
    )
    return state.params["encoder"]


def class_numbers(
    clips: Sequence[Clip], config: EncoderConfig, with_domain: bool
) -> tuple[list[tuple[str, ...]], list[dict[str, int]]]:
    """(classes, for each clip its label and SimAM mode).

    Raises:
        InputError: fewer than two classes.
    """
    classes = training_classes(clips, with_domain=with_domain)
    if len(classes) < 2:
        raise InputError(
            f"all training clips are of one class {classes}: ArcFace needs at least two (machine, section, attribute) "
            "classes. Add machines (--config.data.machines), tell domains apart (--config.data.domain_in_class=True) "
            "if the clips have two, or use the encoder as it is, without training:\n"
            "  python -m asd_jax.evaluate --config=FILE --weights=FILE.safetensors --workdir=DIR"
        )
    number = {c: n for n, c in enumerate(classes)}
    return classes, [
        {
            "label": number[clip_class(clip, with_domain=with_domain)],
            "simam_mode": config.front_end.simam.mode_of(clip.machine),
        }
        for clip in clips
    ]


def initial_params(encoder: Encoder, head: ArcFace, key: jax.Array, wave: np.ndarray, pretrained: dict | None) -> dict:
    """Everything random from the key; then EAT's parameters replaced by the pre-trained ones, if any."""
    key_encoder, key_head = jax.random.split(key)

    @jax.jit
    def init(key_encoder, key_head):
        params = encoder.init(key_encoder, jnp.zeros((1, len(wave))), jnp.zeros(1, jnp.int32))
        embedding = jnp.zeros((1, encoder.config.embedding_dim))
        centres = head.init(key_head, embedding, jnp.zeros((1, head.classes)))
        return {"encoder": params["params"], "arcface": centres["params"]}

    params = init(key_encoder, key_head)
    return params if pretrained is None else {**params, "encoder": {**params["encoder"], "eat": pretrained}}


def make_train_step(
    encoder: Encoder,
    head: ArcFace,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    settings: FineTuning,
):
    """The function (state, batch, key) -> (state, metrics); randomness is a function of key and step alone."""

    def loss_of(params, batch, key):
        augmented = augmented_batch(batch["wave"], jax.nn.one_hot(batch["label"], head.classes), key, settings)
        wave, labels, augment = augmented
        embeddings, _ = encoder.apply({"params": params["encoder"]}, wave, batch["simam_mode"], augment)
        logits, cosine = head.apply({"params": params["arcface"]}, embeddings, labels)
        hits = cosine.argmax(-1) == labels.argmax(-1)  # without the margin, which only ever lowers the true class
        return arcface_loss(logits, labels), hits.mean()

    def train_step(state: TrainState, batch: dict[str, jax.Array], key: jax.Array) -> tuple[TrainState, dict]:
        step_key = jax.random.fold_in(key, state.step)
        (loss, accuracy), gradients = jax.value_and_grad(loss_of, has_aux=True)(state.params, batch, step_key)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
        metrics = {"loss": loss, "accuracy": accuracy, "learning_rate": schedule(state.step)}
        metrics["gradient_norm"] = optax.tree.norm(gradients)
        return TrainState(state.step + 1, optax.apply_updates(state.params, updates), optimizer_state), metrics

    return train_step


def augmented_batch(wave: jax.Array, labels: jax.Array, key: jax.Array, settings: FineTuning):
    """(waveforms, labels) -> (waveforms, soft labels, what to do to the spectrogram), in the order of the method.

    Waveform mixup -> filter bank, normalisation, padding -> spectrogram mixup -> SpecAugment -> SimAM.
    """
    key_mixup, key_mask = jax.random.split(key)
    weight, partner = mixup_pairs(
        key_mixup, len(wave), alpha=settings.mixup_alpha, probability=settings.mixup_probability
    )
    if settings.mixup != "none":
        labels = mix(labels, weight, partner)
    if settings.mixup == "waveform":
        wave = mix(wave, weight, partner)

    def augment(spectrogram):
        if settings.mixup == "spectrogram":
            spectrogram = mix(spectrogram, weight, partner)
        return spec_augment(
            key_mask,
            spectrogram,
            max_frames=settings.mask_frames,
            max_filters=settings.mask_filters,
            probability=settings.mask_probability,
        )

    return wave, labels, augment
