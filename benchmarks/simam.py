"""Tests claims 2 and 3: does SimAM help, where, and compared with trainable attention in the same
place?

    python -m benchmarks.simam --config=configs/dcase2024.py \\
        --weights=weights/eat_base.safetensors --output=DIR
    python -m benchmarks.simam --config=configs/base.py:smoke --output=DIR
        synthetic machines, seconds

The modes are none, global, local and per machine ("customized", --customized). The local mode has
one variation at a time: lambda, tile, before the normalisation, and padding left out. --fine_tune
adds the trainable alternatives: squeeze and excitation, CBAM and spatial attention. foreground.py
tests the same claims on known signals.
"""

from collections.abc import Sequence

from absl import flags

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
    """Defines the flags of the command."""
    grid.define_flags(argv)
    flags.DEFINE_string(
        "customized",
        "",
        'a mode for each machine, "{ToyCar: local, fan: global}", in a row of its own',
    )


def main() -> None:
    """Prints and writes a row per mode and variation; the reference is no attention."""
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
