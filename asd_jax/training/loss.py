"""The loss of fine-tuning: augmented clips -> encoder -> head -> loss and accuracy.

To train on another loss, change `make_loss`: it gets a part of a batch and the parameters, and
returns the number to minimise. For a loss of the logits alone a head of your own is enough, see
models/own_head.py.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

from asd_jax.features.augment import mix, mixup_pairs, spec_augment
from asd_jax.models.arcface import arcface_loss
from asd_jax.models.encoder import Encoder
from asd_jax.training.mesh import gather_params
from asd_jax.training.settings import FineTuning


def make_loss(encoder: Encoder, head: nn.Module) -> Callable:
    """Returns the function (params, head's state, inputs, samples, key) -> (loss, (head's state,
    metrics)) of a part of a batch.

    The parameters are {"encoder", "head"}, the inputs those of `augmented_inputs`, and the samples
    the length of the clips. The metrics are scalars by name, which are logged beside the loss.
    """

    def loss_of(params: dict, head_state: dict, inputs: dict[str, jax.Array], samples: int, key):
        embeddings, _ = encoder.apply(
            {"params": params["encoder"]},
            inputs.get("spectrogram"),
            samples,
            inputs["simam_mode"],
            inputs.get("tokens"),
            method="embed",
            rngs={"drop_path": key},
        )
        variables = {"params": params["head"], **head_state}
        # A head without variables beside its parameters has an empty state, and nothing is mutable.
        (logits, cosine), head_state = head.apply(
            variables, embeddings, inputs["labels"], mutable=list(head_state)
        )
        # The accuracy uses the cosines, because the margin lowers the logit of the true class.
        # Of a mixed clip, the class with the larger weight counts.
        hits = cosine.argmax(-1) == inputs["labels"].argmax(-1)
        # A head may define a loss of its own.
        loss = getattr(head, "loss", arcface_loss)(logits, inputs["labels"])
        return loss, (head_state, {"accuracy": hits.mean()})

    return loss_of


def augmented_inputs(
    batch: dict[str, jax.Array],
    encoder: Encoder,
    classes: int,
    settings: FineTuning,
    key: jax.Array,
) -> tuple[dict[str, jax.Array], int]:
    """Returns what the loss takes of a batch, and the length of its clips in samples.

    This is {"spectrogram" or "tokens", "labels" "b c", "simam_mode"}, all with one row per clip.
    """
    inputs: dict[str, Any] = {"simam_mode": batch["simam_mode"]}
    labels = jax.nn.one_hot(batch["label"], classes)
    if "tokens" in batch:
        # Kept tokens are not augmented; the length counts for a spectrogram alone.
        return inputs | {"labels": labels, "tokens": batch["tokens"]}, 0
    wave, labels, augment = augmented_batch(batch["wave"], labels, key, settings)
    spectrogram = augment(encoder.config.front_end.spectrogram(wave, batch["simam_mode"]))
    return inputs | {"labels": labels, "spectrogram": spectrogram}, wave.shape[1]


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
