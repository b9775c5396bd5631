"""The completion of the words of asd-jax, asked as the shell asks it."""

import shutil
import subprocess

import pytest

import asd_jax.completion
from asd_jax.completion import script, tree

TYPED = {
    "asd-jax trai": ["train"],
    "asd-jax detect f": ["fit"],
    "asd-jax detect fit --nor": ["--normal="],
    "asd-jax train --config=toy": ["toycar"],  # what follows the "="
    "asd-jax train --config.data.length=w": ["window"],
    "asd-jax pretrain --config.pretraining.vi": ["--config.pretraining.views="],
    "asd-jax evaluate --config.scoring.quan": [],
    "asd-jax evaluate --config.scoring.decision_q": ["--config.scoring.decision_quantile="],
    "asd-jax export --format=s": ["stablehlo"],
    "asd-jax serve --config=": [],  # file names, by the shell
    "asd-jax demo --ov": ["--overwrite"],
}


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory):
    path = tmp_path_factory.mktemp("completion") / "asd-jax"
    path.write_text(script("bash"))
    return path


def test_bash_completes_commands_flags_values_and_config_keys(bash_script):
    asked = [
        f"COMP_LINE='{line}' COMP_POINT={len(line)}; COMPREPLY=(); _asd_jax; echo ${{COMPREPLY[*]}}"
        for line in TYPED
    ]
    ran = subprocess.run(
        ["bash", "-c", "\n".join([f"source {bash_script}", *asked])], capture_output=True, text=True
    )
    assert ran.stdout.splitlines() == [" ".join(words) for words in TYPED.values()]


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_the_script_for_zsh_has_no_errors_of_syntax(tmp_path):
    (tmp_path / "_asd-jax").write_text(script("zsh"))
    assert subprocess.run(["zsh", "-n", tmp_path / "_asd-jax"]).returncode == 0


def test_both_scripts_hold_every_command_and_its_flags():
    for shell in ("bash", "zsh"):
        text = script(shell)
        for words, options in tree().items():
            assert f'"{" ".join(words)} "*) options="{" ".join(options)}"' in text
    assert "--workdir=" in tree()["train",] and "--detector=" in tree()["detect", "watch"]


def test_another_shell_is_bad_input(command):
    status, _, err = command(asd_jax.completion, "fish")
    assert status == 2 and "asd-jax completion bash | zsh" in err
