import numpy as np
import pytest
from public_eat import GOLDEN, forward

from asd_jax.training.weights import load_encoder
from convert.audioset import audioset_logits, load_classifier
from convert.eat import write

LOGITS = 2e-6  # measured 9.5e-7; the other eps would move them by more than 1e-3


@pytest.mark.parametrize("layout, suffix", [("fairseq", ".pt"), ("hf", ".safetensors")])
@pytest.mark.parametrize("length", ["x1024", "x512", "x208", "x100"])
def test_classifier_agrees_with_its_layouts_own_eps(blocks, tmp_path, layout, suffix, length):
    write(
        GOLDEN / f"tiny_eat_finetuned_{layout}{suffix}", tmp_path / "w.safetensors", with_head=True
    )
    config, params = load_encoder(tmp_path / "w.safetensors")
    tokens, _ = forward(config, params, blocks[length])
    head, eps = load_classifier(tmp_path / "w.safetensors")
    assert eps == (1e-6 if layout == "fairseq" else 1e-5)
    logits = audioset_logits(head, tokens, eps)
    np.testing.assert_allclose(logits, blocks[f"logits_{layout}_{length}"], rtol=0, atol=LOGITS)
