"""Scores a finished run again, frozen weights without training, or the embeddings of any model.

  python -m asd_jax.evaluate --workdir=RUN [--config.scoring.k=2 ...] [--output=DIR]
  python -m asd_jax.evaluate --config=FILE --weights=FILE.safetensors --workdir=DIR
  python -m asd_jax.evaluate --config=FILE --config.model.encoder=filter_bank --workdir=DIR
  python -m asd_jax.evaluate --embeddings=DIR --workdir=DIR [--year=2024]
  python -m asd_jax.evaluate --embeddings=DIR,DIR --workdir=DIR
      scores several embeddings of the same clips together, e.g. of two microphones
  python -m asd_jax.evaluate --workdir=RUN --all
      compares every back end under every normalisation in one table

--weights=none embeds with random weights, which is the second baseline. The front end is the one
that the weight file's header names; keys of --config.features that are set replace its values, and
--config.frozen.features=config replaces it altogether. The front end that is used is printed. The
run's own config.json applies unless --config is given. A large archive is embedded shard by shard:
repeating the same command continues where it stopped. With --worker, a process only embeds a share
of the shards, on any number of machines that see the workdir; the process without --worker computes
the scores. The keys of the config, with defaults and meanings, are listed by python -m
asd_jax.config
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from asd_jax.config import RunConfig, config_of_file, read_config, with_set_features
from asd_jax.run.workdir import Run
from asd_jax.runtime import processes
from asd_jax.runtime.command import define_process_flags, run, value_of_flag
from asd_jax.runtime.errors import InputError


def define_flags(argv: Sequence[str]) -> None:
    """Defines the command's flags.

    The values of --config come from the given file, else from the run's config.json, else from the
    defaults.
    """
    flags.DEFINE_string("workdir", None, "folder of the run, or for the results", required=True)
    flags.DEFINE_string(
        "weights", None, "frozen mode: weights to embed with, no training; none: random weights"
    )
    flags.DEFINE_string(
        "embeddings",
        None,
        "folder of <machine>.npz files of any model; several, with commas: their mean score",
    )
    flags.DEFINE_string(
        "output", None, "folder for the new results of a run; default: the workdir's are replaced"
    )
    flags.DEFINE_bool("all", False, "compare every back end under every domain normalisation")
    define_process_flags()
    flags.DEFINE_bool("worker", False, "with --config: only embed shards, beside other processes")
    flags.DEFINE_bool(
        "overwrite", False, "with --config: first remove the run that the workdir holds"
    )
    flags.DEFINE_integer(
        "year", None, "DCASE edition whose score rule holds; default: config.data.year"
    )
    # The flags of the config must exist before absl parses the arguments, so argv is read directly.
    if value_of_flag(argv, "config") is not None:
        config_flags.DEFINE_config_file(
            "config", None, "config file; default: the run's own config.json"
        )
        return
    # Without --config the values start as those of the run, so that a flag changes single keys.
    config = config_of_file(Run(value_of_flag(argv, "workdir") or "").config)
    config_flags.DEFINE_config_dict(
        "config", config, "config file; default: the run's own config.json"
    )


def main() -> None:
    """Computes the embeddings or finds existing ones, then scores them."""
    # JAX and the models are imported only now, so that --help and a wrong flag cost nothing.
    from asd_jax.run.score import embed_frozen
    from asd_jax.run.stacked import score_folders

    args = flags.FLAGS
    workdir = Path(args.workdir)
    # Set before the config is read, so that the year is checked like any other key.
    if args.year:
        args.config.data.year = args.year
    config = read_config(RunConfig, args.config)
    # Naming weights or a config asks for new embeddings; otherwise existing ones are scored.
    asked = args.weights or value_of_flag(sys.argv, "config") is not None
    if asked and not (args.all or args.embeddings):
        if args.output:
            raise InputError("--output is for scoring a run again; --workdir takes the new results")
        # Keys of the command line count as set even if their value is the default.
        config = with_set_features(config, config_flags.get_override_values(args["config"]))
        embed_frozen(config, args.weights, workdir, worker=args.worker, overwrite=args.overwrite)
        return
    if given := [name for name in ("weights", "worker", "overwrite") if getattr(args, name)]:
        raise InputError(
            f"--{given[0]} is for embedding, and there is nothing to embed here: give --config "
            "and --weights, without --embeddings or --all"
        )
    # Without embedding there is no work to share, so the first process scores alone.
    if not processes.is_first():
        return
    score_folders(config, args.embeddings, workdir, Path(args.output or workdir), args.all)


if __name__ == "__main__":
    run(main, define_flags)
