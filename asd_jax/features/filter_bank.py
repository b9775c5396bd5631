"""Computes log filter banks with Kaldi's frame processing.

The spacings are mel (o-FB), even (m-FB, the paper's) and gammatone (g-FB). DC removal,
pre-emphasis, window and DFT are all linear in the samples of a frame, so the processing up to the
spectrum is one matrix, built in float64 and applied as a strided convolution.
"""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from asd_jax.features.own import own_filters
from asd_jax.features.settings import (
    AUDIOSET_MEAN,
    AUDIOSET_STD,
    FRAME_MS,
    HOP_MS,
    LOW_HZ,
    SPACINGS,
)
from asd_jax.runtime.functions import names_function

Spacing = Literal["even", "mel", "gammatone"] | str  # or package.module:function

PRE_EMPHASIS = 0.97  # Kaldi's default, as EAT uses it
ENERGY_FLOOR = 2.0**-23  # float32 machine epsilon, Kaldi's floor before the logarithm
DECIBELS = 10 / np.log(10)  # per unit of natural-log energy


@functools.partial(jax.jit, static_argnames=("spacing", "sample_rate", "bins", "low_hz", "high_hz"))
def log_filter_bank(
    wave: Num[Array, "b s"],
    *,
    spacing: Spacing = "even",
    sample_rate: int = 16000,
    bins: int = 128,
    low_hz: float = LOW_HZ,
    high_hz: float | None = None,
) -> Float[Array, "b t f"]:
    """Returns natural-log filter bank energies "b t f" of waveforms "b s" in [-1, 1], not
    normalised.

    Frames of 25 ms every 10 ms, none padded: t = 1 + (s - 400) // 160 at 16 kHz. Energies are
    floored at 2^-23. The mel bank is torchaudio.compliance.kaldi.fbank with EAT's arguments
    (symmetric Hann, no dither, no energy).

    Example:
        energies = log_filter_bank(wave, spacing="mel")  # (1, 160000) -> (1, 998, 128)
        model_input = normalize(energies)

    Args:
        wave: float waveforms; a constant offset has no effect (every frame's mean is removed).
        spacing: "even" (m-FB, triangles linear in Hz), "mel" (o-FB, Kaldi), "gammatone" (g-FB,
            ERB-rate scale), or "package.module:function", see asd_jax/features/own.py.
        sample_rate: in Hz.
        bins: number of filters.
        low_hz: lower edge of the lowest filter, in Hz.
        high_hz: upper edge of the highest filter, in Hz; None for half the sample rate.

    Raises:
        ValueError: the clips are shorter than one frame or are not floats, the spacing is unknown,
            or the edges are out of order.
    """
    if not jnp.issubdtype(wave.dtype, jnp.floating):
        raise ValueError(f"a wave of {wave.dtype}; needs floats in [-1, 1], e.g. int16 / 32768")
    window = sample_rate * FRAME_MS // 1000
    hop = sample_rate * HOP_MS // 1000
    if wave.shape[-1] < window:
        raise ValueError(
            f"clips of {wave.shape[-1]} samples are shorter than one frame of {window}"
        )
    frames = frame_matrix(sample_rate)
    bank = filter_bank(spacing, sample_rate, bins, low_hz, high_hz)
    # TF32 errors would be visible in quiet cells, so both products use full float32.
    spectrum = jax.lax.conv_general_dilated(
        wave[:, :, None],
        np.asarray(frames.T[:, None, :], wave.dtype),
        window_strides=(hop,),
        padding="VALID",
        dimension_numbers=("NWC", "WIO", "NWC"),
        precision="highest",
    )
    real, imaginary = jnp.split(spectrum, 2, axis=-1)
    energy = jnp.matmul(real**2 + imaginary**2, np.asarray(bank.T, wave.dtype), precision="highest")
    return jnp.log(jnp.maximum(energy, ENERGY_FLOOR))


def normalize(
    features: Float[Array, "*b"], mean: float = AUDIOSET_MEAN, std: float = AUDIOSET_STD
) -> Float[Array, "*b"]:
    """Returns log energies as model input of the same shape: (x - mean) / (2 std).

    This is EAT's normalisation; note the factor 2.
    """
    return (features - mean) / (2 * std)


