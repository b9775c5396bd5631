import dataclasses
import json
from pathlib import Path

import jax
import pytest

from benchmarks import compiled_program, gpu_program, product_programs
from benchmarks.gpu_program import TARGETS, compiled_once, described_devices, memory_bytes
from benchmarks.gpu_program_table import tables

FOLDER = Path(__file__).parents[2] / "benchmarks"


def small(name, devices=1):
    """The program of EAT-base whose name begins so, of one narrow block, on little."""
    (found,) = [p for p in product_programs.programs(devices) if p.name.startswith(name)]
    settings = found.settings | ({"views": 2} if found.task == "pre-training" else {})
    few = {"clips": 4 if found.task == "fine-tuning" else 2, "seconds": 1.0, "settings": settings}
    depth = 2 if found.task == "detect" else 1  # it pools the last block but one
    return dataclasses.replace(found, size="tiny", depth=depth, **few)


def compiled(name, tmp_path, target="h100", devices=1):
    target = TARGETS / f"{target}.pbtxt"
    program = small(name, devices)
    described = described_devices(target, devices)
    return compiled_once(program, described, memory_bytes(target), tmp_path / "found.json")


@pytest.mark.gpu_program
@pytest.mark.parametrize(
    ("name", "fused"),
    [
        ("fine-tuning base, full, bfloat16", (1, 1)),
        ("fine-tuning base, full, resident clips", (1, 1)),
        ("fine-tuning base, frozen", (1, 0)),
        ("fine-tuning base, lora", (1, 1)),
        ("fine-tuning base, gradual", (1, 1)),
        ("fine-tuning base, in 4 parts", (1, 1)),
        ("fine-tuning base, remat", (2, 1)),
        ("fine-tuning base, drop path", (1, 1)),
        ("pre-training base, eat", (2, 1)),  # the teacher's and the student's
        ("pre-training base, masked autoencoder", (7, 7)),  # six in its decoder
        ("embedding base, bucket", (1, 0)),
    ],
)
def test_half_precision_compiles_for_a_gpu(tmp_path, name, fused):
    found = compiled(name, tmp_path)
    assert "error" not in found, found
    assert (found["fused_attention"]["forward"], found["fused_attention"]["backward"]) == fused
    assert found["float32_products_in_eat"] == [] and found["host_transfers"] == 0
    assert found["aliased_bytes"] == found["state_bytes"]


@pytest.mark.gpu_program
@pytest.mark.parametrize("name", ["embedding base, fit, 10 s, float32", "detect base, a stream"])
def test_float32_compiles_by_the_formula(tmp_path, name):
    found = compiled(name, tmp_path)
    assert "error" not in found and found["fused_attention"] == {"forward": 0, "backward": 0}
    assert len(found["float32_products_in_eat"]) >= 7  # patch, qkv, two of attention, out, fc1, fc2


@pytest.mark.gpu_program
@pytest.mark.parametrize("target", ["a100", "h200", "l4"])
def test_every_described_gpu_takes_a_step_in_half_precision(tmp_path, target):
    found = compiled("fine-tuning base, full, bfloat16", tmp_path, target)
    assert found["fused_attention"] == {"forward": 1, "backward": 1}


@pytest.mark.gpu_program
def test_eight_gpus_send_what_the_formulas_say(tmp_path):
    found = compiled("fine-tuning base, full, bfloat16", tmp_path, devices=8)
    assert found["fused_attention"] == {"forward": 1, "backward": 1}
    by_kind = found["collectives"]
    # EAT's gradients are added up as they come, in half precision
    assert 0.5 < by_kind["all-reduce"]["bytes"] / found["reduced_bytes"] < 1.1
    assert by_kind["all-gather"]["bytes"] == pytest.approx(found["gathered_bytes"], rel=0.01)


@pytest.mark.gpu_program
def test_eight_gpus_send_float32_whole(tmp_path):
    found = compiled("fine-tuning base, full, float32", tmp_path, devices=8)
    assert found["collectives"]["all-reduce"]["bytes"] == pytest.approx(
        found["reduced_bytes"], 1e-2
    )


