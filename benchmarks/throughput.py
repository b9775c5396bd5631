"""Measures how fast each stage of the main job is, compared with the device's own limit and with
PyTorch.

    python -m benchmarks.throughput --output=benchmarks/results
    python -m benchmarks.throughput --sizes=tiny,base,large --batches=8,32,128 --torch= \\
        --output=benchmarks/results
    python -m benchmarks.throughput --experiment=dcase2024 --output=benchmarks/results
    python -m benchmarks.throughput --exported --stages=forward --output=benchmarks/results
    python -m benchmarks.throughput --exported --stages=embedding --sizes=tiny,base --torch=

For the stages, see benchmarks/stages.py; "pipeline" embeds from wav files. In each round every
contender runs once, in turn, so that a disturbance affects all of them; medians, and their ratios,
are over rounds. PyTorch's variants are in benchmarks/torch_stages.py (extra "torch"). The command
writes throughput_<device>.json and .md.

On a GPU the defaults with --experiment=dcase2024 measure everything in less than 8 minutes; what
does not fit into --minutes is left out and reported. The experiment runs the real command on
generated clips of full number and length. --exported adds other runtimes to the forward pass on a
CPU (benchmarks/exported_stages.py, extra "export"), PyTorch's bfloat16, and the score of each
precision. --against=FILE compares with an earlier run on the same machine, and rejects one from
another machine.
"""

import dataclasses
import functools
import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from asd_jax.models.eat import EATConfig
from asd_jax.runtime.command import run
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.files import atomic_file, read_json, write_json
from benchmarks import stages
from benchmarks.main_job import PIPELINE_BATCHES, experiment, pipeline
from benchmarks.provenance import check_same_machine, machine

FLAGS = flags.FLAGS
DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def define_flags(argv: Sequence[str]) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_list("sizes", "base", "Sizes of EAT: tiny, base, large.")
    flags.DEFINE_list("batches", None, "Clips in a batch; default 8 on CPU, 64 on GPU.")
    flags.DEFINE_list(
        "dtypes", None, "Dtypes of EAT's computation; default float32 on CPU, bfloat16 on GPU."
    )
    flags.DEFINE_list("stages", [*stages.STAGES, "pipeline"], "What to time.")
    flags.DEFINE_list(
        "torch", None, "PyTorch's ways, for forward and train; default by device, empty for none."
    )
    flags.DEFINE_bool(
        "exported",
        False,
        "Also the exported forward pass in onnxruntime and OpenVINO, and embedding by the other "
        "values of model.runtime.",
    )
    flags.DEFINE_integer("repeats", 5, "Number of rounds.", lower_bound=1)
    flags.DEFINE_bool("profile", True, "Also time the parts of a forward pass.")
    flags.DEFINE_enum("experiment", None, ["dcase2024"], "Also run the full-size experiment.")
    flags.DEFINE_integer(
        "clips_per_machine", 1000, "Training clips of each machine of the experiment."
    )
    flags.DEFINE_float("minutes", 8.0, "What would start later than this is left out.")
    flags.DEFINE_string("against", None, "JSON of an earlier run of this machine, to compare with.")
    flags.DEFINE_string(
        "output", None, "Folder for JSON and Markdown; nothing is written without it."
    )


def main() -> None:
    """Measures the stages, and prints and writes the results."""
    began = time.perf_counter()
    gpu = jax.default_backend() != "cpu"
    here = machine()
    earlier = read_json(FLAGS.against) if FLAGS.against else None
    if earlier:
        check_same_machine(earlier, here, FLAGS.against)
    result = {
        "machine": here,
        "experiment": None,
        "exported_scores": None,
        "groups": [],
        "left_out": [],
    }
    device = here["device"].lower().replace(" ", "_")
    left = Path(FLAGS.output or "") / f"throughput_{device}.json"
    if FLAGS.output and left.is_file() and read_json(left)["machine"] == here:
        # New measurements replace earlier ones of the same machine.
        result |= read_json(left) | {"left_out": []}
    if FLAGS.exported:
        if gpu:
            raise InputError("--exported compares runtimes on a CPU; set JAX_PLATFORMS=cpu")
        # The import reports at once which runtime is missing.
        from benchmarks import exported_stages  # noqa: F401
    for name, task in _tasks(gpu):
        if time.perf_counter() - began > 60 * FLAGS.minutes:
            result["left_out"].append(name)
            continue
        found = task()
        if name in result:
            result[name] = found
        else:
            kept = [group for group in result["groups"] if _name(group) != _name(found)]
            result["groups"] = [*kept, found]
        print(json.dumps(found))
        # A run that is cut short keeps the results so far.
        if FLAGS.output:
            write_json(left, result)
    text = markdown(result, earlier)
    print(text)
    if FLAGS.output:
        write_json(left, result)
        with atomic_file(left.with_suffix(".md")) as file:
            file.write(text.encode())


