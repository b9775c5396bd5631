"""Cross-framework validation against PyTorch on the golden checkpoints; `pytest -m torch` where
torch is installed.
"""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

pytestmark = pytest.mark.torch
ROOT = Path(__file__).parent.parent
FAIRSEQ = ROOT / "tests" / "golden" / "tiny_eat_fairseq.pt"


def test_every_golden_checkpoint_agrees_with_pytorch_from_waveform_to_cls(tmp_path):
    command = [sys.executable, "-m", "benchmarks.parity", f"--output={tmp_path}"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    errors = json.loads((tmp_path / "parity.json").read_text())
    assert len(errors) == 5
    for stages in errors.values():
        seen = {(error["comparison"], error["stage"]) for error in stages}
        assert {
            ("filter bank", "energies"),
            ("from waveform", "CLS"),
            ("bfloat16", "block 2"),
        } <= seen


@pytest.mark.parametrize(
    "mistake", ["tanh GELU", "LayerNorm eps", "mel bank from 0 Hz", "swapped heads"]
)
def test_the_usual_mistakes_are_outside_the_tolerance(mistake, monkeypatch):
    from asd_jax.models import eat
    from benchmarks import parity

    if mistake == "tanh GELU":
        exact = jax.nn.gelu
        monkeypatch.setattr(jax.nn, "gelu", lambda x, approximate: exact(x, approximate=True))
    elif mistake == "LayerNorm eps":
        monkeypatch.setattr(eat, "NORM_EPS", 1e-5)
    elif mistake == "mel bank from 0 Hz":
        exact = parity.log_filter_bank
        monkeypatch.setattr(
            parity,
            "log_filter_bank",
            lambda wave, spacing: exact(wave, spacing=spacing, low_hz=0.0),
        )
    else:
        exact = parity.convert

        def swapped(source):
            config, params = exact(source)
            kernel = params["block_1"]["attention"]["qkv"]["kernel"]
            params["block_1"]["attention"]["qkv"]["kernel"] = np.roll(kernel, 12, axis=1)
            return config, params

        monkeypatch.setattr(parity, "convert", swapped)
    parity._forward.clear_cache()
    errors = parity.compare(FAIRSEQ, seconds=(1.0,))
    parity._forward.clear_cache()
    assert any(not error.within for error in errors if error.comparison != "bfloat16")


def test_features_found_in_a_file_are_compared_with_ours(tmp_path):
    import soundfile
    import torch

    from benchmarks import parity, torch_eat

    soundfile.write(tmp_path / "test.wav", parity.clip(10.0), 16000, subtype="FLOAT")
    spectrogram = torch.from_numpy(parity.padded(parity.kaldi_fbank(parity.clip(10.0))))
    with torch.no_grad():
        tokens = torch_eat.load(FAIRSEQ)(spectrogram)["block 2"][0].numpy()
    np.save(tmp_path / "test.npy", tokens)
    errors = parity.compare_recording(FAIRSEQ, tmp_path / "test.wav", tmp_path / "test.npy")
    assert max(error.relative for error in errors) < 1e-5  # measured 4.4e-6
    np.save(tmp_path / "test.npy", np.roll(tokens, 1, axis=0))
    errors = parity.compare_recording(FAIRSEQ, tmp_path / "test.wav", tmp_path / "test.npy")
    assert not any(error.within for error in errors)


@pytest.mark.parametrize("name", ["tiny_eat_fairseq.pt", "tiny_eat_finetuned_fairseq.pt"])
def test_our_reader_and_torchs_agree_on_every_tensor(name):
    import torch

    from convert.torch_file import read_torch

    theirs = torch.load(ROOT / "tests" / "golden" / name, weights_only=True)["model"]
    ours = read_torch(ROOT / "tests" / "golden" / name)["model"]
    assert set(ours) == set(theirs)
    for key in set(ours) - {"_ema"}:
        np.testing.assert_array_equal(ours[key].read(), theirs[key].numpy())


def test_views_shared_storages_and_types_that_torch_saves_are_read_right(tmp_path):
    import torch

    from convert.torch_file import read_torch

    base = torch.arange(24.0).reshape(4, 6)
    saved = {
        "base": base,
        "transposed": base.T,
        "part": base[1:3, ::2],
        "parameter": torch.nn.Parameter(base + 1),
        "bfloat16": torch.linspace(-3, 3, 7).bfloat16(),
        "float64": torch.linspace(0, 1, 5).double(),
        "int64": torch.tensor(2**40),
        "bool": torch.tensor([True, False]),
        "empty": torch.zeros(0, 3),
    }
    torch.save(
        {"model": saved, "size": base.shape, "dtype": base.dtype, "device": base.device},
        tmp_path / "a.pt",
    )
    for name, tensor in read_torch(tmp_path / "a.pt")["model"].items():
        wanted = saved[name].detach()
        np.testing.assert_array_equal(tensor.read().astype(np.float64), wanted.double().numpy())
        assert tensor.shape == tuple(wanted.shape)


def test_what_torch_saves_in_its_legacy_format_is_refused_with_the_way_out(tmp_path):
    import torch

    from asd_jax.runtime.errors import InputError
    from convert.torch_file import read_torch

    torch.save({"model": {}}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match=r"before 1\.6.*torch\.load"):
        read_torch(tmp_path / "old.pt")
