"""Provides the stages of benchmarks.throughput in PyTorch, using benchmarks/torch_eat.py, eager or
compiled, in both precisions.
"""

import contextlib
from collections.abc import Callable

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from asd_jax.models.eat import EATConfig, position_table
from benchmarks.stages import TORCH_WAYS
from benchmarks.torch_eat import EAT


def device() -> torch.device:
    """Returns the GPU if PyTorch finds one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def prepare(stage: str, way: str, eat: EATConfig, spectrogram: np.ndarray) -> Callable[[], object]:
    """Returns a function that runs a stage once and waits until it is done.

    Args:
        stage: "forward", or "train": forward, backward and AdamW on the mean square of the tokens,
            with weights in float32.
        way: One of TORCH_WAYS.
        eat: Sizes of EAT. The weights are random.
        spectrogram: (b, t, f).
    """
    compiled, fused, half = TORCH_WAYS[way]
    torch.manual_seed(0)
    tokens = spectrogram.shape[1] * spectrogram.shape[2] // 256
    model = EAT(eat.embed_dim, eat.depth, eat.num_heads, int(eat.embed_dim * eat.mlp_ratio), tokens)
    with torch.no_grad():
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.02)
        times = spectrogram.shape[1] // 16
        bands = spectrogram.shape[2] // 16
        positions = model.fixed_positional_encoder["positions"]
        positions.copy_(torch.from_numpy(position_table(eat.embed_dim, times, bands))[None])
        positions.requires_grad_(False)
    for block in model.blocks:
        block.fused = fused
    model = model.to(device())
    x = torch.from_numpy(spectrogram).to(device())
    if half and stage == "forward":
        model = model.bfloat16()
        x = x.bfloat16()
    last = f"block {eat.depth - 1}"

    def tokens_of(x):
        return model(x)[last]

    apply = torch.compile(tokens_of) if compiled else tokens_of
    if stage == "forward":

        def forward():
            with torch.inference_mode(), _attention(half):
                apply(x)
            _wait()

        return forward
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], 1e-4, fused=True
    )

    def train():
        optimizer.zero_grad(set_to_none=True)
        autocast = torch.autocast(device().type, torch.bfloat16, enabled=half)
        with _attention(half), autocast:
            loss = apply(x).float().square().mean()
        loss.backward()
        optimizer.step()
        _wait()

    return train


def _attention(half: bool):
    """Context manager: selects the two fast attention kernels on a GPU in half precision.

    PyTorch's own choice may be a third kernel.
    """
    if not half or device().type != "cuda":
        return contextlib.nullcontext()
    fast = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION]
    return sdpa_kernel(fast, set_priority=True)


def _wait():
    if device().type == "cuda":
        torch.cuda.synchronize()
