"""The command serve: what it needs, and what it says without."""

import asd_jax.serve


def test_libraries_that_are_missing_are_named_with_the_extra_that_has_them(command, monkeypatch):
    monkeypatch.setattr(asd_jax.serve, "_found", lambda name: name not in ("av", "uvicorn"))
    status, _, err = command(asd_jax.serve, "--config=machines.toml")
    assert status == 2
    assert err == "error: serve needs av, uvicorn: pip install 'asd_jax[service]'\n"


def test_a_library_below_one_that_is_missing_is_missing(command):
    assert asd_jax.serve._found("xml.etree") and not asd_jax.serve._found("xml.nowhere")
    assert not asd_jax.serve._found("nowhere.mqtt")


def test_a_configuration_that_is_not_there_is_named(command, tmp_path):
    path = tmp_path / "machines.toml"
    status, _, err = command(asd_jax.serve, f"--config={path}", "--check")
    assert status == 2 and err.startswith(f"error: {path}: ") and err.count("\n") == 1
