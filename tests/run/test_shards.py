"""An archive in shards: whoever does them and however often they are interrupted, the same bytes,
and nothing twice.
"""

import json
import subprocess
import sys
import threading

import pytest

import asd_jax.evaluate
from asd_jax.data.factory import write_factory
from asd_jax.run import embed, shards
from asd_jax.run.manifest import Manifest
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.lock import lock_folder

SHARD = shards.SHARD
ITEMS = list(range(23))


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(shards, "SHARD", 5)
    monkeypatch.setattr(shards, "LOOK_AGAIN_SECONDS", 0.01)


class Worker:
    """Squares numbers, remembers which, and may fail at one."""

    def __init__(self, folder, *, of="squares", fails_at=None, before=lambda: None, wait=True):
        self.folder = folder
        self.of = of
        self.fails_at = fails_at
        self.before = before
        self.wait = wait
        self.did = []

    def work(self, shard, part):
        self.before()
        if self.fails_at in part:
            raise InputError(f"{self.fails_at}: not a number")
        self.did += part
        (shard / "squares.json").write_text(json.dumps([n * n for n in part]))

    def __call__(self):
        def made_of(part):
            return f"{self.of} of {part}"

        own = shards.Shards(self.folder, ("squares.json",), made_of, "numbers")
        folders, self.count = own.process(ITEMS, self.work, wait=self.wait)
        return [n for folder in folders for n in json.loads((folder / "squares.json").read_text())]


SQUARES = [n * n for n in ITEMS]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_number_of_workers_do_every_item_once_and_join_the_same(tmp_path, count):
    together = threading.Barrier(count)  # at the first shard of each, so that all have one
    workers = [Worker(tmp_path) for _ in range(count)]
    found = [None] * count

    def run(n):
        def meet():
            workers[n].before = lambda: None
            together.wait(timeout=30)

        workers[n].before = meet
        found[n] = workers[n]()

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [SQUARES] * count
    assert all(worker.did and worker.count == len(worker.did) for worker in workers)
    assert sorted(n for worker in workers for n in worker.did) == ITEMS


def test_a_shard_is_a_multiple_of_every_common_batch(tmp_path):
    assert all(SHARD % size == 0 for size in (8, 32, 128, 256))


def test_items_come_in_order_in_shards_of_one_size(tmp_path):
    worker = Worker(tmp_path / "deep" / "archive")
    assert worker() == SQUARES and worker.count == len(ITEMS)
    parts = sorted((tmp_path / "deep" / "archive").iterdir())
    assert [part.name for part in parts] == [f"{n:06}" for n in range(5)]
    sizes = [len(json.loads((part / "squares.json").read_text())) for part in parts]
    assert sizes == [5, 5, 5, 5, 3]
    # Whoever finds all done has done none.
    again = Worker(tmp_path / "deep" / "archive")
    assert again() == SQUARES and again.count == 0


def test_the_progress_has_the_rest_its_rate_and_its_time(tmp_path, capsys, monkeypatch):
    looks = iter(range(0, 1000, 2))
    monkeypatch.setattr(shards.time, "perf_counter", lambda: float(next(looks)))
    Worker(tmp_path)()
    lines = capsys.readouterr().out.splitlines()
    # 5 items in 2 s, 10 in 4 s, and so on; nothing is said when nothing is left.
    wanted = [
        f"  {left} of 23 numbers left  2.5/s  {shards.clock(left / 2.5)}" for left in (18, 13, 8, 3)
    ]
    assert lines == wanted


def test_a_line_goes_where_the_caller_says(tmp_path, capsys):
    said = []
    own = shards.Shards(tmp_path, ("a",), str, "numbers", said.append)
    own.process(ITEMS[:6], lambda shard, part: (shard / "a").touch())
    assert len(said) == 1 and not capsys.readouterr().out
    other = shards.Shards(tmp_path, ("a",), lambda part: "other", "numbers", said.append)
    other.process(ITEMS[:6], lambda shard, part: (shard / "a").touch())
    assert [line.split(": ")[0] for line in said if "done again" in line] == [
        str(tmp_path / f"{n:06}") for n in range(2)
    ]


