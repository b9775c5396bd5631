import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.features.filter_bank import (
    ENERGY_FLOOR,
    SPACINGS,
    dft_size,
    filter_bank,
    frame_matrix,
    log_filter_bank,
    normalize,
)

CLIPS = [
    "noise_2s",
    "chirp_1s",
    "tone_impulses_1p1s",
    "silence_0p5s",
    "machine_10s",
    "lowpass_noise_12p3s",
]


def wave_of(golden, name):
    return golden("fbank")[f"wave{CLIPS.index(name)}"].astype(np.float32)[None] / 32768


def float64_reference(wave, bank, sample_rate=16000):
    """Kaldi's steps one by one in float64, frame by frame: an independent way to the same
    numbers.
    """
    size = sample_rate // 40
    hop = sample_rate // 100
    rows = []
    for start in range(0, len(wave) - size + 1, hop):
        frame = wave[start : start + size].astype(np.float64)
        frame = frame - frame.mean()
        frame = frame - 0.97 * np.concatenate([frame[:1], frame[:-1]])
        frame = frame * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / (size - 1)))
        rows.append(bank @ np.abs(np.fft.rfft(frame, dft_size(sample_rate))) ** 2)
    return np.log(np.maximum(rows, ENERGY_FLOOR))


# Measured on CPU: 1.9e-4 noise, 1.0e-2 chirp, 1.6e-3 tone, 0 silence, 5.0e-5 machine, 6.0e-5
# low-pass noise. The references' own float32 rounding of cells far below the loudest one is most of
# it.
@pytest.mark.parametrize(
    ("name", "tolerance"), list(zip(CLIPS, [3e-4, 2e-2, 3.2e-3, 1e-6, 1e-4, 1.2e-4], strict=True))
)
def test_mel_bank_agrees_with_torchaudio_in_float32(golden, name, tolerance):
    arrays = golden("fbank")
    i = CLIPS.index(name)
    ours = np.asarray(log_filter_bank(wave_of(golden, name), spacing="mel"))[0]
    assert len(ours) == arrays[f"n_frames{i}"]
    np.testing.assert_allclose(
        ours[arrays[f"rows{i}"]], arrays[f"fbank{i}"], rtol=0, atol=tolerance
    )


# Measured on CPU: 1.2e-4 noise, 3.8e-3 chirp, 1.1e-3 tone, 0 silence.
@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("noise_2s", 2e-4),
        ("chirp_1s", 5e-3),
        ("tone_impulses_1p1s", 2.2e-3),
        ("silence_0p5s", 1e-6),
    ],
)
def test_mel_bank_agrees_with_torchaudio_in_float64(golden, name, tolerance):
    ours = log_filter_bank(wave_of(golden, name), spacing="mel")[0]
    reference = golden("fbank")[f"fbank_f64_{CLIPS.index(name)}"]
    np.testing.assert_allclose(ours, reference, rtol=0, atol=tolerance)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_every_bank_agrees_with_the_frame_by_frame_reference(golden, spacing):
    wave = wave_of(golden, "noise_2s")
    reference = float64_reference(wave[0], filter_bank(spacing))
    # measured 1.2e-4 (mel), 3.2e-5 (even), 3.5e-5 (gammatone)
    np.testing.assert_allclose(
        log_filter_bank(wave, spacing=spacing)[0], reference, rtol=0, atol=2.4e-4
    )


def test_mel_weights_are_torchaudios(golden):
    reference = golden("mel")
    # measured 1.4e-5
    np.testing.assert_allclose(filter_bank("mel"), reference["mel128"], rtol=0, atol=2.8e-5)
    assert (
        np.flatnonzero(filter_bank("mel").sum(1) == 0).tolist()
        == reference["empty_rows128"].tolist()
        == [3]
    )


def test_even_bank_is_evenly_spaced_with_equal_weight():
    bank = filter_bank("even")
    hz = np.arange(257) * 31.25
    centre = 20 + 61.86046511627907 * np.arange(1, 129)  # (8000 - 20) / 129 Hz apart
    # within half a DFT bin
    np.testing.assert_allclose((bank * hz).sum(1) / bank.sum(1), centre, atol=16)
    np.testing.assert_allclose(bank.sum(1), 1.98, atol=0.01)
    assert ((bank > 0).sum(1) >= 3).all() and ((bank > 0).sum(1) <= 4).all()
    assert (centre < 1000).sum() == 15 and (centre > 4000).sum() == 64


