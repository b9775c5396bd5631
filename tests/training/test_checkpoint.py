import contextlib
import itertools
import json
import logging
import random
import shutil
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.runtime import processes
from asd_jax.runtime.errors import InputError
from asd_jax.training.checkpoint import Checkpoints, checksum


class State(NamedTuple):
    step: jax.Array
    params: dict
    optimizer: tuple


def state(step):
    params = {
        "a": jax.random.normal(jax.random.key(step), (64, 192)),
        "half": jnp.ones(7, jnp.bfloat16),
    }
    return State(jnp.array(step), params, (jnp.zeros(()), [jnp.arange(3)]))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "checkpoints"
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(3, state(3))
        checkpoints.save(6, state(6))
    return folder


def restored(folder):
    with Checkpoints(folder) as checkpoints:
        step, found = checkpoints.restore(state(0))
    jax.tree.map(np.testing.assert_array_equal, found, state(step))
    return step


def files_by_size(folder):
    return sorted(
        (path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
    )


def damage(path, kind, rng):
    content = bytearray(path.read_bytes())
    place = rng.randrange(len(content))
    if kind == "flipped":
        content[place] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
    elif kind == "cut":
        path.write_bytes(content[:place])
    else:
        path.unlink()


def test_a_checkpoint_for_which_there_is_no_memory_now_is_not_taken_for_damaged(
    saved, tmp_path, monkeypatch
):
    folder = shutil.copytree(saved, tmp_path / "checkpoints")
    read = Checkpoints._read

    def no_room(checkpoints, step, pattern):
        if step == 6:
            raise MemoryError("Unable to allocate 48.0 KiB")
        return read(checkpoints, step, pattern)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "_read", no_room)
        with pytest.raises(MemoryError):
            restored(folder)
    assert restored(folder) == 6


@pytest.mark.parametrize("kind", ["flipped", "cut", "missing"])
def test_damaged_newest_checkpoint_is_never_taken_and_the_one_before_is(
    saved, tmp_path, capsys, kind
):
    rng = random.Random(0)
    steps = []
    for turn in range(6):
        folder = tmp_path / str(turn)
        shutil.copytree(saved, folder)
        files = files_by_size(folder / "6")
        damage(files[-1] if turn % 2 else rng.choice(files), kind, rng)
        steps.append(restored(folder))  # 6 where what was damaged does not count
        said = capsys.readouterr().out
        assert (
            (steps[-1] == 3)
            == (f"WARNING: {folder / '6'} is damaged" in said)
            == (not (folder / "6").exists())
        )
    assert steps[1::2] == [3] * 3  # the file of the arrays


def test_missing_newest_checkpoint_leaves_the_one_before(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "c")
    shutil.rmtree(tmp_path / "c" / "6")
    assert restored(tmp_path / "c") == 3


def test_the_newest_two_checkpoints_are_kept(tmp_path):
    folder = tmp_path / "a" / "checkpoints"
    logging.getLogger("absl").setLevel(logging.NOTSET)
    with Checkpoints(folder) as checkpoints:
        # Orbax would print the tracebacks of errors that are handled here.
        assert checkpoints.latest == 0 and logging.getLogger("absl").level == logging.CRITICAL
        untouched = state(0)
        step, found = checkpoints.restore(untouched)
        assert step == 0 and found is untouched
        for step in (3, 6, 9):
            checkpoints.save(step, state(step))
        assert checkpoints.latest == 9
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["6", "9"]
    assert restored(folder) == 9


def test_a_checkpoint_without_a_checksum_is_of_an_earlier_version_and_is_read(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "c")
    shutil.rmtree(folder / "6" / "checksum")
    assert restored(folder) == 6


def test_a_checksum_without_a_step_is_of_an_earlier_version_and_is_read(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "c")
    (written,) = (path for path in (folder / "6" / "checksum").rglob("*") if "step" in text(path))
    written.write_text(json.dumps({"leaves": json.loads(text(written))["leaves"]}))
    assert restored(folder) == 6


def text(path):
    return path.read_text() if path.is_file() else ""


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("first line\nsecond"), "first line"),
        (ValueError(""), "ValueError"),
        (ValueError(" " + "x" * 300), "x" * 200),
    ],
)
def test_the_reason_of_the_damage_is_one_short_line(
    saved, tmp_path, monkeypatch, capsys, error, reason
):
    folder = shutil.copytree(saved, tmp_path / "c")
    read = Checkpoints._read

    def damaged(checkpoints, step, pattern):
        if step == 6:
            raise error
        return read(checkpoints, step, pattern)

    monkeypatch.setattr(Checkpoints, "_read", damaged)
    assert restored(folder) == 3
    said = f"WARNING: {folder / '6'} is damaged ({reason}); falling back to step 3\n"
    assert capsys.readouterr().out == said


