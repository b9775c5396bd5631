import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import numpy as np
import pytest
import soundfile

from asd_jax.data.audio import read_clip, read_clip_int16
from asd_jax.data.cache import ClipCache, screen_clips
from asd_jax.data.clips import Clip
from asd_jax.runtime.errors import InputError


@pytest.fixture
def wavs(tmp_path):
    rng = np.random.default_rng(0)
    for n in range(8):
        samples = rng.integers(-9999, 9999, (4000 + n, 1 + n % 2)).astype(np.int16)
        soundfile.write(tmp_path / f"{n}.wav", samples, 16000 if n < 6 else 22050)
    return sorted(str(path) for path in tmp_path.glob("*.wav"))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch):
    """The files decoded from now on."""
    seen = []
    monkeypatch.setattr(
        "asd_jax.data.cache.read_clip_int16",
        lambda path, **kw: seen.append(path) or read_clip_int16(path, **kw),
    )
    return seen


def test_cached_waveform_is_the_decoded_one_to_16_bits(wavs, folder):
    for cache in (ClipCache(folder), ClipCache(folder)):
        for _ in range(2):
            for path in wavs:
                np.testing.assert_array_equal(cache.read_int16(path), read_clip_int16(path))
                np.testing.assert_allclose(cache.read(path), read_clip(path), atol=2**-16)


def test_second_run_decodes_nothing(wavs, folder, decoded):
    for path in wavs:
        ClipCache(folder).read(path)
    assert decoded == wavs
    again = ClipCache(folder)
    assert [len(again.read(path)) for path in wavs[:6]] == [4000, 4001, 4002, 4003, 4004, 4005]
    assert decoded == wavs


def test_changed_file_and_other_settings_are_decoded_anew(wavs, folder, decoded):
    ClipCache(folder).read(wavs[0])
    soundfile.write(wavs[0], np.zeros(5000, np.int16), 16000)
    assert len(ClipCache(folder).read(wavs[0])) == 5000
    ClipCache(folder, sample_rate=8000).read(wavs[0])
    ClipCache(folder, channel=0).read(wavs[0])
    assert decoded == [wavs[0]] * 4


def test_threads_and_other_processes_caches_fill_one_folder(wavs, folder):
    caches = [ClipCache(folder), ClipCache(folder)]
    with ThreadPoolExecutor(8) as pool:
        waves = list(pool.map(lambda n: caches[n % 2].read_int16(wavs[n % 8]), range(160)))
    for n, wave in enumerate(waves):
        np.testing.assert_array_equal(wave, read_clip_int16(wavs[n % 8]))
    last = ClipCache(folder)
    for path in wavs:
        np.testing.assert_array_equal(last.read_int16(path), read_clip_int16(path))


@pytest.mark.parametrize(
    "damage", ["half a line", "glued lines", "no text", "half a clip", "no pack"]
)
def test_run_after_a_crash_decodes_what_was_cut_short_and_keeps_the_rest(
    wavs, folder, decoded, damage
):
    cache = ClipCache(folder)
    for path in wavs[:2]:
        cache.read(path)
    (index,) = folder.glob("*.index")
    (pack,) = folder.glob("*.int16")
    lines = index.read_bytes().splitlines(keepends=True)
    if damage == "half a line":
        index.write_bytes(index.read_bytes()[:-2])
    elif damage == "glued lines":
        index.write_bytes(lines[0] + lines[1][:20] + lines[1] + b"\n")
    elif damage == "no text":
        index.write_bytes(lines[0] + b"\xff\xfe\0\n")
    elif damage == "half a clip":
        os.truncate(pack, pack.stat().st_size - 101)
    else:
        pack.unlink()
    decoded.clear()
    again = ClipCache(folder)
    for path in wavs[:2]:
        np.testing.assert_array_equal(again.read_int16(path), read_clip_int16(path))
    assert decoded == (wavs[:2] if damage == "no pack" else wavs[1:2])


