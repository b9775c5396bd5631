import numpy as np
import pytest
from public_eat import GOLDEN, forward

from asd_jax.training.weights import load_encoder
from convert import classifier
from convert.classifier import audioset_logits, load_classifier
from convert.eat import write


@pytest.mark.slow
def test_the_classifier_is_a_command(tmp_path, command):
    from asd_jax.data.factory import write_factory

    write_factory(tmp_path / "f", machines=["fan"], clip_seconds=1.0, train_source=1)
    recording = next((tmp_path / "f" / "fan" / "train").glob("*.wav"))
    weights = tmp_path / "eat.safetensors"
    write(GOLDEN / "tiny_eat_finetuned_fairseq.pt", weights, with_head=True)
    classes = len(classifier.probabilities(weights, recording))
    (tmp_path / "labels.csv").write_text(
        "index,mid,display_name\n" + "".join(f"{n},/m/{n},class {n}\n" for n in range(classes))
    )
    flags = f"--weights={weights}", f"--recording={recording}", f"--labels={tmp_path}/labels.csv"
    status, out, err = command(classifier, *flags, "--top=3")
    assert status == 0, err
    rows = [line.split(maxsplit=2) for line in out.splitlines()]
    assert len(rows) == 3 and all(row[2] == f"class {row[0]}" for row in rows)
    shares = [float(row[1]) for row in rows]
    assert shares == sorted(shares, reverse=True)


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
