import dataclasses
import json

import jax
import jaxtyping
import numpy as np
import pytest
import safetensors.numpy
from machine_sound import RATE, sound

import asd_jax
from asd_jax.data.audio import resample
from asd_jax.detector.self_check import self_check
from asd_jax.runtime.errors import InputError

Detector = asd_jax.Detector
FAULTY = [sound(100 + n, fault=0.05) for n in range(6)]
HEALTHY = [sound(200 + n) for n in range(20)]


def test_faults_are_heard_and_health_is_not_alarming(detector, plain):
    for one in (detector, plain):
        assert all(one.is_anomaly(wave) for wave in FAULTY)
        assert np.mean([one.is_anomaly(wave) for wave in HEALTHY]) <= 0.15  # 5 % asked for; of 20
        assert min(map(one.score, FAULTY)) > max(map(one.score, HEALTHY))


def test_verdict_names_the_moment(plain):
    wave = sound(7, 6.0)
    wave[4 * RATE : 5 * RATE] += 0.6 * np.sin(2 * np.pi * 3150 * np.arange(RATE) / RATE).astype(
        np.float32
    )
    verdict = plain.examine(wave)
    assert verdict.is_anomaly and verdict.worst_seconds == (4.0, 5.0) and len(verdict.windows) == 3
    assert (
        verdict.score == verdict.windows.mean() == plain.score(wave)
        and verdict.windows.argmax() == 2
    )
    assert verdict.p_value == pytest.approx(1 / 25) and verdict.threshold == plain.threshold


@pytest.mark.parametrize(
    ("seconds", "burst", "worst"),
    [
        (2.0, (1.6, 1.9), (0.98, 1.98)),  # the last second ends with the window, of 198 frames
        (5.0, (4.7, 4.9), (3.98, 4.98)),  # as the last window ends with the sound
        (1.3, (1.0, 1.3), (0.3, 1.3)),  # repeated to fill the window, heard again from 1.3 s on
        (0.7, (0.2, 0.5), (0.0, 0.7)),
    ],
)
def test_no_moment_is_left_out_and_none_lies_outside_the_sound(plain, seconds, burst, worst):
    wave = sound(7, seconds)
    first, last = (round(moment * RATE) for moment in burst)
    wave[first:last] += 0.3 * np.sin(2 * np.pi * 3150 * np.arange(last - first) / RATE).astype(
        np.float32
    )
    assert plain.examine(wave).worst_seconds == pytest.approx(worst)


def test_any_rate_and_length(plain):
    wave = sound(8, 4.0, rate=48000)
    assert plain.score(wave, 48000) == plain.score(resample(wave, 48000, RATE))
    short = plain.examine(wave[:9000])
    assert short.windows.shape == (1,)  # repeated to a window
    assert "less than the window of 2 s" in short.note and not plain.examine(wave, 48000).note
    assert plain.examine(sound(8, 4.0, rate=8000), 8000).note.startswith("rate: sound of 8000 Hz")
    for bad in (wave[:100], np.full(9000, np.nan, np.float32)):
        with pytest.raises(InputError, match="waveform"):
            plain.score(bad)