def test_a_shard_holds_the_files_that_its_work_wrote_and_none_of_an_earlier_time(tmp_path):
    def process(made_of, *names):
        def work(shard, part):
            for name in names:
                (shard / name).write_text(name)

        shards.Shards(tmp_path, ("a", "b"), lambda part: made_of, "x").process([1], work)
        return {path.name for path in (tmp_path / "000000").glob("[!.]*")}

    assert process("one", "a", "b") == {"a", "b", "made_of.json"}
    assert process("other", "a") == {"a", "made_of.json"}
    assert set(Manifest(tmp_path / "000000").files) == {"a"}
    # What a killed process left half written goes, too.
    part = tmp_path / "000000" / f".asd_jax_{0:016}.part"
    part.touch()
    process("other", "a")
    assert not part.exists()


def test_shards_that_another_process_has_joined_meanwhile_are_done(tmp_path):
    own = shards.Shards(tmp_path, ("a",), str, "numbers")
    parts, ours = own.process(ITEMS, lambda *_: 1 / 0, joined=lambda: True)
    assert ours == 0 and len(parts) == 5


@pytest.mark.parametrize("answers", [(False, True), (True, False)])
def test_every_process_of_a_run_does_what_one_of_them_finds(tmp_path, monkeypatch, answers):
    """The first process finds a shard of others, or one that is done, and tells all."""
    asked = []
    others = iter(answers)
    monkeypatch.setattr(shards.processes, "is_first", lambda: False)
    monkeypatch.setattr(
        shards.processes, "any_process", lambda found: asked.append(found) or next(others)
    )
    own = shards.Shards(tmp_path, ("a",), str, "numbers")
    own.process([1], lambda *_: 1 / 0, wait=False)
    # It looks at no lock of its own, and finds nothing itself.
    assert asked == [False] * (2 if answers[1] else 1)
    assert not (tmp_path / "000000").exists()


def test_the_other_processes_of_a_run_work_and_the_first_alone_records(tmp_path, monkeypatch):
    monkeypatch.setattr(shards.processes, "is_first", lambda: False)
    monkeypatch.setattr(shards.processes, "any_process", lambda found: found)
    did = []
    own = shards.Shards(tmp_path, ("a",), str, "numbers")
    own.process([1], lambda shard, part: did.append(shard.mkdir()), wait=False)
    assert did == [None] and not list((tmp_path / "000000").iterdir())


def test_shards_are_removed_with_their_locks_and_nothing_else(tmp_path):
    archive = tmp_path / "archive"
    own = shards.Shards(archive, ("a",), str, "numbers")
    own.process(ITEMS, lambda shard, part: (shard / "a").touch())
    (archive / "000000" / ".lock").write_text("process 1 on a-host\n")
    (archive / "000001" / "mine").touch()
    (archive / "0000002").mkdir()
    with lock_folder(archive / "000003"):
        own.remove()
        left = {path.relative_to(archive).as_posix() for path in archive.rglob("*")}
        assert left == {"000001", "000001/mine", "0000002", "000003", "000003/.lock"}
    (archive / "000001" / "mine").unlink()
    (archive / "0000002").rmdir()
    own.remove()
    assert not archive.exists()


@pytest.mark.parametrize("name", ["a", "made_of.json"])
def test_a_folder_in_the_place_of_a_file_is_none_of_a_shard(tmp_path, name):
    (tmp_path / "000000" / name).mkdir(parents=True)
    own = shards.Shards(tmp_path, ("a",), str, "numbers")
    with pytest.raises(InputError, match=f"000000: no shard of an archive, it holds {name};"):
        own.process([1], lambda *_: None)


def test_an_interruption_costs_one_shard_at_most(tmp_path):
    first = Worker(tmp_path, fails_at=12)
    second = Worker(tmp_path)
    with pytest.raises(InputError, match="12: not a number"):
        first()
    assert first.did == ITEMS[:10]
    assert second() == SQUARES and second.did == ITEMS[10:]
    assert Worker(tmp_path)() == SQUARES  # and again: nothing left to do


def test_shards_of_other_making_are_done_again_and_said_so(tmp_path, capsys):
    Worker(tmp_path, of="squares by other means")()
    again = Worker(tmp_path)
    assert again() == SQUARES and again.did == ITEMS
    assert capsys.readouterr().out.count("weights or settings, or damaged; done again") == 5


def test_a_worker_leaves_what_others_do_and_the_one_that_waits_takes_over_from_a_killed_one(
    tmp_path,
):
    hold = (
        "import sys, time; from pathlib import Path; from asd_jax.runtime.lock import lock_folder\n"
        "with lock_folder(Path(sys.argv[1])): print('held', flush=True); time.sleep(600)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", hold, tmp_path / "000001"], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "held\n"
    passing = Worker(tmp_path, wait=False)
    with pytest.raises(FileNotFoundError):  # it is not the one to join them
        passing()
    assert passing.did == ITEMS[:5] + ITEMS[10:]
    other.kill()
    other.wait()
    waiting = Worker(tmp_path)
    assert waiting() == SQUARES and waiting.did == ITEMS[5:10]