@functools.lru_cache
def frame_matrix(sample_rate: int = 16000) -> Float[np.ndarray, "k s"]:
    """Returns the matrix (2 * (n/2 + 1), window) that maps a frame's samples to its DFT, in
    float64.

    The rows of the real parts come first, then those of the imaginary parts. The matrix is the
    product of DC removal, pre-emphasis within the frame (first sample against itself), symmetric
    Hann window and the DFT of length n, the next power of two; 514 x 400 at 16 kHz.
    """
    size = sample_rate * FRAME_MS // 1000
    points = dft_size(sample_rate)
    remove_dc = np.eye(size) - 1 / size
    pre_emphasis = np.eye(size) - PRE_EMPHASIS * np.eye(size, k=-1)
    # A frame's first sample has no predecessor, so Kaldi subtracts the sample itself.
    pre_emphasis[0, 0] = 1 - PRE_EMPHASIS
    # np.hanning is symmetric, as Kaldi's window.
    hann = np.diag(np.hanning(size))
    angles = 2 * np.pi / points * np.outer(np.arange(points // 2 + 1), np.arange(size))
    dft = np.concatenate([np.cos(angles), -np.sin(angles)])
    # Kaldi's order of the steps, from right to left.
    return dft @ hann @ pre_emphasis @ remove_dc


@functools.lru_cache
def filter_bank(
    spacing: Spacing = "even",
    sample_rate: int = 16000,
    bins: int = 128,
    low_hz: float = LOW_HZ,
    high_hz: float | None = None,
) -> Float[np.ndarray, "f k"]:
    """Returns the filter weights (bins, n/2 + 1) on the power spectrum's DFT bins, in float64.

    Sources: mel, Kaldi (triangles linear in mel, height 1); even, the same triangles with mel
    replaced by Hz (arXiv 2508.15334, "evenly distributed intervals"; torchaudio's linear_fbanks);
    gammatone, the 4th-order power response with the bandwidths of Glasberg & Moore (1990).

    Raises:
        ValueError: the spacing is unknown, or the edges are out of order.
        InputError: as for `own_filters`.
    """
    high_hz = high_hz or sample_rate / 2
    if not 0 <= low_hz < high_hz <= sample_rate / 2:
        raise ValueError(f"no filter bank from {low_hz} to {high_hz} Hz at {sample_rate} Hz")
    hz = np.arange(dft_size(sample_rate) // 2 + 1) * sample_rate / dft_size(sample_rate)
    if names_function(spacing):
        return own_filters(spacing, hz, bins, low_hz, high_hz)
    if spacing == "gammatone":
        centre = _hz_of_erb_rate(
            np.linspace(_erb_rate(low_hz), _erb_rate(high_hz), bins + 2)[1:-1, None]
        )
        # 1.019 ERB is the bandwidth of a 4th-order gammatone filter.
        bandwidth = 1.019 * 24.7 * (4.37 * centre / 1000 + 1)
        # |H|^2 of order 4, as the weights apply to a power spectrum.
        return (1 + ((hz - centre) / bandwidth) ** 2) ** -4.0
    if spacing not in SPACINGS:
        raise ValueError(f"spacing {spacing!r}; known: {', '.join(SPACINGS)}")
    # Even spacing is the same bank on the axis of Hz itself.
    scale = _mel if spacing == "mel" else np.asarray
    # Each triangle reaches from the centre of the one below to that of the one above.
    edges = np.linspace(scale(low_hz), scale(high_hz), bins + 2)[:, None]
    left = edges[:-2]
    centre = edges[1:-1]
    right = edges[2:]
    position = scale(hz)
    weights = np.maximum(
        0, np.minimum((position - left) / (centre - left), (right - position) / (right - centre))
    )
    weights[:, -1] = 0  # Kaldi omits the Nyquist bin
    return weights


def dft_size(sample_rate: int) -> int:
    """Returns Kaldi's DFT length: the frame length rounded up to a power of two (512 at 16 kHz)."""
    return 2 ** int(np.ceil(np.log2(sample_rate * FRAME_MS // 1000)))


def _mel(hz):
    # Kaldi's formula, HTK's in natural logarithms.
    return 1127 * np.log1p(np.asarray(hz) / 700)


def _erb_rate(hz):
    # Glasberg & Moore (1990).
    return 21.4 * np.log10(1 + 4.37 * np.asarray(hz) / 1000)


def _hz_of_erb_rate(erb):
    return (10 ** (erb / 21.4) - 1) * 1000 / 4.37
