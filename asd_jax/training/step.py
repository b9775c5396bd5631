"""Defines one step of fine-tuning: augment, front end, encoder, head, gradients, update.

The step is a single compiled function.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from asd_jax.features.augment import mix, mixup_pairs, spec_augment
from asd_jax.models.adacos import AdaCos
from asd_jax.models.adaproj import AdaProj
from asd_jax.models.arcface import ArcFace, arcface_loss
from asd_jax.models.encoder import Encoder
from asd_jax.models.lora import merge
from asd_jax.models.own_head import own_head
from asd_jax.runtime.functions import names_function
from asd_jax.training.mesh import gather_params, shard_by_clip, shard_gradients
from asd_jax.training.optimizer import adamw, join, learning_rate_schedule, split
from asd_jax.training.settings import FineTuning

# At step n the decay of the average is at most (1 + n) / (10 + n), so that the average soon forgets
# the initial weights.
EMA_WARM_UP = 10


class TrainState(NamedTuple):
    """The values that a step changes.

    Attributes:
        step: number of steps done.
        params: {"encoder", "head"}, frozen parameters included.
        optimizer: the optimiser's state, for the trained parameters.
        head: the head's variables besides parameters, which is the scale of AdaCos.
        average: running average of the encoder's trained parameters, {} if there is none.
    """

    step: jax.Array
    params: dict
    optimizer: Any
    head: dict
    average: dict


def make_head(classes: int, settings: FineTuning, subcentres: tuple[int, ...] = ()) -> nn.Module:
    """Returns the classifier, which maps embeddings and soft labels to (logits, cosines).

    Args:
        classes: number of classes.
        settings: the settings of the training.
        subcentres: number of ArcFace's centres of each class; empty for one each.
    """
    if settings.head == "arcface":
        return ArcFace(classes, settings.scale, settings.margin, subcentres)
    if settings.head == "adaproj":
        return AdaProj(classes, settings.subclusters)
    if names_function(settings.head):
        return own_head(settings.head, classes)
    subclusters = settings.subclusters if settings.head == "subcluster_adacos" else 1
    return AdaCos(classes, subclusters, settings.scale_rule)


def make_optimizer(
    settings: FineTuning, steps: int, depth: int
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """Returns the optimiser of a run and its learning rate schedule.

    Args:
        settings: the settings of the training.
        steps: total number of steps.
        depth: number of blocks of EAT that the embedding depends on.
    """
    schedule = learning_rate_schedule(settings.learning_rate, steps, settings.warmup_fraction)
    optimizer = adamw(
        schedule,
        weight_decay=settings.weight_decay,
        clip_norm=settings.clip_norm,
        layer_decay=settings.layer_decay,
        depth=depth,
        thaw_every=settings.thaw_fraction * steps / depth
        if settings.strategy == "gradual"
        else 0.0,
    )
    return optimizer, schedule


def initial_state(
    encoder: Encoder,
    head: nn.Module,
    optimizer: optax.GradientTransformation,
    settings: FineTuning,
    *,
    key: jax.Array,
    wave: np.ndarray,
    pretrained: dict | None = None,
) -> TrainState:
    """Returns the state before the first step, with random parameters made from the key.

    The waveform gives the length of a clip. The pre-trained parameters of EAT, if any, replace the
    random ones.
    """
    key_encoder, key_head = jax.random.split(key)

    @jax.jit
    def init(key_encoder, key_head):
        params = encoder.init(key_encoder, jnp.zeros((1, len(wave))), jnp.zeros(1, jnp.int32))[
            "params"
        ]
        embedding = jnp.zeros((1, encoder.config.embedding_dim))
        return params, head.init(key_head, embedding, jnp.zeros((1, head.classes)))

    params, variables = init(key_encoder, key_head)
    if pretrained is not None:
        # The pre-trained EAT has no LoRA parameters, so the new ones must stay.
        params = {**params, "eat": join(params["eat"], pretrained)}
    params = {"encoder": params, "head": variables.pop("params")}
    trained, _ = split(params, settings.trains)
    average = jax.tree.map(jnp.copy, trained.get("encoder", {})) if settings.ema else {}
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(trained), variables, average)


def final_params(state: TrainState, settings: FineTuning) -> dict:
    """Returns the encoder's parameters at the end of a run.

    They are the averaged ones if an average was requested; low-rank updates are merged.
    """
    params = join(state.params["encoder"], state.average)
    return merge(params, settings.lora) if settings.lora else params


def make_train_step(
    encoder: Encoder,
    head: nn.Module,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    settings: FineTuning,
):
    """Returns the function (state, batch, key) -> (state, metrics), which is not compiled yet.

    Its randomness depends on the key and the step number alone.
    """
    loss_and_gradients = make_loss_and_gradients(encoder, head, settings)

    def train_step(
        state: TrainState, batch: dict[str, jax.Array], key: jax.Array
    ) -> tuple[TrainState, dict]:
        trained, frozen = split(state.params, settings.trains)
        step_key = jax.random.fold_in(key, state.step)
        gradients, head_state, metrics = loss_and_gradients(
            *gather_params((trained, frozen)), state.head, batch, step_key
        )
        gradients = shard_gradients(gradients)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, trained)
        trained = optax.apply_updates(trained, updates)
        average = state.average
        if settings.ema:
            decay = jnp.minimum(settings.ema, (1 + state.step) / (EMA_WARM_UP + state.step))
            average = optax.incremental_update(trained.get("encoder", {}), average, 1 - decay)
        metrics |= {
            "learning_rate": schedule(state.step),
            "gradient_norm": optax.tree.norm(gradients),
        }
        return TrainState(
            state.step + 1, join(trained, frozen), optimizer_state, head_state, average
        ), metrics

    return train_step


def make_loss_and_gradients(encoder: Encoder, head: nn.Module, settings: FineTuning):
    """Returns a function that computes the gradients of the trained parameters.

    The function maps (trained, frozen, head's state, batch, key) to (gradients, head's state,
    metrics). With settings.accumulate the batch is augmented as a whole, then goes through the
    encoder in that many parts.
    """
    front_end = encoder.config.front_end
    loss_of = _make_loss(encoder, head)

    def loss_and_gradients(trained, frozen, head_state, batch, key):
        labels = jax.nn.one_hot(batch["label"], head.classes)
        modes = batch["simam_mode"]
        wave, labels, augment = augmented_batch(batch["wave"], labels, key, settings)
        # Each clip carries the number of its part, from which the part's drop_path key is made.
        whole = {
            "spectrogram": augment(front_end.spectrogram(wave, modes)),
            "labels": labels,
            "simam_mode": modes,
            "part": jnp.repeat(jnp.arange(settings.accumulate), len(wave) // settings.accumulate),
        }

        def add(carry, part):
            gradients, head_state = carry
            drop_key = jax.random.fold_in(jax.random.fold_in(key, 2), part["part"][0])
            found, more = jax.value_and_grad(loss_of, has_aux=True)(
                trained, frozen, head_state, part, wave.shape[1], drop_key
            )
            loss, (head_state, accuracy) = found
            return (jax.tree.map(jnp.add, gradients, more), head_state), (loss, accuracy)

        none = jax.tree.map(jnp.zeros_like, trained)
        if settings.accumulate == 1:
            (gradients, head_state), (loss, accuracy) = add(
                (none, head_state), shard_by_clip(whole)
            )
        else:
            parts = jax.tree.map(lambda x: x.reshape(settings.accumulate, -1, *x.shape[1:]), whole)
            parts = shard_by_clip(parts, axis=1)
            # The scan processes one part at a time, which limits the memory for activations.
            (gradients, head_state), (loss, accuracy) = jax.lax.scan(add, (none, head_state), parts)
        gradients = jax.tree.map(lambda g: g / settings.accumulate, gradients)
        return gradients, head_state, {"loss": loss.mean(), "accuracy": accuracy.mean()}

    return loss_and_gradients


def _make_loss(encoder: Encoder, head: nn.Module):
    """Returns the function (trained, frozen, head's state, part, samples, key) -> (loss, (head's
    state, accuracy)) of a part of a batch.
    """

    def loss_of(trained, frozen, head_state, part, samples, key):
        params = join(trained, frozen)
        embeddings, _ = encoder.apply(
            {"params": params["encoder"]},
            part["spectrogram"],
            samples,
            part["simam_mode"],
            method="embed",
            rngs={"drop_path": key},
        )
        variables = {"params": params["head"], **head_state}
        (logits, cosine), head_state = head.apply(
            variables, embeddings, part["labels"], mutable=list(head_state)
        )
        # The accuracy uses the cosines, because the margin lowers the logit of the true class.
        hits = cosine.argmax(-1) == part["labels"].argmax(-1)
        loss = getattr(head, "loss", arcface_loss)(logits, part["labels"])
        return loss, (head_state, hits.mean())

    return loss_of


def augmented_batch(wave: jax.Array, labels: jax.Array, key: jax.Array, settings: FineTuning):
    """Returns the mixed waveforms, the soft labels and a function that augments the spectrogram.

    The order of the whole method is: waveform mixup -> filter bank, normalisation, padding ->
    spectrogram mixup -> SpecAugment -> SimAM.
    """
    key_mixup, key_mask = jax.random.split(key)
    weight, partner = mixup_pairs(
        key_mixup, len(wave), alpha=settings.mixup_alpha, probability=settings.mixup_probability
    )
    # Draws from Beta use rejection sampling, whose loop must not be spread over devices.
    weight, partner = gather_params((weight, partner))
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
