"""Implements the training loop of fine-tuning and pre-training, with logging and exact resumption.

It saves the state regularly and when it is interrupted.
"""

import contextlib
import math
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from asd_jax.runtime import processes
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.log import TrainingLog, print_line
from asd_jax.runtime.sign_of_life import acknowledged, doing
from asd_jax.training.checkpoint import Checkpoints
from asd_jax.training.mesh import one_device, place_state, shardings

STOPPING = "stopping: the steps in hand are finished first, and their state is saved"
State = TypeVar("State", bound=Any)  # a NamedTuple with `.step`
Metrics = dict[str, jax.Array]


class Interrupted(KeyboardInterrupt):
    """SIGTERM or Ctrl-C stopped the training, after the state was saved."""


class BadState(InputError):
    """The state itself is bad, as `watch` found, and is not saved."""


def run_steps(
    step_fn: Callable[[State, Any, jax.Array], tuple[State, Metrics]],
    state: State,
    batches: Callable[[int], Iterable[Any]],
    *,
    workdir: Path,
    steps: int,
    key: jax.Array,
    batch_size: int,
    mesh: Mesh | None = None,
    log_every: int = 20,
    checkpoint_every: int = 200,
    on_bad_loss: str = "stop",
    files_of: Callable[[Any], Sequence[str]] = lambda batch: (),
    watch: Callable[[int, dict[str, float]], None] = lambda step, values: None,
) -> State:
    """Returns the state after the last step, starting from the newest checkpoint in the workdir.

    The result is the same, bit for bit, however often the run was interrupted: a step depends only
    on its state, the batch of its number, and the key. The metrics of a step are read after the
    next step was dispatched, so that the device does not wait.

    Args:
        step_fn: maps (state, batch, key) to (state, metrics). The state is a NamedTuple with
            `.step`, the steps done, and otherwise any pytree of arrays; metrics are scalars by
            name. It is compiled here, with the state donated.
        state: the state before the first step, and the template of what is saved.
        batches: maps the number of steps done to the batches that follow.
        workdir: metrics.jsonl and checkpoints/ are written here.
        steps: the total number of steps.
        key: the random key given to every step, which combines it with `state.step`.
        batch_size: clips per step, from which the rate is computed.
        mesh: the devices; None for the first device alone. The state is placed on them here, the
            batches by `batches`.
        log_every: steps between log lines.
        checkpoint_every: steps between checkpoints.
        on_bad_loss: what to do if a metric is not finite: "stop" before that step, or "skip" the
            step.
        files_of: returns the names of a batch's files, for the message.
        watch: receives the metrics that are logged, and may raise Unsound.

    Raises:
        InputError: a metric is not finite, there is not enough memory for a step, or the disk is
            full. The state is saved.
        Unsound: raised by `watch`; earlier checkpoints stay.
        Interrupted: SIGTERM or Ctrl-C was received. The state is saved.
    """
    mesh = mesh or one_device()
    # The first call gets its inputs with the placement of the later ones; otherwise the second call
    # would be compiled again.
    carried = state, sound = place_state(mesh, (state, jnp.array(True)))
    step_fn = guard_step(step_fn, mesh, carried, skip=on_bad_loss == "skip")
    step = 0
    stop = False
    before = None  # the step whose metrics are not read yet

    def at_work() -> str:
        # The last step was only begun.
        return f"step {step - 1} of {steps}" if before else "compiling, and the first step"

    # The signal handlers must stay in place while the last checkpoint is written.
    with (
        acknowledged(STOPPING),
        stop_requested() as asked,
        Checkpoints(workdir / "checkpoints") as checkpoints,
        doing(at_work),
    ):
        start, state = checkpoints.restore(state)
        log = TrainingLog(
            workdir / "metrics.jsonl",
            start=start,
            steps=steps,
            every=log_every,
            batch_size=batch_size,
        )
        step = start

        def report() -> None:
            _report(log, before, on_bad_loss, files_of, watch)

        try:
            for step, batch in enumerate(batches(start), start + 1):
                with out_of_memory_advice(batch_size):
                    state, sound, metrics = step_fn(state, sound, batch, key)
                    report()
                    before = (step, batch, metrics)
                    stop = _all_stop(asked, step, log_every)
                    last = step == steps or stop
                    if last or step % checkpoint_every == 0:
                        report()
                        before = None
                        checkpoints.save(step, state)
                if last:
                    break
        except BadState:
            raise
        except Exception:
            # The error, e.g. a clip that vanished, did not damage the state, so it can be saved.
            if _is_newer(state, checkpoints):
                with contextlib.suppress(InputError):
                    checkpoints.save(int(state.step), state)
                    report()
            raise
    if asked or stop:
        raise Interrupted(f"after step {step} of {steps}, which is saved")
    return state


