"""Defines one step of fine-tuning: the gradients of the loss (loss.py), and the update.

The step is a single compiled function.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from asd_jax.models.adacos import AdaCos
from asd_jax.models.adaproj import AdaProj
from asd_jax.models.arcface import ArcFace
from asd_jax.models.encoder import Encoder
from asd_jax.models.lora import merge
from asd_jax.models.own_head import own_head
from asd_jax.runtime.functions import names_function
from asd_jax.training.loss import augmented_inputs, make_loss
from asd_jax.training.mesh import gather_params, shard_by_clip, shard_gradients
from asd_jax.training.optimizer import Layerwise, adamw, join, learning_rate_schedule, split
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
    # AdaCos is sub-cluster AdaCos with one centre for each class.
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
    gradual = settings.strategy == "gradual"
    layers = Layerwise(
        depth=depth,
        decay=settings.layer_decay,
        # The lowest block thaws when that share of the steps is done.
        thaw_every=settings.thaw_fraction * steps / depth if gradual else 0.0,
    )
    optimizer = adamw(
        schedule,
        weight_decay=settings.weight_decay,
        clip_norm=settings.clip_norm,
        layers=layers,
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
        # Only shapes matter here, so zeros are enough.
        embedding = jnp.zeros((1, encoder.config.embedding_dim))
        return params, head.init(key_head, embedding, jnp.zeros((1, head.classes)))

    params, variables = init(key_encoder, key_head)
    if pretrained is not None:
        # The pre-trained EAT has no LoRA parameters, so the new ones must stay.
        params = {**params, "eat": join(params["eat"], pretrained)}
    # The variables that remain are not trained, such as the scale of AdaCos.
    params = {"encoder": params, "head": variables.pop("params")}
    trained, _ = split(params, settings.trains)
    # A copy, because the step donates the buffers of the state.
    average = jax.tree.map(jnp.copy, trained.get("encoder", {})) if settings.ema else {}
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(trained), variables, average)


def final_params(state: TrainState, settings: FineTuning) -> dict:
    """Returns the encoder's parameters at the end of a run.

    They are the averaged ones if an average was requested; low-rank updates are merged.
    """
    # Only trained parameters have an average; the others are those of the state.
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
        # Frozen parameters get no gradients and take no memory in the optimiser.
        trained, frozen = split(state.params, settings.trains)
        # Folding in the number of the step makes a continued run draw the same numbers.
        step_key = jax.random.fold_in(key, state.step)
        gradients, head_state, metrics = loss_and_gradients(
            *gather_params((trained, frozen)), state.head, batch, step_key
        )
        # Whole for the computation above, in shards for the update.
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
    loss_of = make_loss(encoder, head)
    count = settings.accumulate

    def loss_and_gradients(trained, frozen, head_state, batch, key):
        inputs, samples = augmented_inputs(batch, encoder, head.classes, settings, key)
        clips = len(batch["simam_mode"])
        # Each clip carries the number of its part, from which the part's drop_path key is made.
        whole = inputs | {"part": jnp.repeat(jnp.arange(count), clips // count)}

        def add(carry, part):
            gradients, head_state = carry
            # fold_in(key, 2): a stream of its own, apart from the two of the augmentation.
            drop_key = jax.random.fold_in(jax.random.fold_in(key, 2), part["part"][0])

            def of_trained(trained):
                return loss_of(join(trained, frozen), head_state, part, samples, drop_key)

            found, more = jax.value_and_grad(of_trained, has_aux=True)(trained)
            loss, (head_state, metrics) = found
            return (jax.tree.map(jnp.add, gradients, more), head_state), {"loss": loss, **metrics}

        # Sums begin at zero, also for a single part: one path for both.
        none = jax.tree.map(jnp.zeros_like, trained)
        if count == 1:
            (gradients, head_state), metrics = add((none, head_state), shard_by_clip(whole))
        else:
            parts = jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), whole)
            parts = shard_by_clip(parts, axis=1)
            # The scan processes one part at a time, which limits the memory for activations.
            (gradients, head_state), metrics = jax.lax.scan(add, (none, head_state), parts)
        # The parts have equal numbers of clips, so the mean over parts is that of the batch.
        gradients = jax.tree.map(lambda g: g / count, gradients)
        return gradients, head_state, {name: x.mean() for name, x in metrics.items()}

    return loss_and_gradients
