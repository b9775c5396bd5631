"""Implements the training loop of fine-tuning and pre-training, with logging and exact resumption.

It saves the state regularly and when it is interrupted.
"""

import contextlib
import dataclasses
import math
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.typing import DTypeLike

from asd_jax.runtime import processes
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.log import TrainingLog, print_line
from asd_jax.runtime.sign_of_life import acknowledged, doing
from asd_jax.training.checkpoint import Checkpoints
from asd_jax.training.mesh import one_device, place_state, shardings
from asd_jax.training.settings import Log

STOPPING = "stopping: the steps in hand are finished first, and their state is saved"
State = TypeVar("State", bound=Any)  # a NamedTuple with `.step`
Metrics = dict[str, jax.Array]


class Interrupted(KeyboardInterrupt):
    """SIGTERM or Ctrl-C stopped the training, after the state was saved."""


class BadState(InputError):
    """The state itself is bad, as `watch` found, and is not saved."""


@dataclasses.dataclass(frozen=True)
class Job:
    """Where a training is computed and recorded.

    Attributes:
        workdir: metrics.jsonl and checkpoints/ are written here.
        seed: of initial weights, order and augmentation.
        dtype: the type that EAT computes in.
        mesh: the devices, see `make_mesh`; by default the first one alone.
        log: how often log lines and checkpoints are written.
    """

    workdir: Path
    seed: int = 0
    dtype: DTypeLike = jnp.float32
    mesh: Mesh = dataclasses.field(default_factory=one_device)
    log: Log = Log()


@dataclasses.dataclass(frozen=True)
class Steps(Generic[State]):
    """The steps of a training, and what is done around each.

    Attributes:
        take: maps (state, batch, key) to (state, metrics). The state is a NamedTuple with `.step`,
            the steps done, and otherwise any pytree of arrays; metrics are scalars by name.
        state: the state before the first step, and the template of what is saved.
        batches: maps the number of steps done to the batches that follow, placed on the devices.
        total: the number of steps.
        key: the random key given to every step, which combines it with `state.step`.
        batch_size: clips per step, from which the rate is computed.
        on_bad_loss: what to do if a metric is not finite: "stop" before that step, or "skip" the
            step.
        files_of: returns the names of a batch's files, for the message.
        watch: receives the metrics that are logged, and may raise BadState.
        after_step: receives the number of every step and the state after it, which it must not
            keep; after an interruption, the step that the run continues from and those that are
            repeated are received again.
    """

    take: Callable[[State, Any, jax.Array], tuple[State, Metrics]]
    state: State
    batches: Callable[[int], Iterable[Any]]
    total: int
    key: jax.Array
    batch_size: int
    on_bad_loss: str = "stop"
    files_of: Callable[[Any], Sequence[str]] = lambda batch: ()
    watch: Callable[[int, dict[str, float]], None] = lambda step, values: None
    after_step: Callable[[int, State], None] = lambda step, state: None


def run_steps(steps: Steps[State], job: Job) -> State:
    """Returns the state after the last step, starting from the newest checkpoint in the workdir.

    The result is the same, bit for bit, however often the run was interrupted: a step depends only
    on its state, the batch of its number, and the key. The metrics of a step are read after the
    next step was dispatched, so that the device does not wait.

    Raises:
        InputError: a metric is not finite, there is not enough memory for a step, or the disk is
            full. The state is saved.
        BadState: raised by `watch`; earlier checkpoints stay.
        Interrupted: SIGTERM or Ctrl-C was received. The state is saved.
    """
    # The first call gets its inputs with the placement of the later ones; otherwise the second call
    # would be compiled again.
    carried = state, sound = place_state(job.mesh, (steps.state, jnp.array(True)))
    take = guard_step(steps.take, job.mesh, carried, skip=steps.on_bad_loss == "skip")
    reports = Reports(steps)
    stop = False
    # The signal handlers must stay in place while the last checkpoint is written.
    with (
        acknowledged(STOPPING),
        stop_requested() as asked,
        Checkpoints(job.workdir / "checkpoints") as checkpoints,
        doing(reports.at_work),
    ):
        start, state = checkpoints.restore(state)
        # The log drops lines of steps after the checkpoint, which are done again.
        reports.open(job, start)
        # The process before may have ended between this step and what follows it.
        if start:
            steps.after_step(start, state)
        step = start
        try:
            for step, batch in enumerate(steps.batches(start), start + 1):
                with out_of_memory_advice(steps.batch_size):
                    state, sound, metrics = take(state, sound, batch, steps.key)
                    # Reads the metrics of the step before, while the device computes this one.
                    reports.write()
                    reports.add(step, batch, metrics)
                    steps.after_step(step, state)
                    stop = _all_stop(asked, step, job.log.every)
                    last = step == steps.total or stop
                    if last or step % job.log.checkpoint_every == 0:
                        # A state whose metrics are not finite must not be saved.
                        reports.write()
                        checkpoints.save(step, state)
                if last:
                    break
        except BadState:
            # The state itself is bad, so that earlier checkpoints are the ones to keep.
            raise
        except Exception:
            # The error, e.g. a clip that vanished, did not damage the state, so it can be saved.
            if _is_newer(state, checkpoints):
                with contextlib.suppress(InputError):
                    checkpoints.save(int(state.step), state)
                    # This may refuse the same metric again; the first error is raised below.
                    reports.write()
                    # A step that is saved is not done again, so its own metrics must be logged now.
                    if int(state.step) > reports.begun:
                        reports.add(step, batch, metrics)
                        reports.write()
            raise
    if asked or stop:
        raise Interrupted(f"after step {step} of {steps.total}, which is saved")
    return state


