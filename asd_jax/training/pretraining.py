"""Pre-trains EAT without labels on any filter bank: EAT's objective, a masked autoencoder or
distillation.

EAT (github cwx-worst-one/EAT, EAT_pretraining.py and config/pretraining_AS2M.yaml): a student sees
a few patches of a clip and predicts, at the masked places, the output for the whole clip of a
teacher, which is a slowly moving average of the student. The masked autoencoder (He et al. 2021)
has the same parts but no teacher: it predicts the normalised pixels of the masked patches.
Distillation (distillation.py) predicts what other encoders give.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from einops import rearrange
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from asd_jax.features.front_end import FrontEnd
from asd_jax.models.decoder import NORM_EPS, ConvolutionDecoder, PixelDecoder
from asd_jax.models.eat import EAT, PATCH, EATConfig
from asd_jax.runtime.errors import InputError
from asd_jax.training.distillation import TargetScale, distillation_losses, initial_heads
from asd_jax.training.loop import BadState
from asd_jax.training.masks import kept_patches
from asd_jax.training.mesh import gather_params, shard_by_clip, shard_gradients
from asd_jax.training.optimizer import adamw, learning_rate_schedule
from asd_jax.training.settings import Pretraining

COLLAPSE_ADVICE = {
    "eat": "a slower teacher (`ema_start` nearer to 1), or `objective=masked_autoencoder`, which "
    "cannot collapse",
    "distill": "a larger `warmup_fraction`, or other teachers: the student learns nothing of these "
    "but their mean",
}


class PretrainingState(NamedTuple):
    """The values that a step changes.

    These are the number of steps done, the parameters {"eat", "decoder"}, the optimiser state and
    the teacher's EAT parameters ({} if there is no teacher).
    """

    step: jax.Array
    params: dict
    optimizer: Any
    teacher: dict


@dataclasses.dataclass(frozen=True)
class Student:
    """The EAT that is pre-trained, and what it learns.

    Attributes:
        config: its sizes.
        settings: the objective, and how fast it learns.
        dtype: the type to compute in.
        scales: of each teacher's values, in distillation.
    """

    config: EATConfig
    settings: Pretraining
    dtype: DTypeLike = jnp.float32
    scales: Sequence[TargetScale] = ()

    @property
    def decoder(self) -> ConvolutionDecoder | PixelDecoder:
        """The decoder, which maps (tokens, kept, times, bands) to one prediction for every patch.

        Distillation has heads of its own, see distillation.py.
        """
        return decoder_of(self.settings, self.dtype)


@dataclasses.dataclass(frozen=True)
class CollapseWatch:
    """Stops a pre-training whose targets or predictions are nearly the same everywhere.

    Attributes:
        least: the smallest permitted spread (EAT's own code: 0.1 for targets, 0.01 for
            predictions).
        after: number of steps without a check, since early predictions are near their mean.
        advice: what to try.
    """

    least: float
    after: int
    advice: str

    @classmethod
    def of(cls, settings: Pretraining) -> "CollapseWatch":
        """Returns the watch of a run."""
        # The masked autoencoder cannot collapse, because its targets are fixed.
        least = 0.0 if settings.objective == "masked_autoencoder" else settings.least_spread
        after = round(settings.steps * settings.warmup_fraction)
        return cls(least, after, COLLAPSE_ADVICE.get(settings.objective, ""))

    def __call__(self, step: int, metrics: dict[str, float]) -> None:
        """Raises BadState if the metrics show a collapse."""
        for name in ("target_spread", "prediction_spread"):
            if step > self.after and metrics.get(name, math.inf) < self.least:
                raise BadState(
                    f"step {step}: pre-training has collapsed, {name} is {metrics[name]:.3g} "
                    f"(least_spread {self.least:g}): every patch gets nearly the same vector. Try "
                    f"a smaller `learning_rate`, {self.advice}"
                )


def decoder_of(
    settings: Pretraining, dtype: DTypeLike = jnp.float32
) -> ConvolutionDecoder | PixelDecoder:
    """Returns the decoder of the settings, which maps (tokens, kept, times, bands) to predictions.

    There is one prediction for every patch.
    """
    s = settings
    if s.objective == "eat":
        return ConvolutionDecoder(
            s.decoder_layers, s.decoder_kernel, s.decoder_groups, s.mask_noise, dtype
        )
    return PixelDecoder(s.decoder_layers, s.decoder_width, s.decoder_heads, dtype)


def abstract_decoder(config: EATConfig, settings: Pretraining) -> dict:
    """Returns the shapes and dtypes of the decoder's parameters."""
    # Only shapes are computed, so any key serves.
    return jax.eval_shape(lambda: _initial_decoder(config, settings, jax.random.key(0)))


