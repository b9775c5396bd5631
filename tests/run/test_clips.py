"""What a run hears."""

from collections import Counter

import numpy as np
import pytest
import soundfile
from calls import Calls
from machine_sound import sound

from asd_jax.config import RunConfig
from asd_jax.data.audio import read_clip
from asd_jax.data.clips import Clip
from asd_jax.data.machines import MACHINES
from asd_jax.data.windows import Window
from asd_jax.run import clips as module
from asd_jax.run.clips import (
    clip_windows,
    file_reader,
    find_data,
    mark_held_out,
    readable_clips,
    window_reader,
    with_held_out,
)
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.lock import InUse, lock_folder
from asd_jax.runtime.settings import with_values


def config(**values):
    names = {name.replace("__", "."): value for name, value in values.items()}
    return with_values(RunConfig(), names)


def clip_of(path, machine="fan", split="train", section="00", domain="source"):
    return Clip(str(path), machine, section, split, domain, 0, "")


@pytest.fixture
def calls(monkeypatch):
    """What `find_data` asks of others, of which nothing is written or read."""
    calls = Calls(monkeypatch, module)
    calls.answer("write_factory")
    calls.answer("find_clips", [clip_of("a.wav", "fan"), clip_of("b.wav", "pump")])
    calls.answer("check_machines")
    calls.answer("check_cancelling")
    return calls


def test_recordings_of_a_folder_are_checked_for_their_edition_and_their_channels(calls, tmp_path):
    one = config(data__root="d", data__machines="fan, pump", data__year=2022)
    found = find_data(one, tmp_path)
    assert [clip.machine for clip in found] == ["fan", "pump"]
    assert calls["find_clips"] == (("d", ["fan", "pump"]), {"report": module.print_error})
    assert calls["check_machines"][0] == (["fan", "pump"], 2022)
    assert not {"write_factory", "check_cancelling"} & set(calls)
    for channel in ("cancelled", "guarded"):
        calls.pop("check_cancelling", None)
        one = config(data__root="d", data__channel=channel)
        find_data(one, tmp_path)
        assert calls["check_cancelling"][0] == (one.data, found)


def test_without_recordings_the_way_to_get_some_is_shown(calls, tmp_path, monkeypatch):
    with pytest.raises(
        InputError, match="(?s)names no folder of recordings; expected tree.*--year"
    ):
        find_data(RunConfig(), tmp_path)

    def none(*_, **__):
        raise InputError("d: no such folder")

    monkeypatch.setattr(module, "find_clips", none)
    with pytest.raises(InputError, match="(?s)^d: no such folder\n.*asd_jax.data.download"):
        find_data(config(data__root="d"), tmp_path)


def test_the_factory_is_written_into_the_workdir_as_the_config_says(calls, tmp_path, capsys):
    values = {"data__root": "factory", "data__clip_seconds": 1.5, "factory__seed": 3}
    values |= {"factory__train_source": 7, "factory__machines": " fan,, pump "}
    one = config(**values, factory__train_target=2, factory__test_per_condition=4)
    find_data(one, tmp_path)
    folder = tmp_path / "factory"
    (root,), options = calls["write_factory"]
    assert root == folder == calls["find_clips"][0][0]
    assert options == {
        "seed": 3,
        "clip_seconds": 1.5,
        "machines": ["fan", "pump"],
        "train_source": 7,
        "train_target": 2,
        "test_per_condition": 4,
        "overwrite": False,
    }
    # The factory's machines belong to no edition.
    assert "check_machines" not in calls
    assert " ".join(capsys.readouterr().out.split()) == f"synthetic machines: {folder}"
    find_data(config(**values, data__machines="gearbox"), tmp_path)
    assert calls["write_factory"][1]["machines"] == ["gearbox"]
    find_data(config(data__root="factory"), tmp_path)
    assert calls["write_factory"][1]["machines"] == tuple(MACHINES)


def test_a_factory_is_replaced_on_request_by_the_first_process_while_nobody_works_there(
    calls, tmp_path, monkeypatch
):
    one = config(data__root="factory")
    find_data(one, tmp_path, overwrite=True)
    assert calls["write_factory"][1]["overwrite"] is True
    with lock_folder(tmp_path):
        with pytest.raises(InUse):
            find_data(one, tmp_path, overwrite=True)
        # What is only found is not locked.
        find_data(one, tmp_path)
        assert calls["write_factory"][1]["overwrite"] is False
    monkeypatch.setattr(module.processes, "is_first", lambda: False)
    find_data(one, tmp_path, overwrite=True)
    assert calls["write_factory"][1]["overwrite"] is False