def _tasks(gpu: bool) -> list[tuple[str, Callable[[], dict]]]:
    """Returns the requested tasks as (name, function that measures it)."""
    sizes = _known("sizes", FLAGS.sizes, ("tiny", "base", "large"))
    dtypes = _known("dtypes", FLAGS.dtypes or ["bfloat16" if gpu else "float32"], DTYPES)
    batches = FLAGS.batches or ["64" if gpu else "8"]
    if wrong := [batch for batch in batches if not (batch.isdecimal() and int(batch))]:
        raise InputError(f"--batches: {wrong[0]} is no number of clips")
    chosen = _known("stages", FLAGS.stages, [*stages.STAGES, "pipeline"])
    ways = ["compiled_bfloat16"] if gpu else ["eager", "eager_sdpa", "compiled"]
    ways += ["compiled_bfloat16"] * FLAGS.exported
    if FLAGS.torch is not None:
        ways = _known("torch", [way for way in FLAGS.torch if way], stages.TORCH_WAYS)
    tasks: list[tuple[str, Callable[[], dict]]] = []
    for size, dtype, batch, stage in itertools.product(sizes, dtypes, map(int, batches), chosen):
        task = functools.partial(group, stage, size, dtype, batch, ways)
        tasks.append((f"{stage} {size} {dtype} {batch}", task))
    # The experiment follows the first group of stages, so that the most important figures come
    # first.
    if FLAGS.experiment:
        tasks.insert(
            len(chosen), ("experiment", functools.partial(experiment, FLAGS.clips_per_machine))
        )
    if FLAGS.exported and "forward" in chosen:
        tasks.append(("exported_scores", exported_scores))
    return tasks


@dataclasses.dataclass(frozen=True)
class Contenders:
    """What is timed in one stage.

    Attributes:
        once: {name: a function that performs the stage once}.
        flops: floating-point operations of ours, where they are known.
        peak_bytes: peak memory of ours on the device, where it is known.
        missing: {contender: why it cannot be measured}.
    """

    once: Mapping[str, Callable[[], object]]
    flops: float | None
    peak_bytes: float | None
    missing: Mapping[str, str]


def contenders_of(
    stage: str, eat: EATConfig, dtype: str, batch: int, ways: Sequence[str], folder: Path
) -> Contenders:
    """Returns everything that performs a stage: ours, PyTorch in several ways, exported files."""
    if stage == "pipeline":
        return Contenders({"asd_jax": pipeline(eat, batch, DTYPES[dtype], folder)}, None, None, {})
    ours, peak, flops = stages.prepare(stage, eat, batch, DTYPES[dtype])
    once = {"asd_jax": ours}
    missing = {}
    spectrogram = np.array(jax.random.normal(jax.random.key(0), (batch, 1024, 128)))
    for way in ways if stage in ("forward", "train") else []:
        # PyTorch is optional.
        try:
            from benchmarks import torch_stages
        except ImportError:
            missing[way] = "PyTorch is not installed"
            continue
        once[f"torch {way}"] = torch_stages.prepare(stage, way, eat, spectrogram)
    if FLAGS.exported and stage in ("forward", "embedding"):
        # The runtimes of exported files are optional.
        from benchmarks import exported_stages

        if stage == "forward":
            once |= exported_stages.prepare(eat, spectrogram, folder)
        else:
            once |= exported_stages.embedding(eat, batch)
    return Contenders(once, flops, peak, missing)


def group(stage: str, size: str, dtype: str, batch: int, ways: Sequence[str]) -> dict:
    """Measures one stage for every contender, in turn, and returns seconds, rates and ratios."""
    eat = getattr(EATConfig, size)()
    square = 8192 if jax.default_backend() != "cpu" else 2048
    rate = stages.matmul_rate(DTYPES[dtype], square)
    with tempfile.TemporaryDirectory() as folder:
        contenders = contenders_of(stage, eat, dtype, batch, ways, Path(folder))
        seconds, rates = timed_in_turn(contenders.once, rate)
        profile = {}
        if FLAGS.profile and stage == "forward":
            for name, (once, times) in stages.parts(eat, batch, DTYPES[dtype]).items():
                once()
                taken = [_timed(once) for _ in range(FLAGS.repeats)]
                profile[name] = times * statistics.median(taken)
    ours = statistics.median(seconds["asd_jax"])
    matmul = statistics.median(rates)
    found = {"stage": stage, "size": size, "dtype": dtype, "batch": batch, "matmul_flops": matmul}
    found["clips_per_second"] = batch / ours * (PIPELINE_BATCHES if stage == "pipeline" else 1)
    if contenders.flops:
        flops = contenders.flops / ours
        found |= {"model_flops": flops, "share_of_matmul": flops / matmul}
    found["peak_bytes"] = contenders.peak_bytes
    found["seconds"] = {name: _summary(values) for name, values in seconds.items()}
    # Ratios are taken within a round, so that a slowdown of both cancels.
    found["ratio_to_torch"] = {
        name: statistics.median(
            theirs / own for own, theirs in zip(seconds["asd_jax"], values, strict=True)
        )
        for name, values in seconds.items()
        if name.startswith("torch ")
    }
    if contenders.missing:
        found["not_measured"] = dict(contenders.missing)
    return found | ({"profile_seconds": profile} if profile else {})


