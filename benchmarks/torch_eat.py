"""Implements EAT in PyTorch, written from its description for validation only, as the reference of
benchmarks.parity.

Its names are those of the public Hugging Face files, so their tensors load with `strict=True`.
Nothing of convert/ is used, so the two ways of reading a checkpoint verify each other.
"""

import json
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

EPS = 1e-6
PATCH = 16


class EAT(nn.Module):
    """EAT, which maps a normalised spectrogram (b, t, f) to {"pre_norm", "block 0", ..., "CLS"}.

    Its outputs are tokens (b, n, d), and "CLS" (b, d).
    """

    def __init__(self, width: int, depth: int, heads: int, hidden: int, positions: int):
        super().__init__()
        self.extra_tokens = nn.Parameter(torch.zeros(1, 1, width))
        self.local_encoder = nn.ModuleDict({"proj": nn.Conv2d(1, width, PATCH, PATCH)})
        self.fixed_positional_encoder = nn.ParameterDict(
            {"positions": torch.zeros(1, positions, width)}
        )
        self.pre_norm = nn.LayerNorm(width, EPS)
        self.blocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(depth))

    def forward(self, spectrogram: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.local_encoder["proj"](spectrogram[:, None]).flatten(2).transpose(1, 2)
        x = x + self.fixed_positional_encoder["positions"][:, : x.shape[1]]
        x = self.pre_norm(torch.cat([self.extra_tokens.expand(len(x), -1, -1), x], dim=1))
        stages = {"pre_norm": x}
        for i, block in enumerate(self.blocks):
            x = stages[f"block {i}"] = block(x)
        return stages | {"CLS": x[:, 0]}


class Block(nn.Module):
    """Post-norm transformer block, tokens (b, n, d) -> (b, n, d).

    The attention computes its softmax in float32, or is PyTorch's fused attention.
    """

    fused = False

    def __init__(self, width: int, heads: int, hidden: int):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, EPS)
        self.norm2 = nn.LayerNorm(width, EPS)
        self.attn = nn.ModuleDict(
            {"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)}
        )
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, hidden), "fc2": nn.Linear(hidden, width)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, n, d = x.shape
        q, k, v = (
            self.attn["qkv"](x).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        )
        if self.fused:
            mixed = functional.scaled_dot_product_attention(q, k, v)
        else:
            scores = (q * q.shape[-1] ** -0.5) @ k.transpose(2, 3)
            mixed = torch.softmax(scores.float(), -1).to(x.dtype) @ v
        x = self.norm1(x + self.attn["proj"](mixed.transpose(1, 2).reshape(b, n, d)))
        return self.norm2(x + self.mlp["fc2"](functional.gelu(self.mlp["fc1"](x))))


def load(path: str | Path) -> EAT:
    """Returns the student of a fairseq `.pt` or of a Hugging Face `model.safetensors` with its
    config, read by torch itself.
    """
    path = Path(path)
    path = path / "model.safetensors" if path.is_dir() else path
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        config = path.with_name("config.json")
        config = config if config.is_file() else path.with_name(path.stem + "_config.json")
        tensors = load_file(path)
        heads = json.loads(config.read_text()).get("num_heads", 12)
    else:
        saved = torch.load(path, weights_only=True, map_location="cpu")
        settings = saved["cfg"]["model"]
        heads = settings.get("pretrained_model_args", {}).get("model", settings)["num_heads"]
        tensors = saved["model"]
    tensors = {_public(name): t.float() for name, t in tensors.items() if name != "_ema"}
    tensors = {
        n: t for n, t in tensors.items() if not n.startswith(("decoder.", "fc_norm.", "head."))
    }
    depth = len({name.split(".")[1] for name in tensors if name.startswith("blocks.")})
    hidden, width = tensors["blocks.0.mlp.fc1.weight"].shape
    model = EAT(width, depth, heads, hidden, tensors["fixed_positional_encoder.positions"].shape[1])
    model.load_state_dict(tensors, strict=True)
    return model.eval()


def _public(name):
    name = name.removeprefix("model.").replace("modality_encoders.IMAGE.", "")
    return name.replace("context_encoder.norm.", "pre_norm.")
