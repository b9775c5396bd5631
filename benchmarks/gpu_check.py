"""Checks on a GPU that is available only for minutes whether the results are right, and then how
fast they are.

    pip install -e '.[cuda12,torch]'
    python -m benchmarks.gpu_check --output=DIR                 # a GPU: all in 8 minutes
    python -m benchmarks.gpu_check --miniature --output=DIR     # the same, small, on a CPU

The parts run in this order, each in its own process with the GPU's whole memory:

    values           tokens and gradients of EAT in float32 and bfloat16, against the CPU's
    curve            the losses of 50 steps of fine-tuning in both, against the CPU's
    repeat, again    these steps twice under --xla_gpu_deterministic_ops: bit for bit?
    throughput       benchmarks.throughput: stages beside PyTorch, the experiment on resident clips
    sweep            more batch sizes, without PyTorch

Each part is written to --output when it is done: gpu_check.json, and the files of
benchmarks.throughput. A part that fails, or would start after --minutes, is reported; the others
continue. The exit status is 0 only if everything computed on the GPU is right.
"""

import functools
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from asd_jax.runtime.command import run
from asd_jax.runtime.files import read_json, write_json

FLAGS = flags.FLAGS
STEPS = 50
CLASSES = 4
CLIPS = 8
# The largest relative differences from the CPU. They are guesses until a GPU has been measured.
# Products of float32 are not rounded to TF32 here, and bfloat16 has 8 bits.
LIMITS = {"float32": {"tokens": 1e-4, "gradients": 1e-3, "losses": 1e-2}}
LIMITS["bfloat16"] = {"tokens": 5e-2, "gradients": 2e-1, "losses": 1e-1}
DETERMINISTIC = "--xla_gpu_deterministic_ops=true"


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_string("output", None, "Folder for the results.", required=True)
    flags.DEFINE_float("minutes", 7.5, "What would start later than this is left out.")
    flags.DEFINE_bool(
        "miniature", False, "A narrow model, few steps and clips: for tests on a CPU."
    )
    flags.DEFINE_string("part", None, "Only this part, in this process.")


def main() -> int:
    """Runs every part, or only the requested one."""
    if FLAGS.part:
        result = PARTS[FLAGS.part]()
        _keep(FLAGS.part, result | {"memory_bytes": _memory()})
        return 0
    began = time.perf_counter()
    left_out = []
    for name, command in _commands().items():
        seconds = 60 * FLAGS.minutes - (time.perf_counter() - began)
        if seconds < 0:
            left_out.append(name)
            continue
        print(f"{name}: {60 * FLAGS.minutes - seconds:.0f} s after the start", flush=True)
        _run(name, command(seconds / 60))
    result = _results()
    wrong = mistakes(result)
    for line in [*wrong, *(f"{name}: left out for lack of time" for name in left_out)]:
        print(line)
    print("wrong" if wrong else "right", f"after {time.perf_counter() - began:.0f} s")
    _keep("verdict", {"wrong": wrong, "left_out": left_out})
    return 1 if wrong else 0


def mistakes(result: dict) -> list[str]:
    """Returns the errors in the results of the parts, one line each."""
    found = [f"{name}: {part['error']}" for name, part in result.items() if "error" in part]
    for name in ("values", "curve"):
        for dtype, off in result.get(name, {}).get("off_cpu", {}).items():
            for what, difference in off.items():
                limit = LIMITS[dtype][what]
                if not difference <= limit:
                    found.append(
                        f"{name}: {what} in {dtype} are {difference:.1e} off, above {limit}"
                    )
    once, again = (result.get(name, {}).get("digest") for name in ("repeat", "again"))
    if once and again and once != again:
        found.append(f"again: not bit for bit the same under {DETERMINISTIC}")
    return found