@pytest.mark.parametrize("count", [1, 4000])
def test_samples_damaged_on_disk_are_decoded_again(wavs, folder, decoded, count):
    """6710c64 heard zeros that a power cut left."""
    cache = ClipCache(folder)
    for path in wavs[:2]:
        cache.read(path)
    (pack,) = folder.glob("*.int16")
    with open(pack, "r+b") as file:
        file.seek(2 * 4000)
        file.write(bytes(2 * count))
    decoded.clear()
    for _ in range(2):
        again = ClipCache(folder)
        for path in wavs[:2]:
            np.testing.assert_array_equal(again.read_int16(path), read_clip_int16(path))
    assert decoded == wavs[1:2]  # once, for the second cache finds what the first has added


@pytest.mark.parametrize("line", ["9" * 5000, f"{'a' * 64} 0 0 0", f"{'a' * 64} {'9' * 15} 1 1"])
def test_an_index_of_absurd_numbers_names_no_clip(wavs, folder, line):
    ClipCache(folder).read(wavs[0])
    (index,) = folder.glob("*.index")
    index.write_text(line + "\n")
    np.testing.assert_array_equal(ClipCache(folder).read_int16(wavs[0]), read_clip_int16(wavs[0]))


def test_folder_deleted_under_an_open_cache_is_filled_again(wavs, folder, decoded):
    other = ClipCache(folder)
    cache = ClipCache(folder)
    cache.read(wavs[0])
    other = ClipCache(folder)
    shutil.rmtree(folder)
    for one in (other, cache):  # one knows the pack, the other also writes to it
        for path in wavs[:2]:
            np.testing.assert_array_equal(one.read_int16(path), read_clip_int16(path))
    decoded.clear()
    assert len(ClipCache(folder).read(wavs[0])) == 4000 and decoded == []


def test_an_index_line_without_space_is_an_error_and_leaves_no_half(wavs, folder, monkeypatch):
    cache = ClipCache(folder)
    cache.read(wavs[0])
    pack, index = cache._files
    full = mock.Mock(wraps=index, write=lambda content: index.write(content[:30]))
    monkeypatch.setattr(cache, "_files", [pack, full])
    with pytest.raises(InputError, match="no space left for a whole clip"):
        cache.read(wavs[1])
    monkeypatch.setattr(cache, "_files", [pack, index])
    for path in wavs[1:3]:
        cache.read(path)
    again = ClipCache(folder)
    for path in wavs[:3]:
        np.testing.assert_array_equal(again.read_int16(path), read_clip_int16(path))
    assert (folder / index.name).read_bytes().count(b"\n") == 3


def test_bad_clip_is_named_and_nothing_is_stored(wavs, folder):
    with open(wavs[0], "r+b") as file:
        file.truncate(3000)
    with pytest.raises(InputError, match="0.wav: truncated"):
        ClipCache(folder).read(wavs[0])
    assert not folder.exists()
    with pytest.raises(InputError, match="gone.wav: no such file"):
        ClipCache(folder).read(wavs[0].replace("0.wav", "gone.wav"))


def test_folder_that_cannot_be_written_is_named(wavs, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file/cache: cannot write the cache"):
        ClipCache(tmp_path / "file" / "cache").read(wavs[0])


def as_clips(paths, machine="fan", split="train"):
    return [Clip(path, machine, "00", split, "source", 0, "") for path in paths]


def test_screening_fills_the_cache_in_order(wavs, folder, decoded):
    kept, skipped = screen_clips(as_clips(wavs), ClipCache(folder).read_int16, threads=4)
    assert kept == as_clips(wavs) and skipped == [] and sorted(decoded) == wavs


def test_bad_clips_stop_the_run_or_are_skipped_and_listed(wavs):
    for path in (wavs[2], wavs[5]):
        with open(path, "r+b") as file:
            file.truncate(3000)
    with pytest.raises(InputError, match=r"2.wav: truncated.*on_bad_clip=skip"):
        screen_clips(as_clips(wavs))
    kept, skipped = screen_clips(as_clips(wavs), on_bad_clip="skip")
    assert [clip.path for clip in kept] == [path for path in wavs if path not in (wavs[2], wavs[5])]
    assert [entry["file"] for entry in skipped] == [wavs[2], wavs[5]]
    assert all(entry["reason"].startswith("truncated, the header states") for entry in skipped)


def test_unknown_way_with_bad_clips_is_refused(wavs):
    with pytest.raises(InputError, match="on_bad_clip='ignore'; known: error, skip"):
        screen_clips(as_clips(wavs), on_bad_clip="ignore")
