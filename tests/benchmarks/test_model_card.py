"""The box's card says of its weights what they are."""

import benchmarks.model_card
from asd_jax.training.weights import BOX_FILE


def test_the_card_in_the_package_is_what_the_command_writes(command, tmp_path):
    card = tmp_path / "README.md"
    card.write_text(benchmarks.model_card.CARD.read_text())
    for _ in range(2):
        status, _, err = command(benchmarks.model_card, f"--card={card}")
        assert status == 0, err
        assert card.read_text() == benchmarks.model_card.CARD.read_text()


def test_the_facts_are_those_of_the_file_given(command, encoder_file, tmp_path):
    card = tmp_path / "card.md"
    card.write_text("# Other\n<!-- facts -->\n<!-- end of facts -->\nby hand\n")
    flags = [f"--card={card}", f"--weights={encoder_file}"]
    status, _, err = command(benchmarks.model_card, *flags)
    text = card.read_text()
    assert status == 0 and "EAT, 1 blocks, 32 wide, 2 heads" in text, err
    assert text.startswith("---\nlicense: apache-2.0\n") and text.endswith("by hand\n")
    assert BOX_FILE.name not in text
    status, _, err = command(benchmarks.model_card, f"--card={tmp_path / 'none'}")
    assert status == 2 and "cannot be read" in err
