"""Defines the encoder: waveform -> front end -> EAT -> pooling -> embedding.

Training, scoring and export all use the same function.
"""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
from einops import rearrange
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from asd_jax.features.front_end import FrontEnd
from asd_jax.features.simam import Length
from asd_jax.models.attention import ATTENTIONS, SpectrogramAttention
from asd_jax.models.eat import EAT, PATCH, EATConfig
from asd_jax.models.lora import LoRA
from asd_jax.models.pooling import AttentiveStatisticsPooling
from asd_jax.models.settings import POOLINGS, Tokens
from asd_jax.models.token_pooling import conditioned, pool_tokens
from asd_jax.runtime.errors import InputError, config_section
from asd_jax.runtime.settings import check_settings, key


@dataclasses.dataclass(frozen=True)
class Pooling:
    """How tokens become an embedding; band_mean is mean with the bands kept apart."""

    kind: str = key("attentive_statistics", "of the tokens", choices=POOLINGS)
    block: int = key(
        -1, "whose output is pooled; negative counts from the last", least=-64, most=63
    )
    embedding_dim: int = key(
        256,
        "width of a final linear layer; 0 for none (frozen encoders have none)",
        least=0,
        most=65_536,
    )
    tokens: Tokens = Tokens()

    def __post_init__(self):
        with config_section("pooling "):
            check_settings(self)
        if self.kind == "cls" and self.bands != "mixed":
            raise InputError(
                f"tokens.bands={self.bands}: the CLS token has no frequency bands; use another "
                "pooling, e.g. mean"
            )

    @property
    def bands(self) -> str:
        """What happens to the frequency bands: mixed, apart or joined."""
        return self.tokens.bands_of(self.kind)


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
    """Everything that defines an encoder besides its weights.

    Attributes:
        front_end: settings of the filter bank, normalisation and SimAM.
        eat: sizes of the backbone, or None for the bare filter bank.
        pooling: how tokens become an embedding.
        attention: a trainable attention that replaces SimAM, one of ATTENTIONS.
    """

    front_end: FrontEnd = FrontEnd()
    eat: EATConfig | None = EATConfig()
    pooling: Pooling = Pooling()
    attention: str = "none"

    def __post_init__(self):
        if self.attention not in ATTENTIONS:
            raise InputError(f"model.attention={self.attention!r}; known: {', '.join(ATTENTIONS)}")
        if self.attention != "none" and (self.front_end.simam.mode != "none" or self.eat is None):
            raise InputError(
                f"model.attention={self.attention} takes SimAM's place before EAT: it needs "
                "--config.features.simam=none and --config.model.encoder=eat"
            )
        if self.eat and self.eat.mel_bins != self.front_end.bins:
            raise InputError(
                f"EAT takes {self.eat.mel_bins} filters but the front end has {self.front_end.bins}"
            )
        for block in self.blocks:
            if not -self.backbone.depth <= block < self.backbone.depth:
                raise InputError(
                    f"pooling of `block={block}`: EAT has blocks 0..{self.backbone.depth - 1}"
                )

    @property
    def backbone(self) -> EATConfig:
        """The sizes of EAT.

        Raises:
            InputError: the encoder is the bare filter bank, which has no EAT.
        """
        if self.eat is None:
            raise InputError("the bare filter bank has no EAT: this needs an encoder that has one")
        return self.eat

    @property
    def blocks(self) -> list[int]:
        """The numbers of the blocks whose tokens are averaged; none for the bare filter bank."""
        pooling = self.pooling
        return pooling.tokens.block_numbers(pooling.block, self.eat.depth) if self.eat else []

    @property
    def block_indices(self) -> list[int]:
        """The same numbers, counted from the first block."""
        return [block % self.backbone.depth for block in self.blocks]

    @property
    def used_depth(self) -> int:
        """The number of blocks up to the highest pooled one; the embedding depends on no others."""
        return max(self.block_indices) + 1

    @property
    def embedding_dim(self) -> int:
        """The width e of the embeddings (of one band's, where bands are kept separate)."""
        if self.eat is None:
            return self.front_end.bins
        # Attentive statistics are a mean and a standard deviation.
        statistics = 2 if self.pooling.kind == "attentive_statistics" else 1
        # Joined bands are one vector.
        joined = self.eat.mel_bins // PATCH if self.pooling.bands == "joined" else 1
        return self.pooling.embedding_dim or statistics * joined * self.eat.embed_dim

    @property
    def axes(self) -> tuple[str, ...]:
        """The names of the axes of the embeddings."""
        bands = self.eat is not None and self.pooling.bands == "apart"
        return ("clip", "band", "embedding") if bands else ("clip", "embedding")