def _is_newer(state: State, checkpoints: Checkpoints) -> bool:
    """Returns whether this process alone can save the state, and no checkpoint holds it yet."""
    if processes.is_distributed() or state.step.is_deleted():
        return False
    return int(state.step) > checkpoints.latest


def _all_stop(asked: list[int], step: int, log_every: int) -> bool:
    """Returns whether to stop after this step.

    Several processes must stop at the same step, and agree on it when they log.
    """
    if not processes.is_distributed():
        return bool(asked)
    return step % log_every == 0 and processes.any_process(bool(asked))


def guard_step(step_fn, mesh: Mesh, carried, *, skip: bool):
    """Returns a compiled step that changes nothing if a metric is not finite.

    Unless bad steps are skipped, all later steps change nothing either. When the bad metric is
    noticed, one step later, the state is therefore still the one before the bad step.
    """

    def guarded(state, sound: jax.Array, batch, key: jax.Array):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            new, metrics = step_fn(state, batch, key)
        good = (
            sound
            & jnp.isfinite(jnp.stack([jnp.asarray(m, jnp.float32) for m in metrics.values()])).all()
        )
        # A skipped step counts as done, so that training goes on with the next batch.
        kept = jax.tree.map(lambda ours, old: jnp.where(good, ours, old), new, state)
        return (kept._replace(step=new.step), sound, metrics) if skip else (kept, good, metrics)

    return jax.jit(guarded, donate_argnums=0, out_shardings=(*shardings(mesh, carried), None))


def _report(
    log: TrainingLog, done: tuple[int, Any, Metrics] | None, on_bad_loss: str, files_of, watch
) -> None:
    """Logs the metrics of a step that was done.

    Raises:
        InputError: a metric is not finite, and such steps must not be skipped.
    """
    if done is None:
        return
    step, batch, metrics = done
    values = {name: float(value) for name, value in metrics.items()}
    if bad := [f"{name} is {value}" for name, value in values.items() if not math.isfinite(value)]:
        worst = max(bad, key=lambda text: text.startswith("loss "))
        files = "".join(f"\n  {file}" for file in files_of(batch))
        if on_bad_loss == "stop":
            raise InputError(
                f"step {step}: the {worst}. Try a smaller `learning_rate` or `dtype=float32`; "
                "`on_bad_loss=skip` continues here, without what such batches teach."
                + (f" This one's clips:{files}" if files else "")
            )
        print_line(f"step {step}: the {worst}; skipped{':' if files else ''}{files}")
    elif log.due(step):
        log.write(step, values)
        watch(step, values)


@contextlib.contextmanager
def out_of_memory_advice(batch_size: int) -> Iterator[None]:
    """Context manager: turns an out-of-memory error into a message with a batch size to try.

    Raises:
        InputError: instead of JAX's or Python's error.
    """
    try:
        yield
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        # JAX has no exception class of its own for this; the text contains XLA's status.
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        way_out = f"try `batch_size={batch_size // 2}`" if batch_size > 1 else "try a smaller model"
        raise InputError(f"out of memory with batches of {batch_size} clips; {way_out}") from error


@contextlib.contextmanager
def stop_requested() -> Iterator[list[int]]:
    """Context manager: the first SIGTERM or Ctrl-C only fills the list; the second interrupts at
    once.
    """
    asked: list[int] = []

    def ask(number, _):
        asked.append(number)
        if len(asked) > 1:
            raise KeyboardInterrupt

    # Only the main thread can set signal handlers.
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
