import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asd_jax.data.audio import audio_format, fit_length, read_clip, read_clip_int16, resample
from asd_jax.runtime.errors import InputError

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(-20000, 20000, 8000).astype(np.int16)


def tone(rate, hz=440.0, seconds=1.0):
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)


def write(path, samples, rate=16000, **options):
    soundfile.write(path, samples, rate, **options)
    return path


def test_pcm16_is_read_exactly(tmp_path, noise):
    path = write(tmp_path / "a.wav", noise)
    np.testing.assert_array_equal(read_clip(path), noise / np.float32(32768))
    np.testing.assert_array_equal(read_clip_int16(path), noise)


# A step of the coding; the lossy coders measured 0.0152 (vorbis) and 0.0125 (mp3) on this tone.
@pytest.mark.parametrize(
    ("ending", "coding", "error"),
    [
        ("wav", "PCM_U8", 1 / 128),
        ("wav", "PCM_24", 2**-23),
        ("wav", "PCM_32", 2**-23),
        ("wav", "FLOAT", 2**-23),
        ("wav", "DOUBLE", 2**-23),
        ("flac", "PCM_24", 2**-23),
        ("aiff", "PCM_16", 2**-15),
        ("ogg", "VORBIS", 0.03),
        ("mp3", "MPEG_LAYER_III", 0.025),
    ],
)
def test_every_coding_reads_as_the_same_sound(tmp_path, ending, coding, error):
    path = write(tmp_path / f"a.{ending}", tone(16000), subtype=coding)
    wave = read_clip(path)
    assert wave.dtype == np.float32 and wave.shape == (16000,)
    middle = slice(2000, 14000)  # lossy coders smear the ends
    np.testing.assert_allclose(wave[middle], tone(16000)[middle], atol=error)
    assert np.abs(read_clip_int16(path) / 32768 - wave).max() <= 2**-16


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 96000])
def test_any_rate_becomes_the_same_tone_at_16_khz(tmp_path, rate):
    wave = read_clip(write(tmp_path / "a.wav", tone(rate), rate))
    assert abs(len(wave) - 16000) <= 1
    middle = slice(1000, 15000)
    # measured 4.0e-5 (8 kHz)
    np.testing.assert_allclose(wave[middle], tone(16000)[middle], atol=8e-5)


@pytest.mark.parametrize("rate", [32000, 44100])
def test_kernel_equals_torchaudio(rate):
    golden = np.load(GOLDEN / "fbank.npz")
    ours = resample(
        golden[f"resample_in_{rate}"] / np.float32(32768), rate, 16000, method="torchaudio"
    )
    # measured 6.0e-8 at 32 kHz, 3.4e-6 at 44.1 kHz, where torchaudio itself computes the kernel in
    # float32
    np.testing.assert_allclose(ours, golden[f"resample_out_{rate}"], atol=6.9e-6, rtol=0)


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        ("near", [0.5, 0.25]),
        ("far", [0.25, -0.25]),
        (1, [0.25, -0.25]),
        ("1", [0.25, -0.25]),
        ("mean", [0.375, 0.0]),
        ("difference", [0.125, 0.25]),
    ],
)
@pytest.mark.parametrize("coding", ["PCM_16", "FLOAT"])
def test_channel_of_a_stereo_pair(tmp_path, channel, expected, coding):
    pair = np.tile([[0.5, 0.25], [0.25, -0.25]], (400, 1))
    path = write(tmp_path / "a.wav", pair, subtype=coding)
    np.testing.assert_array_equal(read_clip(path, channel=channel)[:2], expected)
    np.testing.assert_array_equal(
        read_clip_int16(path, channel=channel)[:2], 32768 * np.array(expected)
    )


def test_a_file_longer_than_a_block_is_read_whole(tmp_path):
    # 9 channels: 3 blocks
    samples = np.random.default_rng(1).integers(-9, 9, (1 << 20, 9)).astype(np.int16)
    np.testing.assert_array_equal(
        read_clip_int16(write(tmp_path / "a.wav", samples), channel=8), samples[:, 8]
    )


def test_loud_float_file_is_clipped_to_full_scale(tmp_path):
    wave = read_clip(write(tmp_path / "a.wav", 3 * tone(16000), subtype="FLOAT"))
    assert np.abs(wave).max() == 1 and read_clip_int16(tmp_path / "a.wav").max() == 32767


def test_header_alone_says_length_rate_and_channels(tmp_path):
    assert audio_format(write(tmp_path / "a.wav", np.zeros((24000, 2)), 48000)) == (0.5, 48000, 2)


def test_short_clip_is_repeated_from_its_start_and_long_one_cut_at_the_end():
    wave = np.arange(5, dtype=np.float32)
    np.testing.assert_array_equal(fit_length(wave, 12), [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1])
    np.testing.assert_array_equal(fit_length(wave, 3), [0, 1, 2])