@pytest.mark.gpu_program
def test_eight_gpus_pre_train_each_on_its_own_clips(tmp_path):
    found = compiled("pre-training base, eat", tmp_path, devices=8)
    assert set(found["collectives"]) == {"all-reduce"}


@pytest.mark.gpu_program
def test_eight_gpus_share_one_state_and_embed(tmp_path):
    whole = compiled("fine-tuning base, full, bfloat16", tmp_path, devices=8)["state_bytes"]
    shared = compiled("fine-tuning base, full, all shards", tmp_path, devices=8)
    assert shared["aliased_bytes"] == shared["state_bytes"] < 0.2 * whole
    embedded = compiled("embedding base, fit, 10 s, bfloat16", tmp_path, devices=8)
    assert embedded["fused_attention"]["forward"] == 1 and embedded["collectives"] == {}


@pytest.mark.gpu_program
def test_heads_that_the_kernel_refuses_attend_by_the_formula(tmp_path, monkeypatch, capfd):
    narrow = dataclasses.replace(small("embedding base, fit, 10 s, bfloat16").eat, num_heads=16)
    monkeypatch.setattr(product_programs.Program, "eat", narrow)  # heads of 12 channels
    found = compiled("embedding base, fit, 10 s, bfloat16", tmp_path)
    assert "error" not in found and found["fused_attention"]["forward"] == 0
    said = capfd.readouterr().err.splitlines()
    assert sum("multiple of 8, but got 12" in line for line in said) == 1


TEXT = """HloModule jit_step, entry_computation_layout={(f32[8]{0})->f32[8]{0}}

%moved (p.1: bf16[2000,3000]) -> bf16[3000,2000] {
  %p.1 = bf16[2000,3000]{1,0} parameter(0)
  ROOT %t = bf16[3000,2000]{1,0} transpose(%p.1), dimensions={1,0}
}

%computed (p.2: bf16[2000,3000]) -> bf16[2000,3000] {
  %p.2 = bf16[2000,3000]{1,0} parameter(0)
  ROOT %a = bf16[2000,3000]{1,0} add(%p.2, %p.2)
}

ENTRY %main (x: bf16[2000,3000], w: f32[64,64]) -> f32[64,64] {
  %x = bf16[2000,3000]{1,0} parameter(0)
  %w = f32[64,64]{1,0} parameter(1)
  %h = bf16[64,64]{1,0} convert(%w)
  %f.1 = bf16[3000,2000]{1,0} fusion(%x), calls=%moved, metadata={op_name="a/attention/t"}
  %f.2 = bf16[2000,3000]{1,0} fusion(%x), kind=kLoop, calls=%computed
  %c = f32[64,64]{1,0} copy(%w)
  %d.1 = f32[64,64]{1,0} dot(%w, %w), metadata={op_name="jit(step)/eat/block_0/fc1/dot"}
  %d.2 = f32[64,64]{1,0} dot(%h, %h), metadata={op_name="jit(step)/eat/block_0/fc2/dot"}
  %d.3 = f32[64,64]{1,0} dot(%w, %w), metadata={op_name="jit(step)/head/dot"}
  %k = (bf16[8,2]{1,0}, u8[0]{0}) custom-call(%h), custom_call_target="__cudnn$fmhaSoftmax"
  %b = (bf16[8,2]{1,0}, u8[0]{0}) custom-call(%h), custom_call_target="__cudnn$fmhaSoftmaxBackward"
  %r = f32[64,64]{1,0} all-reduce-start(%w), to_apply=%add
  %r.2 = ((f32[64,64]{1,0}), f32[64,64]{1,0}) all-reduce-start(%w), to_apply=%add
  %g = (f32[8,64]{1,0}, f32[64,64]{1,0}) all-gather-start(%w), dimensions={0}
  %s = (f32[64,64]{1,0}, u32[], token[]) send(%w), is_host_transfer=true
  ROOT %e = f32[64,64]{1,0} all-reduce-done(%r)
}
"""


