"""The loop by itself, on a state of two numbers."""

import dataclasses
import errno
import itertools
import json
import os
import signal
import threading
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asd_jax.runtime import processes
from asd_jax.runtime.errors import InputError
from asd_jax.training.checkpoint import Checkpoints
from asd_jax.training.loop import (
    BadState,
    Interrupted,
    Job,
    Reports,
    Steps,
    _all_stop,
    _is_newer,
    guard_step,
    out_of_memory_advice,
    run_steps,
    stop_requested,
)
from asd_jax.training.mesh import one_device, place_state
from asd_jax.training.settings import Log


class State(NamedTuple):
    step: jax.Array
    total: jax.Array


TRACED = []


def step_fn(state, batch, key):
    TRACED.append(key)
    noise = jax.random.normal(jax.random.fold_in(key, state.step))
    return State(state.step + 1, state.total * 1.1 + batch + noise), {
        "loss": batch * 2,
        "gradient_norm": jnp.abs(batch),
    }


def run(workdir, batches=lambda start: range(start, 10), **options):
    steps = Steps(
        step_fn,
        State(jnp.int32(0), jnp.float32(0)),
        lambda start: (jnp.float32(value) for value in batches(start)),
        total=10,
        key=jax.random.key(0),
        batch_size=1,
        **options,
    )
    return run_steps(steps, Job(workdir, log=Log(every=1, checkpoint_every=4)))


def steps_logged(workdir):
    return [
        json.loads(line)["step"] for line in (workdir / "metrics.jsonl").read_text().splitlines()
    ]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return run(tmp_path_factory.mktemp("run"))


def interrupting(at, kind):
    def batches(start):
        for value in range(start, 10):
            if value == at:
                if kind is None:
                    raise InputError("clip.wav: no such file any more")
                os.kill(os.getpid(), kind)
            yield value

    return batches


@pytest.mark.parametrize(
    ("at", "kind"),
    [
        (0, signal.SIGTERM),
        (0, None),
        (3, signal.SIGINT),
        (6, signal.SIGTERM),
        (6, None),
        (9, signal.SIGTERM),
    ],
)
def test_interrupted_anywhere_it_saves_and_ends_as_if_undisturbed(undisturbed, tmp_path, at, kind):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted if kind else InputError):
        run(tmp_path, interrupting(at, kind))
    done = at + 1 if kind else at  # the step that was asked to stop is still done
    assert (not done and not (tmp_path / "metrics.jsonl").read_text()) or steps_logged(tmp_path)[
        -1
    ] == done
    assert run(tmp_path) == undisturbed and steps_logged(tmp_path) == list(range(1, 11))
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("times", [1, 9])
def test_a_step_after_which_nothing_could_be_kept_is_done_again(undisturbed, tmp_path, times):
    """A disk that is full for a moment, or for longer, when the weights of step 6 are kept."""
    kept = []
    failures = iter(range(times))

    def keep(step, state):
        if step == 6 and next(failures, None) is not None:
            raise InputError("step_0000006.safetensors: cannot be written (No space left)")
        kept.append((step, float(state.total)))

    with pytest.raises(InputError, match="step_0000006"):
        run(tmp_path, after_step=keep)
    failures = iter(())
    assert run(tmp_path, after_step=keep) == undisturbed
    assert {step for step, _ in kept} == set(range(1, 11)) and len(set(kept)) == 10
    assert steps_logged(tmp_path) == list(range(1, 11))


def test_a_log_that_cannot_be_written_for_a_moment_lacks_no_step(
    undisturbed, tmp_path, monkeypatch
):
    kept = []
    rows = itertools.count(1)

    def opened(path, mode, **options):
        if mode == "a" and next(rows) == 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return open(path, mode, **options)

    monkeypatch.setattr("asd_jax.runtime.log.open", opened, raising=False)
    with pytest.raises(InputError, match="metrics.jsonl"):
        run(tmp_path, after_step=lambda step, state: kept.append(step))
    assert run(tmp_path, after_step=lambda step, state: kept.append(step)) == undisturbed
    assert kept == steps_logged(tmp_path) == list(range(1, 11))


def test_the_step_is_compiled_once(tmp_path):
    TRACED.clear()
    run(tmp_path)
    assert len(TRACED) == 1


