"""Claims 2 and 3: does SimAM help, where, and against trainable attention in the same place?

    python -m benchmarks.simam --config=configs/dcase2024.py \\
        --weights=weights/eat_base.safetensors --output=DIR
    python -m benchmarks.simam --config=configs/base.py:smoke --output=DIR
        synthetic machines, seconds

none, global, local and per machine ("customized", --customized), and of the local mode one
variation at a time: lambda, tile, before the normalisation, padding left out. With --fine_tune also
the trainable rivals: squeeze and excitation, CBAM and spatial attention. foreground.py asks the
same of known signals.
"""

from collections.abc import Sequence

from benchmarks import grid
from benchmarks.grid import Cell

VARIATIONS = {
    "lambda 1e-6": {"simam_lambda": 1e-6},
    "lambda 1e-2": {"simam_lambda": 1e-2},
    "tile 16 x 16": {"simam_tile_frames": 16, "simam_tile_filters": 16},
    "tile 32 x 128": {"simam_tile_frames": 32, "simam_tile_filters": 128},
    "before normalisation": {"simam_before_normalization": True},
    "padding left out": {"simam_ignores_padding": True},
}
RIVALS = ("se", "cbam", "spatial")


def define_flags(argv: Sequence[str]) -> None:
    """The flags of the command."""
    from absl import flags

    grid.define_flags(argv)
    flags.DEFINE_string(
        "customized",
        "",
        'a mode for each machine, "{ToyCar: local, fan: global}", in a row of its own',
    )


def main() -> None:
    """A row per mode and variation; the reference is no attention."""
    from absl import flags

    args = flags.FLAGS
    modes = {"none": "none", "global": "global", "local": "local"}
    modes |= {"customized": args.customized} if args.customized else {}
    cells = [
        Cell(f"{mode}, alone", {"features.simam": value}, bare=True)
        for mode, value in modes.items()
    ]
    cells += [
        Cell(mode, {"features.simam": value}, args.fine_tune) for mode, value in modes.items()
    ]
    for name, keys in VARIATIONS.items():
        settings = {f"features.{key}": value for key, value in keys.items()}
        cells.append(
            Cell(f"local, {name}", {"features.simam": "local", **settings}, args.fine_tune)
        )
    for rival in RIVALS if args.fine_tune else ():
        cells.append(
            Cell(rival, {"features.simam": "none", "model.attention": rival}, fine_tune=True)
        )
    notes = [] if args.fine_tune else ["The trainable rivals need --fine_tune."]
    grid.run_grid("simam", "Does SimAM help?", cells, reference="none", notes=notes)


if __name__ == "__main__":
    from asd_jax.runtime.command import run

    run(main, define_flags)