def test_a_machine_whose_test_clips_alone_are_bad_goes_on(tmp_path):
    clips = []
    for machine in ("fan", "pump"):
        for split in ("train", "test"):
            path = tmp_path / f"{machine}_{split}.wav"
            if (machine, split) != ("fan", "test"):
                soundfile.write(path, sound(0, 0.2), 16000)
            clips.append(clip_of(path, machine, split))
    # Whether a machine has training clips at all is not asked here.
    soundfile.write(tmp_path / "valve_test.wav", sound(0, 0.2), 16000)
    clips.append(clip_of(tmp_path / "valve_test.wav", "valve", "test"))
    kept, skipped = readable_clips(config(data__on_bad_clip="skip"), clips)
    assert kept == [clips[0], *clips[2:]]
    assert [bad["file"] for bad in skipped] == [clips[1].path]
    with pytest.raises(InputError, match="fan_test.wav"):
        readable_clips(RunConfig(), clips)
    # Of two machines, the one without a readable training clip is named.
    (tmp_path / "pump_train.wav").unlink()
    for some in (clips, clips[:3]):
        with pytest.raises(
            InputError, match="^machine pump: none .*the first, .*pump_train.wav: no"
        ):
            readable_clips(config(data__on_bad_clip="skip"), some)


def test_the_config_says_how_many_threads_read_the_clips(calls):
    calls.answer("screen_clips", ([], []))
    module.without_unreadable(config(data__threads=7, data__on_bad_clip="skip"), [])
    assert calls["screen_clips"][1] == {"on_bad_clip": "skip", "threads": 7}


def test_a_summary_names_the_machines_and_those_without_test_clips(capsys):
    clips = [clip_of("a", "pump"), clip_of("b", "fan"), clip_of("c", "fan", "test")]
    clips += [clip_of("d", "valve"), clip_of("e", "pump")]
    marked = with_held_out(config(data__held_out=0.5, seed=3), clips)
    assert marked == mark_held_out(clips, 0.5, 3)
    assert " ".join(capsys.readouterr().out.split()) == (
        "5 clips of fan, pump, valve no test clips of pump, valve, which will have no scores"
    )
    with_held_out(RunConfig(), clips[1:3])
    assert " ".join(capsys.readouterr().out.split()) == "2 clips of fan"


def held_out(clips, fraction, seed=0):
    return [
        n for n, clip in enumerate(mark_held_out(clips, fraction, seed)) if clip.split == "held_out"
    ]


@pytest.mark.parametrize(
    ("size", "fraction", "count"),
    [
        (10, 0.2, 2),
        (10, 0.26, 3),
        (10, 0.01, 1),
        (10, 0.99, 9),
        (2, 0.9, 1),
        (1, 0.5, 0),
        (9, 0.0, 0),
    ],
)
def test_a_share_of_every_group_is_held_out_but_never_all_of_it(size, fraction, count):
    assert len(held_out([clip_of(n) for n in range(size)], fraction)) == count


def test_clips_are_held_out_of_each_machine_section_and_domain_and_never_of_the_test_clips():
    clips = [
        clip_of(f"{n}", machine, split, section, domain)
        for machine in ("fan", "pump")
        for section in ("00", "01")
        for domain in ("source", "target")
        for split in ("train", "test")
        for n in range(4)
    ]
    marked = mark_held_out(clips, 0.5, 0)
    counts = Counter(
        (clip.machine, clip.section, clip.domain) for clip in marked if clip.split == "held_out"
    )
    assert set(counts.values()) == {2} and len(counts) == 8
    for before, after in zip(clips, marked, strict=True):
        assert before.path == after.path
        assert after.split in ({"train", "held_out"} if before.split == "train" else {"test"})
    assert held_out(clips, 0.5) == held_out(clips, 0.5) != held_out(clips, 0.5, seed=1)
    assert held_out(clips, 0.0) == []


def test_windows_are_cut_as_the_config_says_and_in_training_have_one_length(tmp_path):
    soundfile.write(tmp_path / "a.wav", sound(0, 1.25), 16000)
    clip = clip_of(tmp_path / "a.wav")
    values = {"data__clip_seconds": 0.5, "data__hop_seconds": 0.25}

    def windows(length, **options):
        found = clip_windows(config(**values, data__length=length), [clip], **options)
        return [(window.start, window.samples) for window in found]

    assert windows("fit") == windows("fit", training=True) == [(0, 8000)]
    starts = [0, 4000, 8000, 12000]
    assert windows("window") == windows("window", training=True) == [(n, 8000) for n in starts]
    assert windows("bucket") != [(0, 8000)] == windows("bucket", training=True)


def test_a_window_has_a_patch_at_least_and_moves_on_by_a_sample_at_least():
    # 16 frames of 25 ms every 10 ms
    clip_windows(config(data__clip_seconds=0.175), [])
    with pytest.raises(InputError, match="data.clip_seconds=0.1749: too short"):
        clip_windows(config(data__clip_seconds=0.1749), [])
    clip_windows(config(data__hop_seconds=1 / 16000), [])
    with pytest.raises(InputError, match="data.hop_seconds=1e-05 must be positive"):
        clip_windows(config(data__hop_seconds=1e-5), [])