@pytest.mark.parametrize("skip", [False, True])
def test_a_step_reuses_the_memory_of_its_state_and_changes_nothing_if_it_is_bad(skip):
    carried = place_state(one_device(), (State(jnp.int32(3), jnp.float32(7)), jnp.array(True)))
    state, sound = carried
    take = guard_step(step_fn, one_device(), carried, skip=skip)
    after, good, metrics = take(state, sound, jnp.float32(np.inf), jax.random.key(0))
    assert state.total.is_deleted() and np.isinf(metrics["loss"]) and after.total == 7
    # A step that is skipped counts as done; otherwise no later one changes anything.
    assert (int(after.step), bool(good)) == ((4, True) if skip else (3, False))
    again, still, _ = take(after, good, jnp.float32(1), jax.random.key(0))
    assert (int(again.step), bool(still)) == ((5, True) if skip else (3, False))
    assert (again.total != 7) == skip


def test_second_signal_stops_at_once(tmp_path):
    def twice(start):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        yield 1.0

    with pytest.raises(KeyboardInterrupt) as stop:
        run(tmp_path, twice)
    assert not isinstance(stop.value, Interrupted)


def spoilt(start):
    return (np.nan if value == 5 else value for value in range(start, 10))


def test_bad_loss_stops_before_the_step_that_has_it_and_names_the_clips(undisturbed, tmp_path):
    for _ in range(2):  # again at the same place, after resuming
        with pytest.raises(
            InputError, match=r"step 6: the loss is nan\.[\s\S]*clips:\n  five.wav"
        ) as error:
            run(tmp_path, spoilt, files_of=lambda batch: ["five.wav"])
        assert "on_bad_loss=skip" in str(error.value) and steps_logged(tmp_path) == [1, 2, 3, 4, 5]
    assert run(tmp_path) == undisturbed  # the five steps were kept, and the clip mended


def test_an_unsound_state_is_not_saved_however_often_the_run_is_repeated(undisturbed, tmp_path):
    def watch(step, values):
        if step > 5:
            raise BadState("it has collapsed")

    for _ in range(3):
        with pytest.raises(BadState, match="it has collapsed"):
            run(tmp_path, watch=watch)
        assert [
            int(path.name) for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()
        ] == [4]
    assert run(tmp_path) == undisturbed


def test_bad_loss_is_skipped_by_choice(tmp_path, capsys):
    last = run(tmp_path, spoilt, on_bad_loss="skip", files_of=lambda batch: ["five.wav"])
    total = jnp.array(0.0)
    for step in range(10):
        if step != 5:
            _, total = step_fn(State(jnp.array(step), total), jnp.float32(step), jax.random.key(0))[
                0
            ]
    np.testing.assert_allclose(last.total, total, rtol=1e-6)
    assert last.step == 10 and steps_logged(tmp_path) == [1, 2, 3, 4, 5, 7, 8, 9, 10]
    assert "step 6: the loss is nan; skipped:\n  five.wav" in capsys.readouterr().out


def test_checkpoints_are_written_at_their_distance_and_at_the_end(tmp_path):
    run(tmp_path)
    kept = {int(path.name) for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()}
    # Of those after 4, 8 and 10 steps, the newest two are there.
    assert kept == {8, 10}


def test_what_follows_a_step_is_done_again_after_an_interruption(tmp_path):
    """The process may have ended between the checkpoint and what follows it."""
    seen = []
    with pytest.raises(InputError):
        run(
            tmp_path,
            interrupting(6, None),
            after_step=lambda step, state: seen.append((step, int(state.step))),
        )
    assert seen == [(step, step) for step in range(1, 7)]
    seen.clear()
    run(tmp_path, after_step=lambda step, state: seen.append((step, int(state.step))))
    assert seen == [(step, step) for step in range(6, 11)]
    seen.clear()
    run(tmp_path, after_step=lambda step, state: seen.append((step, int(state.step))))
    assert seen == [(10, 10)]


def test_only_metrics_that_are_logged_are_watched(tmp_path):
    seen = []
    steps = Steps(
        step_fn,
        State(jnp.int32(0), jnp.float32(0)),
        lambda start: (jnp.float32(value) for value in range(start, 10)),
        total=10,
        key=jax.random.key(0),
        batch_size=1,
        watch=lambda step, values: seen.append((step, values)),
    )
    run_steps(steps, Job(tmp_path, log=Log(every=4)))
    assert seen == [
        (step, {"loss": 2.0 * (step - 1), "gradient_norm": step - 1.0}) for step in (1, 4, 8, 10)
    ]
    assert steps_logged(tmp_path) == [1, 4, 8, 10]


