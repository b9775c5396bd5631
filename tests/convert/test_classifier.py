import pytest
from public_eat import GOLDEN

from asd_jax.data.factory import write_factory
from convert import classifier
from convert.audioset import probabilities
from convert.eat import write


@pytest.mark.slow
def test_the_classifier_is_a_command(tmp_path, command):
    write_factory(tmp_path / "f", machines=["fan"], clip_seconds=1.0, train_source=1)
    recording = next((tmp_path / "f" / "fan" / "train").glob("*.wav"))
    weights = tmp_path / "eat.safetensors"
    write(GOLDEN / "tiny_eat_finetuned_fairseq.pt", weights, with_head=True)
    classes = len(probabilities(weights, recording))
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