@pytest.mark.parametrize("rate", ["16000", 0, -1, 16000.5, 10**12, True])
def test_a_rate_that_is_none_is_refused(plain, rate, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for users
    with pytest.raises(InputError, match="sample_rate"):
        plain.score(HEALTHY[0], rate)
    assert plain.score(HEALTHY[0], np.int64(RATE)) == plain.score(HEALTHY[0])


@pytest.mark.parametrize("loudest", [1e300, 3.4e38])
def test_a_sample_beyond_float32_is_refused_at_any_rate(plain, loudest):
    wave = np.where(np.arange(48000) == 5, loudest, 0.1 * np.sin(np.arange(48000.0)))
    for rate in (16000, 44100, 48000):
        try:
            assert np.isfinite(plain.score(wave, rate))
        except InputError as error:
            assert "scale it to" in str(error)


def test_file_holds_everything(detector, plain, tmp_path):
    for one in (detector, plain):
        one.save(tmp_path / "a.detector")
        again = Detector.load(tmp_path / "a.detector")
        assert [again.score(w) for w in FAULTY[:2]] == [one.score(w) for w in FAULTY[:2]]
        assert (again.threshold, again.settings, again.names) == (
            one.threshold,
            one.settings,
            one.names,
        )
        again.save(tmp_path / "b.detector")
        assert (tmp_path / "a.detector").read_bytes() == (tmp_path / "b.detector").read_bytes()


def altered(path, change):
    """The file with its tensors and header changed, and a checksum that an attacker would also
    write.
    """
    from asd_jax.detector.file import _digest

    tensors = safetensors.numpy.load_file(path)
    with safetensors.safe_open(path, "numpy") as file:
        header = json.loads(file.metadata()["asd_jax"])
    change(tensors, header)
    header.pop("sha256")
    plain = {key: value for key, value in header.items() if key != "format"}
    header["sha256"] = _digest(tensors, plain)
    safetensors.numpy.save_file(tensors, path, {"asd_jax": json.dumps(header)})


HOSTILE = {
    "no threshold": lambda t, h: h.pop("threshold"),
    "threshold infinite": lambda t, h: h.update(threshold=float("inf")),
    "number too large": lambda t, h: h["settings"].update(window_seconds=1e12),
    "deep as memory": lambda t, h: h["encoder"]["eat"].update(depth=90_000),
    "wide as memory": lambda t, h: h["encoder"]["eat"].update(embed_dim=99_968),
    "rows outside": lambda t, h: t.update({"rows/level": t["rows/level"] + 999}),
    "bank too short": lambda t, h: t.update({"bank/level": t["bank/level"][:5]}),
    "raw of other banks": lambda t, h: t.update(
        {"raw/level/pca_residual": t["raw/level/pca_residual"].repeat(2, 1)}
    ),
    "unknown domain": lambda t, h: t.update(domain=t["domain"] + 9),
    "back end that is not": lambda t, h: h["scoring"]["level"].update(back_end="os.system"),
    "recording not named": lambda t, h: h.update(names=[]),
    "view missing": lambda t, h: t.pop("bank/fluctuation"),
    "weights missing": lambda t, h: t.pop(next(name for name in t if name.startswith("encoder/"))),
    "settings of text": lambda t, h: h.update(settings="x"),
    "patches of other width": lambda t, h: t.update(
        {"patches/vectors": t["patches/vectors"][..., :1].copy()}
    ),
    "threshold of text": lambda t, h: h.update(threshold="3"),
    "reduced to a number": lambda t, h: h.update(reduced=0),
    "names of numbers": lambda t, h: h.update(names=list(range(24))),
    "a field of nobody": lambda t, h: h.update(colour="red"),
    "a table of nobody": lambda t, h: t.update(extra=np.zeros(3)),
    "filters without end": lambda t, h: h["encoder"]["front_end"].update(bins=999_936),
    "a rate of ten to the six": lambda t, h: h["encoder"]["front_end"].update(
        sample_rate=10**6, high_hz=8000.0
    ),
    "all scores equal": lambda t, h: t.update(
        {"raw/level/pca_residual": np.ones_like(t["raw/level/pca_residual"])}
    ),
    "all scores huge": lambda t, h: t.update(
        {"raw/level/pca_residual": np.full_like(t["raw/level/pca_residual"], 1e38)}
    ),
    "patches of nobody": lambda t, h: t.update(
        {"patches/recording": t["patches/recording"] + np.int32(24)}
    ),
    "patches that do not vary": lambda t, h: t.update({"patches/usual": 0 * t["patches/usual"]}),
    "groups outside": lambda t, h: t.update(group=t["group"] + np.int32(99)),
    "one group": lambda t, h: t.update(group=0 * t["group"]),
    "domains that are mixed": lambda t, h: t.update(domain=np.arange(24).astype(np.uint8) % 3),
    "rows of floats": lambda t, h: t.update({"rows/level": t["rows/level"].astype(np.float32)}),
    "a back end of a million centres": lambda t, h: h["scoring"]["level"].update(
        back_end="k_means", centres=10**9
    ),
    "bank of other width": lambda t, h: t.update({"bank/level": t["bank/level"][:, :9].copy()}),
}


TABLES = ("rows/level", "rows/encoder", "rows/fluctuation", "domain", "group", "recording", "start")
TABLES += ("counted", "raw/level/pca_residual", "patches/recording", "patches/usual", "bank/level")


@pytest.mark.parametrize("table", TABLES)
def test_tables_of_another_rank_are_refused(detector, tmp_path, table):
    path = tmp_path / "a.detector"
    for change in (lambda of: of[:, None], lambda of: of[..., 0]):
        detector.save(path)
        altered(path, lambda t, h, of=change: t.update({table: np.array(of(t[table]), order="C")}))
        with pytest.raises(InputError, match="a.detector"):
            Detector.load(path)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_by_name(detector, tmp_path, name):
    path = tmp_path / "a.detector"
    detector.save(path)
    altered(path, HOSTILE[name])
    with pytest.raises(InputError, match="a.detector"):
        Detector.load(path).score(HEALTHY[0])


def test_damaged_files_are_refused_by_name(detector, tmp_path, encoder_file):
    path = tmp_path / "a.detector"
    detector.save(path)
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for damaged in (b"", content[:-7], content[:50], bytes(flipped), encoder_file.read_bytes()):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="a.detector"):
            Detector.load(path)
    with pytest.raises(InputError, match="missing.detector"):
        Detector.load(tmp_path / "missing.detector")


