import numpy as np
import pytest
from data.files_of_sound import SOUND

from asd_jax.data.audio import audio_format, fit_length, read_clip
from asd_jax.data.windows import windows_of
from asd_jax.runtime.errors import InputError
from benchmarks.odd_recordings import RATE, flac_total, untagged, written


def test_mp3_without_a_stated_length_is_read_to_its_end(tmp_path):
    loud, quiet = (
        level * np.random.default_rng(0).standard_normal(5 * RATE).clip(-3, 3)
        for level in (0.3, 1e-4)
    )
    whole = written(np.concatenate([loud, quiet]) * 32768, "MP3", "MPEG_LAYER_III")
    path = tmp_path / "stream.mp3"
    path.write_bytes(untagged(whole))
    frames = len(read_clip(path))
    assert frames % 576 == 0 and 0 < frames - 10 * RATE < 3 * 576
    assert audio_format(path) == (frames / RATE, RATE, 1)


def test_mp3_of_which_half_is_missing_gives_no_windows_of_silence(tmp_path):
    from asd_jax.data.clips import Clip

    whole = written(SOUND, "MP3", "MPEG_LAYER_III")
    path = tmp_path / "cut.mp3"
    path.write_bytes(whole[: len(whole) // 2])
    clip = Clip(str(path), "fan", "00", "train", "source", 0, "")
    with pytest.raises(InputError, match="cut.mp3: truncated"):
        windows_of([clip], length="window", samples=8000, hop=8000)
    with pytest.raises(InputError, match="no samples"):
        fit_length(np.zeros(0, np.float32), 8000)


@pytest.mark.parametrize("coding", ["PCM_16", "PCM_24"])
def test_flac_that_does_not_state_its_length_is_read(read, coding, tmp_path):
    np.testing.assert_array_equal(read(flac_total(written(SOUND, "FLAC", coding), 0)), SOUND)
    assert audio_format(tmp_path / "a.bin") == (len(SOUND) / RATE, RATE, 1)


@pytest.mark.parametrize(
    ("total", "message"),
    [(2 * len(SOUND), "truncated, the header states 60000 samples"), (99, "more samples than")],
)
def test_flac_that_states_another_length_is_refused(read, total, message):
    with pytest.raises(InputError, match=message):
        read(flac_total(written(SOUND, "FLAC", "PCM_16"), total))


def test_a_tag_after_a_flac_is_no_sound(read):
    content = written(SOUND, "FLAC", "PCM_16") + b"TAG" + bytes(125)
    np.testing.assert_array_equal(read(content), SOUND)


def test_damage_inside_an_ogg_is_not_passed_over(read):
    content = written(SOUND, "OGG", "VORBIS")
    pages = [n for n in range(len(content)) if content.startswith(b"OggS", n)]
    with pytest.raises(InputError, match="pages are missing"):
        read(content[: pages[-2]] + content[pages[-1] :])