def test_a_job_and_its_steps_have_defaults_that_change_nothing(tmp_path):
    job = Job(tmp_path)
    assert (job.seed, job.dtype, job.mesh.size, job.log) == (0, jnp.float32, 1, Log())
    steps = Steps(step_fn, State(0, 0), iter, total=1, key=jax.random.key(0), batch_size=1)
    assert steps.on_bad_loss == "stop" and steps.files_of(None) == ()


def test_whoever_waits_is_told_what_the_training_does(tmp_path):
    steps = Steps(step_fn, State(0, 0), iter, total=10, key=jax.random.key(0), batch_size=1)
    reports = Reports(steps)
    assert reports.at_work() == "compiling, and the first step"
    reports.add(3, None, {})
    # The third may not be done yet.
    assert reports.at_work() == "step 2 of 10"


def test_the_worst_metric_is_the_loss_and_a_message_without_files_names_none(tmp_path, capsys):
    bad = {"gradient_norm": jnp.float32(np.inf), "loss": jnp.float32(np.nan)}
    stopping = Steps(step_fn, State(0, 0), iter, total=10, key=jax.random.key(0), batch_size=1)
    reports = Reports(stopping)
    reports.add(3, None, bad)
    for _ in range(2):
        with pytest.raises(InputError, match="^step 3: the loss is nan.*such batches teach.$"):
            reports.write()
    skipping = Reports(dataclasses.replace(stopping, on_bad_loss="skip"))
    skipping.add(3, None, bad)
    skipping.write()
    skipping.write()
    assert capsys.readouterr().out == "step 3: the loss is nan; skipped\n"


def test_several_processes_stop_together_when_they_log(tmp_path, monkeypatch):
    asked_of = []

    def any_process(flag):
        asked_of.append(flag)
        return True

    monkeypatch.setattr(processes, "is_distributed", lambda: True)
    monkeypatch.setattr(processes, "any_process", any_process)
    assert [_all_stop([], step, 5) for step in (4, 5, 6)] == [False, True, False]
    assert _all_stop([15], 10, 5) and asked_of == [False, True]
    monkeypatch.setattr(processes, "any_process", lambda flag: False)
    assert not _all_stop([15], 5, 5)


def test_a_state_is_saved_after_an_error_if_no_checkpoint_holds_it(tmp_path, monkeypatch):
    state = State(jnp.int32(5), jnp.float32(0))
    with Checkpoints(tmp_path) as checkpoints:
        newer = []
        for latest in (4, 5, 6):
            monkeypatch.setattr(Checkpoints, "latest", latest)
            newer.append(_is_newer(state, checkpoints))
        assert newer == [True, False, False]
        monkeypatch.setattr(Checkpoints, "latest", 4)
        # After an error, other processes may be gone.
        monkeypatch.setattr(processes, "is_distributed", lambda: True)
        assert not _is_newer(state, checkpoints)
        monkeypatch.setattr(processes, "is_distributed", lambda: False)
        state.step.delete()
        assert not _is_newer(state, checkpoints)


def test_signals_of_another_thread_are_left_alone():
    before = signal.getsignal(signal.SIGINT)
    found = []

    def enter():
        with stop_requested() as asked:
            found.extend([asked, signal.getsignal(signal.SIGINT)])

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [[], before]


def test_lost_steps_are_named(undisturbed, tmp_path, capsys):
    with pytest.raises(InputError):
        run(tmp_path, interrupting(7, None))
    (tmp_path / "checkpoints" / "7").rename(tmp_path / "elsewhere")
    capsys.readouterr()
    assert run(tmp_path) == undisturbed
    assert (
        "continuing after step 4: those up to 7 have no whole checkpoint and are done again"
        in capsys.readouterr().out
    )
    run(tmp_path)
    assert "training is finished: all 10 steps are done" in capsys.readouterr().out


def test_out_of_memory_names_the_batch_size_to_try():
    with (
        pytest.raises(InputError, match="batches of 8 clips; try `batch_size=4`"),
        out_of_memory_advice(8),
    ):
        jnp.zeros(1 << 46).block_until_ready()
    with (
        pytest.raises(InputError, match="batches of 2 clips; try `batch_size=1`$"),
        out_of_memory_advice(2),
    ):
        raise MemoryError
    with (
        pytest.raises(InputError, match="batches of 1 clips; try a smaller model$"),
        out_of_memory_advice(1),
    ):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
    with pytest.raises(jax.errors.JaxRuntimeError, match="other"), out_of_memory_advice(8):
        raise jax.errors.JaxRuntimeError("INTERNAL: other")
