from embedded import PLAIN, results, save

import asd_jax.evaluate
from asd_jax.scoring.embeddings import Embeddings


def test_several_embeddings_of_the_same_clips_are_scored_together(command, folder, tmp_path):
    for seed, machine in enumerate(("fan", "pump")):
        save(tmp_path / "far" / f"{machine}.npz", seed=seed + 9)
    both = f"--embeddings={folder},{tmp_path / 'far'}"
    status, _, err = command(asd_jax.evaluate, both, f"--workdir={tmp_path / 'run'}", PLAIN)
    assert status == 0, err
    joined = Embeddings.load(tmp_path / "run" / "embeddings" / "fan.npz")
    assert joined.vectors.shape == (48, 2, 4)
    assert set(results(tmp_path / "run")["machines"]) == {"fan", "pump"}
    (tmp_path / "far" / "pump.npz").unlink()
    status, _, err = command(asd_jax.evaluate, both, f"--workdir={tmp_path / 'other'}", PLAIN)
    assert status == 2 and "only one has pump" in err