def test_even_bank_is_torchaudios_linear_fbanks():
    """Its definition in float64: slopes to the left and right of evenly spaced edges."""
    frequency = np.linspace(0, 8000, 257)
    edge = np.linspace(20, 8000, 130)
    step = np.diff(edge)
    slope = edge[None] - frequency[:, None]  # "frequency edge"
    expected = np.maximum(0, np.minimum(-slope[:, :-2] / step[:-1], slope[:, 2:] / step[1:]))
    # measured 0; the tolerance is a few roundings of frequencies near 8000
    np.testing.assert_allclose(filter_bank("even"), expected.T, rtol=0, atol=1e-12)


def test_gammatone_bank_peaks_on_the_erb_rate_scale():
    bank = filter_bank("gammatone")
    peak = np.argmax(bank, axis=1) * 31.25
    rate = np.linspace(21.4 * np.log10(1 + 4.37 * 0.02), 21.4 * np.log10(1 + 4.37 * 8), 130)[1:-1]
    centre = (10 ** (rate / 21.4) - 1) / 4.37 * 1000
    assert np.abs(peak - centre).max() <= 31.25 / 2
    # at one bandwidth from the centre the response is 2^-4
    half = 1.019 * 24.7 * (4.37 * centre[64] / 1000 + 1)
    assert np.interp(centre[64] + half, np.arange(257) * 31.25, bank[64]) == pytest.approx(
        2**-4, rel=0.05
    )


def test_constant_offset_and_polarity_change_nothing(golden):
    wave = wave_of(golden, "noise_2s")
    plain = log_filter_bank(wave)
    np.testing.assert_allclose(log_filter_bank(wave + 0.3), plain, atol=5e-3)
    np.testing.assert_array_equal(log_filter_bank(-wave), plain)


def test_twice_the_amplitude_adds_log_four(golden):
    wave = wave_of(golden, "machine_10s")
    np.testing.assert_allclose(
        log_filter_bank(2 * wave) - log_filter_bank(wave), np.log(4), atol=1e-5
    )


def test_each_clip_and_frame_stands_alone(golden):
    wave = wave_of(golden, "noise_2s")
    pair = log_filter_bank(jnp.concatenate([wave, wave[:, ::-1]]))
    np.testing.assert_allclose(pair[0], log_filter_bank(wave)[0], atol=1e-5)
    np.testing.assert_allclose(log_filter_bank(wave[:, 160 * 50 :])[0], pair[0, 50:], atol=1e-5)


def test_number_of_frames_and_too_short_clips():
    assert jax.eval_shape(log_filter_bank, jnp.zeros((2, 160000))).shape == (2, 998, 128)
    assert log_filter_bank(jnp.zeros((1, 400))).shape == (1, 1, 128)
    with pytest.raises(ValueError, match="399 samples are shorter than one frame of 400"):
        log_filter_bank(jnp.zeros((1, 399)))


def test_integers_and_edges_out_of_order_are_refused():
    with pytest.raises(ValueError, match="a wave of int16; needs floats"):
        log_filter_bank(jnp.zeros((1, 400), jnp.int16))
    with pytest.raises(ValueError, match="no filter bank from 9000.0 to 8000.0 Hz at 16000 Hz"):
        log_filter_bank(jnp.zeros((1, 400)), low_hz=9000.0)


def test_other_rates_and_edges_follow_the_reference():
    rng = np.random.default_rng(0)
    wave = rng.normal(size=8000).astype(np.float32) * 0.1
    bank = filter_bank("even", 8000, 64, 500.0, 3000.0)
    assert frame_matrix(8000).shape == (2 * 129, 200)
    ours = log_filter_bank(wave[None], sample_rate=8000, bins=64, low_hz=500.0, high_hz=3000.0)[0]
    np.testing.assert_allclose(ours, float64_reference(wave, bank, 8000), atol=2e-4)


def test_normalize_divides_by_twice_the_std(golden):
    # what EAT's padding becomes
    assert float(normalize(jnp.zeros(()))) == pytest.approx(0.467061, abs=1e-6)
    reference = golden("fbank")["input_pad"]
    ours = normalize(
        jnp.pad(
            log_filter_bank(wave_of(golden, "noise_2s"), spacing="mel"), ((0, 0), (0, 58), (0, 0))
        )
    )
    np.testing.assert_allclose(ours[0], reference.reshape(256, 128), atol=4e-5)  # measured 2.1e-5