def _commands() -> dict[str, Callable[[float], list[str]]]:
    """Returns, for each part, a function from the remaining minutes to the command to run."""
    here = [sys.executable, "-m", "benchmarks.gpu_check", f"--output={FLAGS.output}"]
    here += ["--miniature"] * FLAGS.miniature
    speed = [sys.executable, "-m", "benchmarks.throughput", f"--output={FLAGS.output}"]
    if FLAGS.miniature:
        speed += ["--sizes=tiny", "--torch=", "--repeats=1", "--noprofile", "--stages=front_end"]
        whole = ["--batches=2"]
        sweep = ["--batches=1"]
    else:
        stages = "forward,train,embedding,fine_tuning"
        whole = [f"--stages={stages}", "--experiment=dcase2024", "--clips_per_machine=300"]
        sweep = [f"--stages={stages}", "--batches=16,32,128,256", "--torch=", "--noprofile"]
    commands = {
        name: functools.partial(lambda name, _: [*here, f"--part={name}"], name) for name in PARTS
    }
    commands["throughput"] = lambda minutes: [*speed, *whole, f"--minutes={minutes:.2f}"]
    commands["sweep"] = lambda minutes: [*speed, *sweep, f"--minutes={minutes:.2f}"]
    return commands


def _run(name: str, command: list[str]) -> None:
    """Runs a part, which writes its own results; if it fails, writes an error for it."""
    output = Path(FLAGS.output)
    output.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str((output / "compiled").absolute())}
    if name in ("repeat", "again"):
        environment["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {DETERMINISTIC}"
    began = time.perf_counter()
    with open(output / f"{name}.log", "wb") as log:
        status = subprocess.run(command, env=environment, stdout=log, stderr=log, check=False)
    seconds = {"seconds": round(time.perf_counter() - began, 1)}
    if status.returncode:
        last = (output / f"{name}.log").read_text(errors="replace").strip().splitlines()[-1:]
        reason = f"exit status {status.returncode}, see {name}.log: {' '.join(last)[:200]}"
        _keep(name, {"error": reason} | seconds)
    else:
        _keep(name, _results().get(name, {}) | seconds)


def _results() -> dict:
    path = Path(FLAGS.output) / "gpu_check.json"
    return read_json(path) if path.is_file() else {}


def _keep(name: str, found: dict) -> None:
    Path(FLAGS.output).mkdir(parents=True, exist_ok=True)
    write_json(Path(FLAGS.output) / "gpu_check.json", _results() | {name: found})


def _memory() -> int | None:
    """Returns the peak memory on the device in bytes, or None if the device does not report it."""
    import jax

    return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def values() -> dict:
    """Compares tokens and gradients of EAT on noise between device and CPU, in both precisions."""
    import jax
    import jax.numpy as jnp

    from asd_jax.models.eat import EAT, EATConfig

    small = EATConfig(192, 2, 3)
    eat, frames = (small, 112) if FLAGS.miniature else (EATConfig.base(), 1024)
    cpu = jax.local_devices(backend="cpu")[0]
    with jax.default_device(cpu):
        x = jax.random.normal(jax.random.key(0), (2, frames, eat.mel_bins))
        params = jax.jit(EAT(eat).init)(jax.random.key(1), x)["params"]

    def computed(device, dtype) -> tuple[Any, Any]:
        def loss(params, x):
            tokens = EAT(eat, jnp.dtype(dtype)).apply({"params": params}, x)[0].astype(jnp.float32)
            return jnp.square(tokens - 1).mean(), tokens

        with jax.default_device(device):
            given = jax.device_put((params, x), device)
            gradients, tokens = jax.jit(jax.grad(loss, has_aux=True))(*given)
            return jax.device_get((tokens, gradients))

    return {"device": _device(), "off_cpu": _off(computed, ("tokens", "gradients"))}


def curve() -> dict:
    """Compares the losses of STEPS training steps between device and CPU, in both precisions."""
    import jax

    losses = {}

    def computed(device, dtype) -> tuple[Any]:
        losses[f"{device.platform} {dtype}"] = found = _steps(device, dtype)[0]
        return (found,)

    off = _off(computed, ("losses",))
    one = jax.local_devices()[0].device_kind
    return {"device": one, "off_cpu": off, "losses": losses}


def repeat() -> dict:
    """Returns a digest of the state after STEPS training steps in half precision."""
    import jax

    losses, state = _steps(jax.local_devices()[0], "bfloat16")
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(state):
        digest.update(leaf.tobytes())
    return {"device": _device(), "digest": digest.hexdigest(), "last_loss": losses[-1]}


def _device() -> str:
    import jax

    return jax.local_devices()[0].device_kind


def _off(computed: Callable, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Returns {dtype: {name: largest difference of an array from the CPU's, relative to its
    maximum}}.
    """
    import jax
    import numpy as np

    def off(found, expected) -> float:
        pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
        scaled = [(np.abs(a - b).max(), np.abs(b).max()) for a, b in pairs]
        # The gradient of a bias to which softmax is invariant consists only of rounding errors.
        greatest = max(scale for _, scale in scaled)
        return float(max(d / max(scale, 1e-3 * greatest) for d, scale in scaled))

    jax.config.update("jax_default_matmul_precision", "highest")
    here = jax.local_devices()[0]
    cpu = jax.local_devices(backend="cpu")[0]
    return {
        dtype: dict(zip(names, map(off, computed(here, dtype), computed(cpu, dtype)), strict=True))
        for dtype in LIMITS
    }


def _steps(device, dtype: str) -> tuple[list[float], Any]:
    """Fine-tunes a small EAT on tones in noise, and returns (loss of each step, the state)."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax.sharding import Mesh

    from asd_jax.models.eat import EATConfig
    from asd_jax.models.encoder import Encoder, EncoderConfig
    from asd_jax.training import mesh as meshes
    from asd_jax.training import step as steps
    from asd_jax.training.loop import guard_step
    from asd_jax.training.settings import FineTuning

    eat = EATConfig.tiny()
    count = STEPS
    samples = 16000
    if FLAGS.miniature:
        eat = EATConfig(64, 1, 2)
        count = 3
        samples = 4000
    config = EncoderConfig(eat=eat)
    settings = FineTuning(batch_size=CLIPS, learning_rate=2e-4)
    encoder = Encoder(config, jnp.dtype(dtype))
    head = steps.make_head(CLASSES, settings)
    optimizer, schedule = steps.make_optimizer(settings, count, eat.depth)
    taken = steps.make_train_step(encoder, head, optimizer, schedule, settings)
    mesh = Mesh(np.array([device]).reshape(1, 1), meshes.AXES)
    rng = np.random.default_rng(0)
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        key = jax.random.key(0)
        wave = np.zeros(samples, np.float32)
        state = steps.initial_state(encoder, head, optimizer, settings, key=key, wave=wave)
        carried = jax.device_get((state, np.array(True)))
    losses = []
    with jax.default_device(device):
        state, sound = meshes.place_state(mesh, carried)
        step = guard_step(taken, mesh, (state, sound), skip=False)
        key = jax.random.key(1)
        for _ in range(count):
            label = rng.integers(CLASSES, size=CLIPS).astype(np.int32)
            tone = np.sin(np.pi * (1000 + 1500 * label[:, None]) * np.arange(samples) / 8000)
            wave = (0.1 * tone + 0.03 * rng.normal(size=tone.shape)).astype(np.float32)
            batch = {"wave": wave, "label": label, "simam_mode": np.full_like(label, 2)}
            state, sound, metrics = step(state, sound, meshes.shard_batch(mesh, batch), key)
            losses.append(float(metrics["loss"]))
        return losses, jax.device_get(state)


PARTS: dict[str, Callable[[], dict]] = {
    "values": values,
    "curve": curve,
    "repeat": repeat,
    "again": repeat,
}

if __name__ == "__main__":
    run(main, define_flags)