def _initial_decoder(config, settings, key):
    if settings.objective == "eat" and config.embed_dim % settings.decoder_groups:
        raise InputError(
            f"`decoder_groups={settings.decoder_groups}` does not divide the encoder's width, "
            f"{config.embed_dim}"
        )
    # One patch is enough: no parameter depends on the number of patches.
    tokens = jnp.zeros((1, 1, config.embed_dim))
    kept = jnp.zeros((1, 1), jnp.int32)
    keys = {"params": key, "noise": key}
    return decoder_of(settings).init(keys, tokens, kept, 1, config.mel_bins // PATCH)["params"]


def make_optimizer(
    settings: Pretraining,
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """Returns the optimiser of a run and its learning rate schedule."""
    schedule = learning_rate_schedule(
        settings.learning_rate, settings.steps, settings.warmup_fraction
    )
    optimizer = adamw(
        schedule,
        weight_decay=settings.weight_decay,
        clip_norm=settings.clip_norm,
        b2=0.95,  # EAT's, shorter than Adam's usual 0.999
        decay_everything=settings.decay_everything,
    )
    return optimizer, schedule


def initial_state(
    student: Student,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    pretrained: dict | None = None,
) -> PretrainingState:
    """Returns the state before the first step, with random parameters made from the key.

    {"eat", "decoder"} of `pretrained` replace the random ones; the teacher starts as a copy of EAT.
    """
    config = student.config
    settings = student.settings
    # Separate keys, so that another decoder does not change the initial encoder.
    eat_key, decoder_key = jax.random.split(key)
    spectrogram = jnp.zeros((1, PATCH, config.mel_bins))

    # Compiled, because operation by operation it would take many times as long.
    @jax.jit
    def init():
        eat = EAT(config).init(eat_key, spectrogram)["params"]
        if settings.objective == "distill":
            return {"eat": eat, "decoder": initial_heads(config, student.scales, decoder_key)}
        return {"eat": eat, "decoder": _initial_decoder(config, settings, decoder_key)}

    params = {**init(), **(pretrained or {})}
    # A copy, because the step donates the buffers of the state.
    teacher = jax.tree.map(jnp.copy, params["eat"]) if settings.objective == "eat" else {}
    return PretrainingState(jnp.zeros((), jnp.int32), params, optimizer.init(params), teacher)


def teacher_targets(ffn_outputs: list[Float[Array, "b n1 d"]]) -> Float[Array, "b n d"]:
    """Returns the targets "b n d" that the student must predict, from every block's FFN output.

    Each output, without its CLS token, is normalised per channel over the clip's patches; the mean
    over blocks is then normalised over channels.
    """
    targets = sum(_normalized(x[:, 1:], 1) for x in ffn_outputs) / len(ffn_outputs)
    return _normalized(targets, -1)


def eat_losses(
    predictions: Float[Array, "r n d"],
    cls: Float[Array, "r d"],
    targets: Float[Array, "r n d"],
    masked: Float[Array, "r n"],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Returns the frame loss and the utterance loss.

    Both are sums over views, patches and channels, divided by sqrt(d).

    Args:
        predictions: the decoder's output for every view.
        cls: the student's CLS token.
        targets: the teacher's targets.
        masked: 1 where a patch was hidden.
    """
    scale = targets.shape[-1] ** -0.5
    frame = (jnp.square(predictions - targets).sum(-1) * masked).sum() * scale
    # The utterance's target is the mean of the targets of all patches.
    return frame, jnp.square(cls - targets.mean(1)).sum() * scale


def patch_pixels(spectrogram: Float[Array, "b t f"]) -> Float[Array, "b n p"]:
    """Returns the pixels "b n p" of a spectrogram's patches, each patch scaled to mean 0, variance
    1.
    """
    pixels = rearrange(spectrogram, "b (t p) (f q) -> b (t f) (p q)", p=PATCH, q=PATCH)
    # The epsilon of the masked autoencoder's public code.
    return _normalized(pixels, -1, eps=1e-6)


def losses(
    student: Student,
    params: dict,
    teacher: dict,
    spectrogram: Float[Array, "b t f"],
    kept: Int[Array, "b m k"],
    key: jax.Array,
) -> tuple[Float[Array, ""], dict]:
    """Returns the loss to minimise and the metrics: its parts, and the spread of targets and
    predictions.

    Args:
        student: sizes, objective and weighting.
        params: {"eat": those of the student, "decoder"}.
        teacher: EAT parameters, {} for the masked autoencoder.
        spectrogram: normalised; a whole number of patches.
        kept: indices of the patches that each view keeps.
        key: random key of the decoder's noise.
    """
    settings = student.settings
    eat = EAT(student.config, student.dtype)
    times = spectrogram.shape[1] // PATCH
    bands = student.config.mel_bins // PATCH
    tokens, _ = eat.apply({"params": params["eat"]}, spectrogram, kept)
    rows = kept.reshape(-1, kept.shape[2])
    # 1 where the student does not see a patch.
    masked = jax.vmap(lambda row: jnp.ones(times * bands).at[row].set(0))(rows)
    places = (tokens[:, 1:], rows, times, bands)
    decoder = {"params": params["decoder"]}
    predictions: Any = student.decoder.apply(decoder, *places, rngs={"noise": key})
    # The losses add many values, for which bfloat16 has too few digits.
    predictions = predictions.astype(jnp.float32)
    if settings.objective == "eat":
        # The teacher gets no gradient; it only follows the student as a moving average.
        seen: Any = eat.apply({"params": jax.lax.stop_gradient(teacher)}, spectrogram)[1]
        targets = teacher_targets(seen["ffn"])
    else:
        targets = patch_pixels(spectrogram)
    # All views of a clip have the same targets.
    targets = jnp.repeat(targets, kept.shape[1], axis=0)
    parts = {
        "target_spread": channel_std(targets, masked),
        "prediction_spread": channel_std(predictions, masked),
    }
    if settings.objective == "masked_autoencoder":
        return (jnp.square(predictions - targets).mean(-1) * masked).sum() / masked.sum(), parts
    frame, utterance = eat_losses(predictions, tokens[:, 0].astype(jnp.float32), targets, masked)
    # Per masked patch, so that the share of masked ones does not change the scale.
    frame = frame / masked.sum()
    if settings.weighting == "mean":
        utterance = utterance / len(rows)
    parts |= {"frame_loss": frame, "utterance_loss": utterance}
    return frame + settings.utterance_weight * utterance, parts


def channel_std(values: Float[Array, "r n d"], masked: Float[Array, "r n"]) -> Float[Array, ""]:
    """Returns the standard deviation over all masked places, averaged over channels.

    It is 0 if every place gets the same vector, up to the 1e-6 that is added to the variance.
    """
    mean = (values * masked[..., None]).sum((0, 1), keepdims=True) / masked.sum()
    # Unbiased, as the public code logs it.
    variance = (jnp.square(values - mean) * masked[..., None]).sum((0, 1)) / (masked.sum() - 1)
    return jnp.sqrt(variance + 1e-6).mean()


def teacher_decay(settings: Pretraining, updates: Int[Array, ""]) -> Float[Array, ""]:
    """Returns the decay of the teacher's moving average after the given number of updates."""
    done = jnp.minimum(updates / settings.ema_steps, 1)
    return settings.ema_start + (settings.ema_end - settings.ema_start) * done


def make_pretraining_step(
    student: Student,
    front_end: FrontEnd,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
):
    """Returns the function (state, batch, key) -> (state, metrics), which is not compiled yet.

    Its randomness depends on the key and the step number alone.
    """
    settings = student.settings

    def step(state: PretrainingState, batch: dict, key: jax.Array) -> tuple[PretrainingState, dict]:
        mask_key, noise_key = jax.random.split(jax.random.fold_in(key, state.step))
        # These sounds are of no machine, so there is no SimAM mode to select.
        spectrogram = shard_by_clip(
            front_end.attend(front_end.spectrogram(batch["wave"]), None, batch["wave"].shape[1])
        )
        kept = _kept(student, spectrogram, mask_key)

        def loss_of(params):
            if settings.objective == "distill":
                return distillation_losses(
                    student.config, student.scales, params, spectrogram, kept, batch, student.dtype
                )
            teacher = gather_params(state.teacher)
            return losses(student, params, teacher, spectrogram, kept, noise_key)

        (loss, parts), gradients = jax.value_and_grad(loss_of, has_aux=True)(
            gather_params(state.params)
        )
        # The parameters were gathered for the computation; the update is done on shards again.
        gradients = shard_gradients(gradients)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {
            "loss": loss,
            "learning_rate": schedule(state.step),
            # Logged because it may become infinite or NaN while the loss is still finite.
            "gradient_norm": optax.tree.norm(gradients),
            **parts,
        }
        teacher = _next_teacher(settings, state, params["eat"])
        return PretrainingState(state.step + 1, params, optimizer_state, teacher), metrics

    return step


def _kept(
    student: Student, spectrogram: Float[Array, "b t f"], key: jax.Array
) -> Int[Array, "b m k"]:
    """Returns the indices of the patches that each view of a batch keeps."""
    settings = student.settings
    return kept_patches(
        key,
        len(spectrogram),
        settings.views,
        (spectrogram.shape[1] // PATCH, student.config.mel_bins // PATCH),
        mask_share=settings.mask_share,
        adjust=settings.mask_adjust,
        block=settings.mask_block,
    )


def _next_teacher(settings: Pretraining, state: PretrainingState, eat: dict) -> dict:
    """Returns the teacher after a step that ends with these parameters of the student."""
    decay = teacher_decay(settings, state.step)
    # Without a teacher both trees are empty.
    return jax.tree.map(
        lambda old, new: decay * old + (1 - decay) * new,
        state.teacher,
        eat if state.teacher else {},
    )


def _normalized(x, axis, eps=NORM_EPS):
    mean = x.mean(axis, keepdims=True)
    variance = x.var(axis, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + eps)
