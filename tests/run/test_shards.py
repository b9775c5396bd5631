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
from asd_jax.runtime.errors import InputError

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