def test_the_one_that_waits_looks_again_after_a_while(tmp_path, monkeypatch):
    slept = []
    lock = lock_folder(tmp_path / "000001")
    lock.__enter__()
    # The other process ends while this one sleeps.
    monkeypatch.setattr(
        shards.time,
        "sleep",
        lambda seconds: slept.append(seconds) or len(slept) < 3 or lock.__exit__(None, None, None),
    )
    assert Worker(tmp_path)() == SQUARES
    assert slept == [0.01] * 3


def test_a_folder_that_cannot_be_made_is_no_other_worker(tmp_path):
    (tmp_path / "000000").write_text("a file")
    with pytest.raises(InputError, match="no folder to write to"):
        Worker(tmp_path)()


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    root = tmp_path_factory.mktemp("recordings")
    write_factory(
        root,
        clip_seconds=0.5,
        machines=["fan"],
        train_source=8,
        train_target=4,
        test_per_condition=2,
    )
    return root


def evaluate(command, recordings, workdir, *more):
    flags = [
        f"--config.data.root={recordings}",
        "--config.data.clip_seconds=0.5",
        "--config.model.encoder=filter_bank",
    ]
    flags += [
        "--config.data.machines=fan",
        "--config.features.statistics=given",
        "--config.optimizer.batch_size=4",
        "--config.report.page=False",
        "--config.data.year=2024",
    ]
    return command(
        asd_jax.evaluate,
        "--config=configs/quickstart.py:smoke",
        *flags,
        f"--workdir={workdir}",
        *more,
    )


def left(workdir):
    names = ("embeddings/fan.npz", "embeddings/filter_bank/fan.npz", "results.json")
    return {name: (workdir / name).read_bytes() for name in names}


def test_embeddings_are_the_same_bytes_after_a_bad_clip_and_with_workers(
    command, recordings, tmp_path, monkeypatch
):
    monkeypatch.setattr(shards, "SHARD", 1024)
    status, _, err = evaluate(command, recordings, tmp_path / "undisturbed")
    assert status == 0, err
    monkeypatch.setattr(shards, "SHARD", 8)
    embedded = []
    embed_machine = embed.embed_machine

    def counting(config, encoder, params, clips):
        found = embed_machine(config, encoder, params, clips)
        embedded.append(len(clips))
        return found

    monkeypatch.setattr(embed, "embed_machine", counting)
    bad = sorted((recordings / "fan" / "train").glob("*.wav"))[2]
    whole = bad.read_bytes()
    bad.write_bytes(whole[:1000])
    try:
        status, _, err = evaluate(command, recordings, tmp_path / "run")
        assert status == 2 and err.startswith(f"error: {bad}: truncated") and err.count("\n") == 1
        assert embedded == [8]
        status, out, err = evaluate(
            command, recordings, tmp_path / "run", "--config.data.on_bad_clip=skip", "--worker"
        )
        assert status == 0 and "12 clips embedded here" in out, err
    finally:
        bad.write_bytes(whole)
    status, out, err = evaluate(command, recordings, tmp_path / "run", "--worker")
    assert status == 0 and embedded == [8, 7, 4, 8] and "made of other recordings" in out, err
    status, out, err = evaluate(command, recordings, tmp_path / "run")
    assert (
        status == 0 and len(embedded) == 4 and not (tmp_path / "run/embeddings/shards").exists()
    ), err
    assert left(tmp_path / "run") == left(tmp_path / "undisturbed")
    # a worker that looked just before the others joined all
    joined = embed._joined
    looks = iter([False])
    monkeypatch.setattr(embed, "_joined", lambda *of: next(looks, True) and joined(*of))
    status, out, err = evaluate(command, recordings, tmp_path / "run", "--worker")
    assert status == 0 and "0 clips embedded here" in out and len(embedded) == 4, err
    assert not (tmp_path / "run/embeddings/shards").exists()


def test_a_worker_with_nothing_to_embed_is_told_so(command, tmp_path):
    status, _, err = command(asd_jax.evaluate, f"--workdir={tmp_path}", "--worker")
    assert status == 2 and "give --config and --weights" in err