def test_a_window_is_read_from_its_start_and_padded_as_the_config_says(tmp_path):
    path = str(tmp_path / "a.wav")
    soundfile.write(path, sound(0, 0.5), 16000, subtype="FLOAT")
    wave = read_clip(path)
    window = Window(path, "fan", "00", "train", "source", 0, "", 6000, 3000)
    repeated = window_reader(RunConfig())(window)
    np.testing.assert_array_equal(repeated, np.concatenate([wave[6000:], wave[6000:7000]]))
    padded = window_reader(config(data__pad="zeros"))(window)
    np.testing.assert_array_equal(padded[:2000], wave[6000:])
    assert not padded[2000:].any() and len(padded) == 3000


def test_a_recording_that_changes_while_a_run_reads_it_is_named(tmp_path):
    path = str(tmp_path / "a.wav")
    soundfile.write(path, sound(0, 0.5), 16000)
    window = Window(path, "fan", "00", "train", "source", 0, "", 0, 3000)
    watched = window_reader(RunConfig(), [window])
    unwatched = window_reader(RunConfig())
    watched(window)
    soundfile.write(path, sound(1, 0.7), 16000)
    unwatched(window)
    with pytest.raises(InputError, match="a.wav: changed since the run began"):
        watched(window)


def test_a_file_is_read_by_its_channel_its_resampler_and_through_the_cache(tmp_path):
    path = str(tmp_path / "a.wav")
    soundfile.write(path, np.stack([sound(0, 0.5), sound(1, 0.5)], 1), 22050, subtype="FLOAT")
    for channel, given in (("1", 1), ("near", "near"), ("mean", "mean")):
        found = file_reader(config(data__channel=channel).data)(path)
        np.testing.assert_array_equal(found, read_clip(path, channel=given))
    found = file_reader(config(data__resampler="torchaudio").data)(path)
    np.testing.assert_array_equal(found, read_clip(path, resampler="torchaudio"))
    assert not np.array_equal(found, read_clip(path))
    cached = file_reader(config(data__cache=str(tmp_path / "cache"), data__channel="1").data)
    assert cached(path) == pytest.approx(read_clip(path, channel=1), abs=2e-5)  # int16
    assert list((tmp_path / "cache").iterdir())


def test_machine_without_a_readable_training_clip_is_named(tmp_path):
    config = with_values(RunConfig(), {"data.on_bad_clip": "skip"})
    clips = [
        Clip(str(tmp_path / f"{split}.wav"), "pump", "00", split, "source", 0, "")
        for split in ("test", "train")
    ]
    said = (
        f"machine pump: none of its training clips can be read; the first, {tmp_path}/train.wav: "
        "no such file$"
    )
    with pytest.raises(InputError, match=said):
        readable_clips(config, clips)


@pytest.fixture
def recording(tmp_path):
    """A loud second, then a quiet one."""
    wave = np.random.default_rng(0).uniform(-1, 1, 32000) * np.repeat([0.5, 0.005], 16000)
    soundfile.write(tmp_path / "pump.wav", wave, 16000, subtype="FLOAT")
    return str(tmp_path / "pump.wav")


def windows_at(level, path):
    read = window_reader(with_values(RunConfig(), {"data.level": level}))
    clip = (path, "pump", "00", "train", "source", 0, "")
    return [read(Window(*clip, start, 16000)) for start in (0, 16000)]


def test_each_window_has_one_level_if_levels_are_normalised(recording):
    kept, normalised = (windows_at(level, recording) for level in ("keep", "normalize"))
    for before, after in zip(kept, normalised, strict=True):
        rms = np.sqrt(np.mean(np.square(after, dtype=np.float64)))
        assert after.dtype == np.float32 and 20 * np.log10(rms) == pytest.approx(-30, abs=1e-4)
        # Only the factor differs.
        np.testing.assert_allclose(after / rms, before / before.std(), rtol=1e-2, atol=1e-2)
    assert kept[0].std() > 50 * kept[1].std()


def test_normalised_silence_stays_silent_and_a_click_is_clipped(tmp_path):
    click = np.zeros(32000)
    click[20000] = 0.5
    soundfile.write(tmp_path / "click.wav", click, 16000, subtype="FLOAT")
    silent, clipped = windows_at("normalize", str(tmp_path / "click.wav"))
    assert not silent.any()
    assert np.abs(clipped).max() == 1 and np.count_nonzero(clipped) == 1


def test_an_unknown_level_is_named():
    with pytest.raises(InputError, match="data.level='loud'; known: keep, normalize"):
        with_values(RunConfig(), {"data.level": "loud"})