def timed_in_turn(
    contenders: Mapping[str, Callable[[], object]], rate: Callable[[], float]
) -> tuple[dict[str, list[float]], list[float]]:
    """Returns the seconds of each contender, round by round, and the rates of a matrix product."""
    # The first call compiles and warms up.
    for once in contenders.values():
        once()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    rates = []
    for _ in range(FLAGS.repeats):
        rates.append(rate())
        for name, once in contenders.items():
            seconds[name].append(_timed(once))
    return seconds, rates


def exported_scores() -> dict[str, float]:
    """Returns {runtime and precision: official score} of the bundled encoder on the factory."""
    # The runtimes of exported files are optional.
    from benchmarks import exported_stages

    with tempfile.TemporaryDirectory() as folder:
        return exported_stages.scores(
            Path(folder), train_source=40, train_target=5, test_per_condition=10
        )


def markdown(result: dict, earlier: dict | None) -> str:
    """Returns the tables of a run in Markdown."""
    before = {_name(found): found for found in (earlier or {}).get("groups", [])}
    lines = [
        f"# {result['machine']['device']}, JAX {result['machine']['jax']}",
        "",
        "| stage | clips/s | TFLOP/s | of matmul | peak GB | seconds (least, most) | times "
        "PyTorch | times before |",
        "|---|---|---|---|---|---|---|---|",
    ]
    groups = result["groups"]
    lines += [_row(found, before.get(_name(found))) for found in groups]
    for found in groups:
        if profile := found.get("profile_seconds"):
            whole = found["seconds"]["asd_jax"]["median"]
            lines += ["", f"Parts of {_name(found)}, timed alone, as shares of the whole:", ""]
            lines += [f"- {n}: {s:.3g} s, {s / whole:.0%}" for n, s in profile.items()]
    for found in groups:
        if len(seconds := found["seconds"]) > 1 + len(found["ratio_to_torch"]):
            lines += ["", f"{_name(found)} by every runtime, seconds (least, most):", ""]
            ranked = sorted(seconds.items(), key=lambda item: item[1]["median"])
            lines += [f"- {name}: {_range(taken)}" for name, taken in ranked]
    if found := result["exported_scores"]:
        title = "Official score of the exported encoder in the box on the factory, Mahalanobis, %:"
        own = found["asd_jax"]
        lines += ["", title, ""]
        lines += [
            f"- {name}: {100 * value:.2f} ({100 * (value - own):+.2f})"
            for name, value in found.items()
        ]
    if found := result["experiment"]:
        parts = json.dumps(found["parts"])
        lines += ["", f"DCASE 2024 on generated clips: {found['seconds']:.1f} s, {parts}"]
    if result["left_out"]:
        lines += ["", f"Left out for lack of time: {', '.join(result['left_out'])}"]
    return "\n".join(lines) + "\n"


def _row(found: dict, old: dict | None) -> str:
    """Returns the row of one group, beside the same group of an earlier run, if there is one."""
    own = found["seconds"]["asd_jax"]
    flops = found.get("model_flops")
    share = found.get("share_of_matmul")
    ratios = [
        f"{name.removeprefix('torch ')} {ratio:.2f}"
        for name, ratio in found["ratio_to_torch"].items()
    ]
    missing = [f"{way}: {why}" for way, why in found.get("not_measured", {}).items()]
    cells = [
        _name(found),
        f"{found['clips_per_second']:.3g}",
        f"{flops / 1e12:.3g}" if flops else "",
        f"{share:.0%}" if share else "",
        f"{found['peak_bytes'] / 1e9:.2f}" if found["peak_bytes"] else "",
        _range(own),
        "; ".join(ratios + missing),
        f"{old['seconds']['asd_jax']['median'] / own['median']:.2f}" if old else "",
    ]
    return "| " + " | ".join(cells) + " |"


def _range(seconds: dict) -> str:
    return f"{seconds['median']:.3g} ({seconds['least']:.3g}, {seconds['most']:.3g})"


def _name(found):
    return f"{found['stage']} {found['size']} {found['dtype']} x {found['batch']}"


def _summary(seconds):
    return {"median": statistics.median(seconds), "least": min(seconds), "most": max(seconds)}


def _timed(once):
    began = time.perf_counter()
    once()
    return time.perf_counter() - began


def _known(flag, values, known):
    if unknown := [value for value in values if value not in known]:
        raise InputError(f"--{flag}: {', '.join(unknown)} is unknown; known: {', '.join(known)}")
    return values


if __name__ == "__main__":
    run(main, define_flags)
