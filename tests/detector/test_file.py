"""Claims about the file of a detector, and about files that were damaged or made to harm."""

import dataclasses

import numpy as np
import pytest
import safetensors.numpy
from detectors import FAULTY, HEALTHY, altered

from asd_jax.detector.detector import Detector
from asd_jax.detector.file import _digest, _packaged_weights
from asd_jax.runtime.errors import InputError
from asd_jax.training.weights import BOX, origin_entries


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


def test_a_file_without_kinds_of_notes_loads(plain, tmp_path):
    """Files written before notes had kinds lack the key."""
    path = tmp_path / "a.detector"
    plain.save(path)
    altered(path, lambda t, h: h.pop("note_kinds"))
    again = Detector.load(path)
    assert list(map(str, again.notes)) == list(map(str, plain.notes))
    assert again.score(FAULTY[0]) == plain.score(FAULTY[0])


def test_the_checksum_covers_names_types_shapes_and_numbers_but_no_order():
    table = np.arange(6, dtype=np.float32)
    header = {"a": 1, "b": 2}
    first = _digest({"x": table, "y": table + 1}, header)
    assert first == _digest({"y": table + 1, "x": table}, {"b": 2, "a": 1})
    others = [
        ({"x": table, "z": table + 1}, header),
        ({"x": table, "y": table + 2}, header),
        ({"x": table.reshape(2, 3), "y": table + 1}, header),
        ({"x": table.view(np.int32), "y": table + 1}, header),
        ({"x": table, "y": table + 1}, {"a": 1, "b": 3}),
    ]
    assert len({first, *(_digest(*other) for other in others)}) == 6 and len(first) == 64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, h: h.pop("voting"), "of an earlier version, whose threshold"),
        (lambda t, h: h.update(kind="encoder"), "a.detector"),
        (lambda t, h: h["names"].__setitem__(0, "x" * 5000), "longer than 4096 bytes"),
        (lambda t, h: t.pop("group"), "lacks the table 'group'"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(plain, tmp_path, change, message):
    path = tmp_path / "a.detector"
    plain.save(path)
    altered(path, change)
    with pytest.raises(InputError, match=message) as error:
        Detector.load(path)
    assert str(error.value).count("a.detector") == 1


def test_a_number_that_was_changed_does_not_fit_the_checksum(plain, tmp_path):
    path = tmp_path / "a.detector"
    plain.save(path)
    tensors = safetensors.numpy.load_file(path)
    with safetensors.safe_open(path, "numpy") as file:
        metadata = file.metadata()
    tensors["start"] = tensors["start"] + 1
    safetensors.numpy.save_file(tensors, path, metadata)
    with pytest.raises(InputError, match="altered since it was written"):
        Detector.load(path)


def test_an_encoder_of_another_version_of_the_package_is_refused():
    with pytest.raises(InputError, match="does not come with this version"):
        _packaged_weights({"file": "box", "sha256": "0"})


def test_an_encoder_is_in_the_file_unless_it_comes_with_the_package(detector, plain, tmp_path):
    path = tmp_path / "a.detector"
    packaged = dataclasses.replace(detector, origin=origin_entries(BOX))
    other = dataclasses.replace(plain, origin={"file": "a"})
    for one, stored in ((detector, True), (packaged, False), (other, False)):
        one.save(path)
        names = safetensors.numpy.load_file(path)
        assert any(name.startswith("encoder/") for name in names) == stored