def test_a_disk_that_cannot_be_written_is_named_with_the_reason(tmp_path, monkeypatch):
    with Checkpoints(tmp_path) as checkpoints:
        for error, reason in (
            (OSError("No space left on device\nat 0x1"), "No space left on device"),
            (OSError(), "OSError"),
            (OSError("x" * 400), "x" * 300),
        ):

            def full(*of, error=error, **options):
                raise error

            with monkeypatch.context() as patch:
                patch.setattr(checkpoints._manager, "save", full)
                with pytest.raises(
                    InputError, match=f"^{tmp_path}: .* cannot be written [(]{reason}[)]"
                ):
                    checkpoints.save(1, state(1))
                # Of several processes, another one has likely ended.
                patch.setattr(processes, "is_distributed", lambda: True)
                with pytest.raises(OSError):
                    checkpoints.save(1, state(1))


def test_after_an_error_no_process_waits_for_the_others(tmp_path, monkeypatch):
    closed = []
    for distributed, error in itertools.product((False, True), repeat=2):
        checkpoints = Checkpoints(tmp_path)
        with monkeypatch.context() as patch, contextlib.suppress(KeyError):
            patch.setattr(processes, "is_distributed", lambda of=distributed: of)
            patch.setattr(
                checkpoints._manager, "close", lambda of=(distributed, error): closed.append(of)
            )
            with checkpoints:
                if error:
                    raise KeyError
        checkpoints._manager.close()
    assert closed == [(False, False), (False, True), (True, False)]


def test_half_written_checkpoint_does_not_count(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "c")
    shutil.copytree(saved / "6", tmp_path / "c" / "9.orbax-checkpoint-tmp")
    assert restored(tmp_path / "c") == 6
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(9, state(9))
    assert {path.name for path in (tmp_path / "c").iterdir()} == {"6", "9"}


def test_checkpoints_that_cannot_be_read_at_all_are_not_trained_over(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "c")
    for step in ("3", "6"):
        damage(files_by_size(tmp_path / "c" / step)[-1], "missing", random.Random(0))
    with pytest.raises(InputError, match="no checkpoint here can be read.*3: .*Remove this folder"):
        restored(tmp_path / "c")
    assert {p.name for p in (tmp_path / "c").iterdir()} == {"3", "6"}
    with pytest.raises(InputError, match="of another model"), Checkpoints(saved) as checkpoints:
        checkpoints.restore(state(0)._replace(params={"other": jnp.ones(3)}))


def test_checksum_sees_every_flipped_bit_and_swapped_values():
    values = jnp.array([0.0, 1.5, -2.0], jnp.float32)
    for place in range(3):
        for bit in range(32):
            bits = np.asarray(values).view(np.uint32).copy()
            bits[place] ^= np.uint32(1 << bit)
            assert checksum([jnp.asarray(bits.view(np.float32))]) != checksum([values])
    assert checksum([values]) != checksum([values[::-1]])


def test_checksums_on_the_disk_stay_those_of_this_version():
    """Those of another formula would call every checkpoint damaged."""
    arrays = [
        np.array([[0.0, 1.5, -2.0], [3.0, 0.1, 7.0]], np.float32),
        np.array([1, -2, 3], np.int8),
        np.array(5, np.int32),
    ]

    def reference(array):
        of_same_size = {1: np.uint8, 4: np.uint32}[array.dtype.itemsize]
        total = 0
        for place, bits in enumerate(array.ravel().view(of_same_size).tolist()):
            mixed = bits * 2654435761 % 2**32
            total += (mixed ^ mixed >> 16) * (2 * place + 1)
        return total % 2**32

    assert checksum([jnp.asarray(array) for array in arrays]) == [*map(reference, arrays)]


@pytest.mark.parametrize("moved", [(3, 6), (6, 7)])
def test_a_checkpoint_under_another_ones_number_does_not_count(saved, tmp_path, moved):
    """6710c64 resumed from steps swapped by hand, to another result."""
    folder = shutil.copytree(saved, tmp_path / "checkpoints")
    here, there = (folder / str(step) for step in moved)
    here.rename(folder / "aside")
    if there.exists():
        there.rename(here)
    (folder / "aside").rename(there)
    if moved == (6, 7):
        assert restored(folder) == 3
    else:
        with pytest.raises(InputError, match="6: it is that of step 3; 3: it is that of step 6"):
            restored(folder)
