"""The command submit: its flags are what the zip is made from."""

from pathlib import Path

import asd_jax.submit


def test_every_flag_reaches_the_run(command, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "asd_jax.run.submit.submit",
        lambda workdirs, year, **options: calls.append((workdirs, year, options)),
    )
    flags = ["--workdir=a", "--workdir=b", "--year=2025"]
    assert command(asd_jax.submit, *flags)[0] == 0
    more = {"label": "Me_I", "authors": "a.yaml", "report": "r.pdf", "ground_truth": "g"}
    more |= {"output": "e.zip"}
    assert command(asd_jax.submit, *flags, *(f"--{k}={v}" for k, v in more.items()))[0] == 0
    nothing = dict.fromkeys(more) | {"label": "Lastname_Institute"}
    workdirs = [Path("a"), Path("b")]
    assert calls == [(workdirs, 2025, nothing), (workdirs, 2025, more)]
