"""What evaluate does with embeddings that are there, whoever made them."""

import html

from embedded import results, save

import asd_jax.evaluate


def test_own_recordings_of_one_domain_get_the_columns_that_can_be_told(command, tmp_path):
    save(tmp_path / "e" / "mine.npz", domains=("source",))
    workdir = tmp_path / "run"
    status, out, err = command(
        asd_jax.evaluate, f"--embeddings={tmp_path / 'e'}", f"--workdir={workdir}"
    )
    assert status == 0 and "none (the notes say why)" in " ".join(out.split()), err
    found = results(workdir)
    assert found["official_score"] is None and set(found["arithmetic_mean"]) == {
        "auc_source",
        "pauc",
    }
    assert {"auc_source", "pauc", "f1_source"} <= set(found["machines"]["mine"]["00"])
    assert "auc_target" not in found["machines"]["mine"]["00"]
    assert any(
        "mine section 00: auc_target needs normal and anomalous" in note for note in found["notes"]
    )
    html = (workdir / "report" / "index.html").read_text()
    assert f"{100 * found['machines']['mine']['00']['pauc']:.2f}" in html and "mine 00" in html


def test_machines_of_odd_names_are_shown_by_them_everywhere(command, tmp_path):
    names = ["pump[a]", r"$\foo$", "<b>&"]
    for seed, machine in enumerate(names):
        save(tmp_path / "e" / f"{machine}.npz", seed=seed)
    flags = [f"--embeddings={tmp_path / 'e'}", f"--workdir={tmp_path / 'run'}"]
    status, out, err = command(asd_jax.evaluate, *flags)
    assert status == 0, err
    page = (tmp_path / "run" / "report" / "index.html").read_text()
    for name in names:
        assert sum(line.startswith(f"│ {name} ") for line in out.splitlines()) == 1
        assert html.escape(f"{name} 00") in page
        assert (tmp_path / "run" / "scores" / f"anomaly_score_{name}_section_00_test.csv").exists()
    assert set(results(tmp_path / "run")["machines"]) == set(names)