def test_a_programs_text_is_read_right():
    lines = list(compiled_program.instructions(TEXT))
    assert compiled_program.fused_attention(lines) == {"forward": 1, "backward": 1}
    assert compiled_program.float32_products(lines) == ["d.1"]
    attention = {"count": 1, "bytes": 12_000_000}
    nothing = {"count": 0, "bytes": 0}
    assert compiled_program.copies(lines) == {"attention": attention, "elsewhere": nothing}
    assert compiled_program.host_transfers(lines) == 1
    once, twice = ({"count": times, "bytes": times * 64 * 64 * 4} for times in (1, 2))
    assert compiled_program.collectives(lines) == {"all-reduce": twice, "all-gather": once}
    assert compiled_program.nbytes("(bf16[2,3]{1,0}, s8[5], pred[])") == 12 + 5 + 1


@pytest.fixture
def with_one_program(monkeypatch):
    """The command, with one small program that it compiles for this CPU."""
    program = small("embedding base, fit, 10 s, bfloat16")
    monkeypatch.setattr(product_programs, "programs", lambda devices: [program])
    monkeypatch.setattr(gpu_program, "described_devices", lambda path, n: jax.devices()[:n])


def test_what_is_compiled_is_not_compiled_again(tmp_path, command, with_one_program, monkeypatch):
    flags = ["--target=h100,l4", f"--output={tmp_path}"]
    status, out, error = command(gpu_program, *flags)
    assert status == 0, error
    assert out.splitlines()[-1] == "2 of 2 programs compile for h100, l4"
    left = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert set(left) == {"gpu_program_h100.json", "gpu_program_l4.json"}
    (found,) = json.loads(left["gpu_program_l4.json"]).values()
    assert found["peak_bytes"] > 1_000_000 and found["memory_bytes"] == 23_803_723_776

    def report(program):
        raise ValueError("compiled again")

    monkeypatch.setattr(compiled_program, "report", report)
    assert command(gpu_program, *flags)[0] == 0
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == left
    (tmp_path / "gpu_program_l4.json").unlink()
    status, out, _ = command(gpu_program, *flags)
    assert status == 1 and "ValueError: compiled again" in out
    assert out.splitlines()[-1] == "1 of 2 programs compile for h100, l4"
    status, out, _ = command(gpu_program, *flags)  # what failed is tried again
    assert status == 1


def test_bad_flags_are_refused(tmp_path, command, with_one_program):
    output = f"--output={tmp_path}"
    status, _, error = command(gpu_program, "--target=v100", output)
    assert status == 2 and "--target=v100: not in benchmarks/gpu_targets/; known: a100, h1" in error
    status, _, error = command(gpu_program, "--target=l4", "--sizes=huge", output)
    assert status == 2 and "--sizes: huge is unknown; known: tiny, base, large" in error
    status, _, error = command(gpu_program, "--target=l4", "--programs=scoring", output)
    assert status == 2 and "--programs=scoring: none has such a name" in error


def test_a_missing_compiler_is_named(monkeypatch):
    from jax.experimental import topologies

    def without(*_, **__):
        raise RuntimeError("no plugin\nand more")

    monkeypatch.setattr(topologies, "get_topology_desc", without)
    with pytest.raises(gpu_program.InputError, match=r"pip install 'asd_jax\[cuda12\]' \(no plugi"):
        described_devices(TARGETS / "l4.pbtxt")


def test_the_readmes_table_is_generated():
    assert tables(FOLDER / "results") in (FOLDER / "README.md").read_text()


def test_the_figures_hold():
    results = json.loads((FOLDER / "results" / "gpu_program_h100.json").read_text())
    base = results["fine-tuning base, full, bfloat16 x 32"]
    assert base["temporary_bytes"] <= 5.5e9
    assert base["aliased_bytes"] == base["state_bytes"] > 1e9
    large = results[f"fine-tuning large, full, bfloat16 x {product_programs.LARGE}"]
    assert large["peak_bytes"] < 80e9
    for path in (FOLDER / "results").glob("gpu_program_*.json"):
        for name, found in json.loads(path.read_text()).items():
            assert "error" not in found, (path, name)
            assert not found["float32_products_in_eat"] or "float32" in name
            assert found["host_transfers"] == 0 and found["aliased_bytes"] == found["state_bytes"]