def broken(tmp_path, kind, noise):
    path = write(tmp_path / "a.wav", noise)
    content = path.read_bytes()
    match kind:
        case "missing":
            path.unlink()
        case "folder":
            path.unlink()
            path.mkdir()
        case "text":
            path.write_text("not a recording")
        case "empty":
            path.write_bytes(b"")
        case "no samples":
            write(path, noise[:0])
        case "short":
            write(path, noise[:399])
        case "truncated":
            path.write_bytes(content[:9000])
        case "truncated flac":
            write(path, noise, format="FLAC")
            path.write_bytes(path.read_bytes()[:9000])
        case "truncated aiff":
            write(path, noise, format="AIFF")
            path.write_bytes(path.read_bytes()[:9000])
        case "nan" | "infinite":
            samples = noise / 32768
            samples[77] = float(kind[:3])
            write(path, samples, subtype="FLOAT")
        case "unscaled":
            write(path, noise.astype(np.float32), subtype="FLOAT")
        case "slow":
            write(path, noise, 100)
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "no such file"),
        ("folder", "not readable as audio"),
        ("text", "not readable as audio"),
        ("empty", "empty, no bytes in it"),
        ("no samples", "empty"),
        ("short", "399 samples at 16000 Hz are shorter than one frame of 25 ms"),
        ("truncated", "truncated, the header states 16000 bytes of sound but 8956 are there"),
        ("truncated flac", "a.wav"),
        ("truncated aiff", "truncated"),
        ("nan", "NaN or infinity"),
        ("infinite", "NaN or infinity"),
        ("unscaled", r"scale the recording to \[-1, 1\]"),
        ("slow", "a sampling rate of 100 Hz"),
    ],
)
def test_bad_file_is_named(tmp_path, kind, message, noise):
    path = broken(tmp_path, kind, noise)
    for read in (read_clip, read_clip_int16):
        with pytest.raises(
            InputError, match=f"a.wav: .*{message}" if message != "a.wav" else "a.wav: "
        ):
            read(path)


@pytest.mark.parametrize("kind", ["missing", "text", "empty", "no samples", "short", "truncated"])
def test_header_alone_betrays(tmp_path, kind, noise):
    with pytest.raises(InputError, match="a.wav: "):
        audio_format(broken(tmp_path, kind, noise))


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        ("far", "a.wav: no channel 'far' in a file of 1"),
        ("difference", "a.wav: no channel"),
        (2, "a.wav: no channel 2"),
        (-1, "a.wav: no channel -1"),
        ("left", "no channel 'left'; choose mean, near, far, difference"),
    ],
)
def test_channel_that_is_not_there(tmp_path, noise, channel, message):
    with pytest.raises(InputError, match=message):
        read_clip(write(tmp_path / "a.wav", noise), channel=channel)


def test_unknown_resampler_is_refused(noise):
    with pytest.raises(InputError, match="no resampler 'sox'; choose soxr or torchaudio"):
        resample(noise.astype(np.float32), 8000, 16000, method="sox")


@pytest.mark.parametrize("stated", [0, 0xFFFFFFFF])
def test_unknown_data_size_reads_to_the_end_of_the_file(tmp_path, noise, stated):
    content = bytearray(write(tmp_path / "a.wav", noise).read_bytes())
    struct.pack_into("<I", content, content.index(b"data") + 4, stated)
    (tmp_path / "a.wav").write_bytes(content)
    np.testing.assert_array_equal(read_clip_int16(tmp_path / "a.wav"), noise)


def test_damaged_and_odd_files_and_folders_are_read_right_or_raise_the_one_error():
    root = Path(__file__).parents[2]
    command = [
        sys.executable,
        "-m",
        "benchmarks.fuzz_audio",
        "--files=2000",
        "--containers=400",
        "--folders=40",
    ]
    done = subprocess.run(
        command,
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    result = json.loads(done.stdout)
    assert result["broken"] == [] and result["decoded"] > 400 and result["refused"] > 400


def test_zeros_fill_a_short_clip_only_when_asked():
    wave = np.array([1.0, 2.0, 3.0], np.float32)
    np.testing.assert_array_equal(fit_length(wave, 5, pad="zeros"), [1, 2, 3, 0, 0])
    np.testing.assert_array_equal(fit_length(wave, 5), [1, 2, 3, 1, 2])
    np.testing.assert_array_equal(fit_length(wave, 2, pad="zeros"), [1, 2])
    with pytest.raises(InputError, match="data.pad='mirror'; known: repeat, zeros"):
        fit_length(wave, 5, pad="mirror")