def test_update_learns_a_new_kind_of_normal(plain):
    other = [sound(300 + n, fault=0.02) for n in range(12)]
    further = [sound(400 + n, fault=0.02) for n in range(8)]
    assert np.mean([plain.is_anomaly(wave) for wave in further]) == 1
    updated = plain.update(other)
    assert np.mean([updated.is_anomaly(wave) for wave in further]) <= 0.25
    # A kind that nobody had heard was normal: so may another be that is no farther away.
    assert all(updated.is_anomaly(sound(100 + n, fault=0.5)) for n in range(6))
    assert len(updated.names) == 36 and len(plain.names) == 24


def test_update_equals_a_fit_to_all(encoder_file, normal):
    parts = Detector.fit(normal[:14], RATE, weights=encoder_file).update(normal[14:])
    whole = Detector.fit(normal, RATE, weights=encoder_file)
    assert parts.threshold == pytest.approx(whole.threshold, rel=1e-6)
    assert parts.score(FAULTY[0]) == pytest.approx(whole.score(FAULTY[0]), rel=1e-6)


def test_coreset_keeps_fewer_vectors_and_hears_as_well(encoder_file, normal, tmp_path):
    small = Detector.fit(normal, RATE, weights=encoder_file, coreset_size=8)
    assert len(small.bank.vectors["encoder"]) == 8 and len(small.bank.vectors["level"]) == 24
    assert all(small.is_anomaly(wave) for wave in FAULTY) and len(small.bank.normal) == 24
    small.save(tmp_path / "a.detector")
    more = Detector.load(tmp_path / "a.detector").update(HEALTHY[:5])
    assert len(more.bank.vectors["encoder"]) == 13 and len(more.bank.normal) == 29


def test_one_long_recording_is_enough(normal):
    one = Detector.fit([np.concatenate(normal)], RATE, weights=None, window_seconds=2.0)
    assert len(set(one.bank.windows.group)) == 10 and all(one.is_anomaly(wave) for wave in FAULTY)


def test_ten_clips_cannot_support_five_percent(normal):
    notes = "\n".join(map(str, Detector.fit(normal[:10], RATE, weights=None).notes))
    assert "10 normal sounds cannot support a false-alarm rate of 5 %" in notes
    with pytest.raises(InputError, match="at least 3"):
        Detector.fit(normal[:2], RATE, weights=None)


