"""The command compare: its flags are what the table is made from."""

from pathlib import Path

import asd_jax.compare


def test_runs_are_separated_by_commas_and_the_table_is_optional(command, monkeypatch):
    calls = []
    monkeypatch.setattr("asd_jax.run.compare.compare_runs", lambda *of: calls.append(of))
    assert command(asd_jax.compare, "--runs=a,b/c")[0] == 0
    assert command(asd_jax.compare, "--runs=a", "--csv=t.csv")[0] == 0
    assert calls == [([Path("a"), Path("b/c")], None), ([Path("a")], Path("t.csv"))]
    status, _, err = command(asd_jax.compare)
    said = "error: --runs=... is needed: folders of runs, or with runs below them"
    assert status == 2 and err.startswith(said) and len(calls) == 2