class Encoder(nn.Module):
    """Maps waveforms "b s" to (embeddings "b e" or "b bands e", intermediates).

    The intermediates are "filter_bank" "b f", the mean over real frames of the spectrogram after
    SimAM (the baseline without a model), EAT's "pre_norm", "blocks" and "ffn", and "tokens", those
    that are pooled.

    Attributes:
        config: front end, backbone and pooling.
        dtype: the type that EAT computes in; the rest is float32.
        lora: low-rank updates, as in EAT.
        drop_path: rate of stochastic depth in the last block, as in EAT.
        remat: whether to recompute blocks, as in EAT.
    """

    config: EncoderConfig
    dtype: DTypeLike = jnp.float32
    lora: LoRA | None = None
    drop_path: float = 0.0
    remat: bool = False

    def __call__(
        self,
        wave: Float[Array, "b s"],
        simam_mode: Int[Array, "b"] | None = None,
    ) -> tuple[Float[Array, "b ..."], dict]:
        x = self.config.front_end.spectrogram(wave, simam_mode)
        return self.embed(x, wave.shape[1], simam_mode)

    @nn.compact
    def embed(
        self,
        spectrogram: Float[Array, "b t f"] | None,
        samples: Length,
        simam_mode: Int[Array, "b"] | None = None,
        tokens: Float[Array, "b n d"] | None = None,
    ):
        """Returns embeddings and intermediates of a spectrogram to which SimAM was not yet applied.

        `samples` is the length of the clips in samples. If `tokens` is given, the intermediate
        "tokens" of an earlier call, these are pooled and the spectrogram is not used.
        """
        if tokens is not None:
            return self._pool(tokens.astype(self.dtype)), {}
        assert spectrogram is not None  # one of the two is given
        front_end = self.config.front_end
        x = front_end.attend(spectrogram, simam_mode, samples)
        # Padding is no sound, and has log energy 0 in every filter.
        out = {"filter_bank": x[:, : front_end.real_frames(samples)].mean(1)}
        if self.config.attention != "none":
            x = SpectrogramAttention(self.config.attention, name="attention")(x)
        if self.config.eat is None:
            return out["filter_bank"], out
        eat = EAT(self.config.eat, self.dtype, self.lora, self.drop_path, self.remat, name="eat")
        _, intermediates = eat(x)
        blocks = [intermediates["blocks"][block] for block in self.config.block_indices]
        # A single block is not divided, so that its embeddings stay the same to the last bit.
        mean = blocks[0] if len(blocks) == 1 else sum(blocks[1:], blocks[0]) / len(blocks)
        return self._pool(mean), out | intermediates | {"tokens": mean}

    def _pool(self, tokens):
        pooling = self.config.pooling
        bands = self.config.backbone.mel_bins // PATCH
        if pooling.kind == "attentive_statistics":
            embedding = self._attentive_statistics(tokens, bands)
        else:
            embedding = pool_tokens(tokens, pooling.kind, bands, pooling.tokens)
        return (
            nn.Dense(pooling.embedding_dim, name="embedding")(embedding)
            if pooling.embedding_dim
            else embedding
        )

    def _attentive_statistics(self, tokens, bands):
        pooling = self.config.pooling
        # Statistics over time and frequency are of patches; CLS has no place there.
        patches = conditioned(tokens, pooling.tokens)[:, 1:]
        module = AttentiveStatisticsPooling(name="pooling")
        if pooling.bands == "mixed":
            return module(patches)
        # Each band is pooled by itself, all with the same parameters.
        each = module(rearrange(patches, "b (t f) d -> (b f) t d", f=bands))
        form = "(b f) e -> b (f e)" if pooling.bands == "joined" else "(b f) e -> b f e"
        return rearrange(each, form, f=bands)