def test_recordings_shorter_than_the_window_are_told(normal):
    mixed = [*normal, *(wave[: RATE // 2] for wave in normal[:3])]
    one = Detector.fit(iter(mixed), RATE, weights=None)
    assert "3 of 27 recordings are shorter than the window of 2 s" in one.notes[0]


ONE = np.zeros(9000, np.float32)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"waves": sound(0)[:99]}, "give a list of waveforms"),
        ({"sample_rate": "16000"}, "sample_rate='16000' should be of type int"),
        ({"sample_rate": 16000.5}, "sample_rate=16000.5 should be of type int"),
        ({"sample_rate": 10**12}, "sample_rate=1000000000000 must lie in 1000..768000"),
        ({"window_seconds": "2"}, "window_seconds='2' should be of type float"),
        ({"window_seconds": 60}, "windows of 60 s, but the longest of 6 recordings lasts 2 s"),
        ({"window_seconds": float("nan")}, "window_seconds=nan is not a finite number"),
        ({"false_alarm_rate": 1e-310}, "false_alarm_rate=1e-310 must lie in 1e-09"),
        ({"false_alarm_rate": 1 - 1e-12}, "false_alarm_rate=0.9999"),
        ({"false_alarm_rate": True}, "false_alarm_rate=True should be of type float"),
        ({"weights": "nowhere"}, "nowhere: no such weight file"),
        ({"coreset_size": "5"}, "coreset of 5"),
        ({"waves": [np.full(9000, 1e300)] * 6}, "scale it to"),
        ({"names": ["a"]}, "names of 1 recordings, but 6"),
        ({"domains": ["source"] * 5}, "domains of 5"),
        ({"domains": ["target"] * 7}, "domains of 7"),
        ({"domains": ["bogus"] * 6}, "domain 'bogus'"),
        ({"trained": [False] * 5}, "trained of 5"),
        ({"coreset_size": -5}, "coreset of -5"),
        ({"coreset_size": 2}, "a larger coreset"),
        ({"waves": [ONE] * 20}, "1 recordings in the bank of pooled sounds"),
        ({"waves": [sound(0)] * 19 + [sound(1)]}, "copies, and silent ones, count as one"),
    ],
)
def test_what_cannot_be_fitted_is_refused(normal, encoder_file, given, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for users
    weights = encoder_file if given.get("coreset_size") == 2 else None
    with pytest.raises(InputError, match=message):
        Detector.fit(**{"waves": normal[:6], "weights": weights} | given)


def test_recordings_an_encoder_was_trained_on_set_no_threshold(encoder_file, normal):
    one = Detector.fit(normal, RATE, weights=encoder_file, trained=np.arange(24) < 16)
    assert len(one.bank.normal) == 8 and len(one.bank.vectors["level"]) == 24


def test_domains_are_told_apart_where_both_are_there(normal):
    quiet = [wave / 8 for wave in normal[:6]]
    one = Detector.fit(normal + quiet, RATE, weights=None, domains=["source"] * 24 + ["target"] * 6)
    assert one.bank.domains == ["source", "target"]
    assert not one.is_anomaly(HEALTHY[0] / 8) and not one.is_anomaly(HEALTHY[0])
    few = Detector.fit(
        normal + quiet[:2], RATE, weights=None, domains=["source"] * 24 + ["target"] * 2
    )
    assert few.bank.domains == ["pooled"]
    (note,) = [note for note in few.notes if "2 target recordings" in note]
    assert note in few.update(HEALTHY[:2]).notes
    assert few.update(HEALTHY[:2], names=["a", "b"]).names[-1] == "b"
    same = Detector.fit(
        normal + quiet[:1] * 4, RATE, weights=None, domains=["source"] * 24 + ["target"] * 4
    )
    assert same.bank.domains == ["pooled"]
    assert any("1 target recordings (copies count as one)" in note for note in same.notes)
    assert not any("left out" in note for note in (*few.notes, *same.notes))
    with pytest.raises(InputError, match="names of 1 recordings"):
        few.update(HEALTHY[:2], names=["a"])
    with pytest.raises(InputError, match="source or target"):
        one.update(normal[:1])


def test_self_check_finds_the_odd_one_and_the_copies(normal):
    recordings = [*normal, FAULTY[0], normal[3] * np.float32(1.0001)]
    check = self_check(Detector.fit(recordings, RATE, weights=None))
    assert check.copies == [("recording 3", "recording 25")]
    said = "\n".join(check.lines())
    assert (
        "left out, as it is far from all others: recording 24" in said
        and "near-duplicates, which count as one: recording 3 and" in said
    )
    clean = self_check(Detector.fit(normal, RATE, weights=None))
    assert not clean.suspects and not clean.copies


def test_copies_do_not_vouch_for_each_other(normal):
    once, twice = (Detector.fit(waves, RATE, weights=None) for waves in (normal, normal + normal))
    assert twice.bank.normal.min() > once.bank.normal.min() - 0.5
    assert np.array_equal(twice.bank.windows.group, np.tile(np.arange(24), 2))


@pytest.mark.parametrize("tokens", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_heat_map_points_at_the_fault(normal, encoder_file, plain, tokens, tmp_path):
    wave = sound(7, 2.0)
    wave[RATE:] += 0.3 * np.sin(2 * np.pi * 3150 * np.arange(RATE) / RATE).astype(np.float32)
    one = Detector.fit(normal[:8], RATE, weights=encoder_file, tokens=True) if tokens else plain
    one.save(tmp_path / "a.detector")
    seen = Detector.load(tmp_path / "a.detector").explain(np.concatenate([HEALTHY[0], wave]))
    assert np.array_equal(seen.values, one.explain(np.concatenate([HEALTHY[0], wave])).values)
    assert seen.start == 2.0 and seen.nearest in one.names and seen.nearest_start == 0.0
    assert seen.values.shape == (198, 128) and np.array_equal(seen.window, wave.clip(-1, 1))
    hottest = np.argwhere(seen.values == seen.values.max())
    assert hottest[:, 0].min() >= 96  # the whistle begins in frame 100
    assert np.abs(seen.front_end.filter_centres[hottest[:, 1]] - 3150).min() < (
        700 if tokens else 100
    )


def test_a_filter_bank_has_no_tokens(normal):
    with pytest.raises(InputError, match="needs an encoder that has them"):
        Detector.fit(normal[:8], RATE, weights=None, tokens=True)


def test_update_learns_the_patches_too(plain):
    other = [sound(300 + n, fault=0.01) for n in range(12)]
    test = sound(400, fault=0.01)
    assert plain.update(other).explain(test).values.max() < 0.5 * plain.explain(test).values.max()


def test_files_without_patches_are_still_read(plain):
    with pytest.raises(InputError, match="fit it again"):
        dataclasses.replace(plain, patches=None).explain(HEALTHY[0])


def test_eight_devices_share_the_windows_and_say_what_one_says(detector, normal):
    waves = [sound(100 + n, (2.0, 5.0)[n % 2]) for n in range(3)]
    alone = [detector.examine(wave) for wave in waves]
    with jax.default_device(None):
        pipeline = dataclasses.replace(detector.pipeline)
        together = dataclasses.replace(detector, pipeline=pipeline).examine_all(waves)
        assert len(jax.tree.leaves(pipeline.on_devices)[0].sharding.device_set) == 8
    for one, other in zip(alone, together, strict=True):
        assert (one.worst_seconds, one.view, one.is_anomaly) == (
            other.worst_seconds,
            other.view,
            other.is_anomaly,
        )
        np.testing.assert_allclose(other.windows, one.windows, rtol=1e-4)


@pytest.mark.parametrize("scale", [32768.0, 1e30])
def test_waveforms_that_are_not_scaled_are_refused(plain, normal, scale):
    with pytest.raises(InputError, match="scale it to"):
        Detector.fit([scale * wave for wave in normal[:3]], RATE, weights=None)
    for rate in (RATE, 48000):
        with pytest.raises(InputError, match="scale it to"):
            plain.examine(scale * normal[0], rate)


def test_one_silent_recording_neither_blinds_nor_goes_unsaid(normal, plain):
    silent = np.zeros(2 * RATE, np.float32)
    for odd, said in ((silent, " (silence)"), (1e-3 * normal[0][::-1], "")):
        one = Detector.fit([*normal, odd], RATE, weights=None)
        assert f"left out, as it is far from all others: recording 24{said}" in map(str, one.notes)
        assert len(one.names) == 24 and all(one.is_anomaly(wave) for wave in FAULTY)
        assert one.threshold == pytest.approx(plain.threshold)
    kept = Detector.fit([*normal, silent], RATE, weights=None, keep_odd=True)
    assert len(kept.names) == 25


@pytest.mark.slow
@pytest.mark.parametrize("odd", [0, 1, 2, "fault"])
def test_more_normal_sounds_never_make_it_markedly_blinder(odd):
    """Growing sets, contaminated from the beginning by odd clips or by a real fault."""
    burst = [np.where(np.arange(2 * RATE) % 9000 < 40, 0.5, sound(70)).astype("f4"), 4 * sound(71)]
    contaminants = [sound(99, fault=0.05)] if odd == "fault" else burst[:odd]
    found = []
    for count in (10, 14, 18, 24):
        waves = [*contaminants, *(sound(n) for n in range(count))]
        one = Detector.fit(waves, RATE, weights=None)
        found.append(np.mean([one.is_anomaly(sound(100 + n, fault=0.2)) for n in range(6)]))
    assert min(found) == 1


def test_sessions_are_kept_in_the_file_and_by_update(normal, tmp_path):
    days = [f"day {n // 4}" for n in range(16)]
    one = Detector.fit(normal[:16], RATE, weights=None, sessions=days)
    assert one.bank.by_sessions == {"pooled": True} and len(set(one.bank.windows.session)) == 4
    assert not any("another day" in note for note in one.notes)
    one.save(tmp_path / "a.detector")
    again = Detector.load(tmp_path / "a.detector").update(normal[16:20], sessions=["day 9"] * 4)
    assert again.sessions == (*days, *["day 9"] * 4) and len(set(again.bank.windows.session)) == 5


def test_one_session_is_said_to_be_too_few(plain):
    (note,) = [note for note in plain.notes if "another day" in note]
    assert "record ten minutes on" in note and plain.bank.by_sessions == {"pooled": False}
    check = self_check(plain)
    assert check.verdict == "usable, but" and json.dumps(check.as_json())
    assert check.sessions["hours"] == pytest.approx(24 * 2 / 3600) and check.floor_db < -20


def test_another_rate_needs_no_recordings(plain, normal, tmp_path):
    path = tmp_path / "a.detector"
    plain.save(path)
    changed = Detector.load(path).with_false_alarm_rate(0.2)
    again = Detector.fit(normal, RATE, weights=None, false_alarm_rate=0.2)
    assert changed.threshold == again.threshold < plain.threshold
    rare = changed.with_false_alarm_rate(0.01)
    assert "cannot support a false-alarm rate of 1 %" in "".join(map(str, rare.notes))
    assert "cannot support" not in "".join(map(str, rare.with_false_alarm_rate(0.2).notes))
    with pytest.raises(InputError, match="false_alarm_rate"):
        plain.with_false_alarm_rate(0.0)


def test_a_file_without_kinds_of_notes_loads(plain, tmp_path):
    """Files written before notes had kinds lack the key."""
    path = tmp_path / "a.detector"
    plain.save(path)
    altered(path, lambda t, h: h.pop("note_kinds"))
    again = Detector.load(path)
    assert list(map(str, again.notes)) == list(map(str, plain.notes))
    assert again.score(FAULTY[0]) == plain.score(FAULTY[0])


def test_a_verdict_names_the_band_of_a_new_tone(plain):
    tone = 0.02 * np.sin(2 * np.pi * 3150 * np.arange(2 * RATE) / RATE)
    verdict = plain.examine((sound(7) + tone).astype(np.float32))
    assert verdict.band.low_hz < 3150 < verdict.band.high_hz
    assert verdict.band.high_hz - verdict.band.low_hz < 700 and verdict.band.decibels > 6
    assert "kHz, +" in str(verdict.band) and verdict.band.low_hz > 2600


def test_names_and_short_descriptions(plain, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for users
    with pytest.raises(InputError, match="is a name, but a waveform is expected"):
        plain.examine_all(["file.wav"])
    assert len(repr(plain)) < 200 and "24 recordings" in repr(plain)
    assert f"notes: {len(plain.notes)}, see .notes" in repr(plain) and plain.notes