def _is_newer(state: State, checkpoints: Checkpoints) -> bool:
    """Returns whether this process alone can save the state, and no checkpoint holds it yet."""
    # A step that failed may have used up the donated memory of its state.
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
        # While the step is traced, the layout functions of mesh.py find the mesh here.
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            new, metrics = step_fn(state, batch, key)
        # All metrics are tested on the device, so that the host need not wait for them.
        good = (
            sound
            & jnp.isfinite(jnp.stack([jnp.asarray(m, jnp.float32) for m in metrics.values()])).all()
        )
        # A skipped step counts as done, so that training goes on with the next batch.
        kept = jax.tree.map(lambda ours, old: jnp.where(good, ours, old), new, state)
        return (kept._replace(step=new.step), sound, metrics) if skip else (kept, good, metrics)

    # Donated, the old state's memory serves the new one; fixed shardings avoid a recompilation.
    return jax.jit(guarded, donate_argnums=0, out_shardings=(*shardings(mesh, carried), None))


class Reports:
    """Reads the metrics of each step after the next one was dispatched, and logs them.

    Attributes:
        waiting: (step, batch, metrics) that was dispatched last and is not logged yet, or None.
        begun: the last step whose metrics were added.
    """

    def __init__(self, steps: Steps):
        self._steps = steps
        self.begun = 0
        self.waiting: tuple[int, Any, Metrics] | None = None

    def open(self, job: Job, start: int) -> None:
        """Opens the log of the steps after `start`."""
        self._log = TrainingLog(
            job.workdir / "metrics.jsonl",
            start=start,
            steps=self._steps.total,
            every=job.log.every,
            batch_size=self._steps.batch_size,
        )

    def add(self, step: int, batch: Any, metrics: Metrics) -> None:
        """Keeps the metrics of a step that was dispatched, to be read by the next `write`."""
        self.waiting = (step, batch, metrics)
        self.begun = step

    def at_work(self) -> str:
        """Returns what the training is doing, as a message for a user who waits."""
        # The last step that was dispatched may not be done yet.
        done = f"step {self.begun - 1} of {self._steps.total}"
        return done if self.begun else "compiling, and the first step"

    def write(self) -> None:
        """Logs the metrics that were kept, if any.

        Raises:
            InputError: a metric is not finite, and such steps must not be skipped.
        """
        if self.waiting is None:
            return
        step, batch, metrics = self.waiting
        values = {name: float(value) for name, value in metrics.items()}
        bad = [f"{name} is {value}" for name, value in values.items() if not math.isfinite(value)]
        if bad:
            self._report_bad(step, batch, bad)
        elif self._log.due(step):
            self._log.write(step, values)
            self._steps.watch(step, values)
        # Metrics that were refused stay, so that a second attempt refuses them again.
        self.waiting = None

    def _report_bad(self, step: int, batch: Any, bad: Sequence[str]) -> None:
        # A loss that is not finite says more than the gradients that follow from it.
        worst = max(bad, key=lambda text: text.startswith("loss "))
        files = "".join(f"\n  {file}" for file in self._steps.files_of(batch))
        if self._steps.on_bad_loss == "stop":
            raise InputError(
                f"step {step}: the {worst}. Try a smaller `learning_rate` or `dtype=float32`; "
                "`on_bad_loss=skip` continues here, without what such batches teach."
                + (f" This one's clips:{files}" if files else "")
            )
        print_line(f"step {step}: the {worst}; skipped{':' if files else ''}{files}")


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
        # The first signal waits for the step; whoever sends two does not want to wait.
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
