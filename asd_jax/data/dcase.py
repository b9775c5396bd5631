"""The editions of DCASE Task 2 as data: machines, sections, names, score rule, records, ground
truth.

Read in the challenge's task descriptions, baselines and evaluators. 2020 to 2022 evaluate the same
machine types as they develop on, by other sections (machine IDs in 2020); from 2023 the evaluation
machines are new ones.
"""

import dataclasses
from collections.abc import Sequence

from asd_jax.runtime.errors import InputError

ZENODO = "https://zenodo.org"
_GITHUB = "https://raw.githubusercontent.com"
_LISTS = f"{_GITHUB}/nttcslab/dcase2023_task2_baseline_ae/main/datasets/eval_data_list_"
_EVALUATOR_2022 = f"{_GITHUB}/Kota-Dohi/dcase2022_evaluator/main/ground_truth_attributes"
GROUND_TRUTH_LICENCE = (
    "The ground truth belongs to the organisers of the DCASE Challenge and is for evaluating "
    "results only: never for training or for choosing settings, and not to be passed on (see the "
    "licence in its repository)."
)

# the development machines of 2022 to 2025
_SEVEN = "ToyCar ToyTrain bearing fan gearbox slider valve"


def _machines(table: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """{"00 02": "fan pump"} -> {"fan": ("00", "02"), "pump": ("00", "02")}, ordered by machine."""
    pairs = [
        (machine, tuple(sections.split()))
        for sections, names in table.items()
        for machine in names.split()
    ]
    return dict(sorted(pairs, key=lambda pair: pair[0].lower()))


@dataclasses.dataclass(frozen=True)
class Edition:
    """One year of the challenge.

    Attributes:
        dev: development machines -> their sections.
        evaluation: evaluation machines -> their sections.
        names: "id" (2020), "domain folders" (2021) or "section" (2022 and later): how files and
            folders are named.
        domains: the domains there are.
        score: which official score: "2020", "2021" or "2022" and later.
        records: Zenodo record numbers of development, additional training and evaluation test data.
        ground_truth: addresses of the evaluation labels; empty where none are public.
        mislabelled: machines whose rows in eval_data_list are wrong, so that only attribute files
            count.
        channels: microphones, 2: left is near the machine, right far from it.
    """

    year: int
    dev: dict[str, tuple[str, ...]]
    evaluation: dict[str, tuple[str, ...]]
    names: str
    score: str
    records: tuple[int, int, int]
    ground_truth: tuple[str, ...]
    domains: tuple[str, ...] = ("source", "target")
    mislabelled: tuple[str, ...] = ()
    channels: int = 1


EDITIONS = {
    edition.year: edition
    for edition in (
        Edition(
            year=2020,
            dev=_machines(
                {
                    "00 02 04 06": "fan pump slider valve",
                    "01 02 03 04": "ToyCar",
                    "01 02 03": "ToyConveyor",
                }
            ),
            evaluation=_machines(
                {
                    "01 03 05": "fan pump slider valve",
                    "05 06 07": "ToyCar",
                    "04 05 06": "ToyConveyor",
                }
            ),
            names="id",
            domains=("source",),
            score="2020",
            records=(3678171, 3727685, 3841772),
            ground_truth=(f"{ZENODO}/records/3951620/files/eval_data_list.csv",),
        ),
        Edition(
            year=2021,
            dev=_machines({"00 01 02": "fan gearbox pump slider valve ToyCar ToyTrain"}),
            evaluation=_machines({"03 04 05": "fan gearbox pump slider valve ToyCar ToyTrain"}),
            names="domain folders",
            score="2021",
            records=(4562016, 4660992, 4884786),
            ground_truth=(f"{_LISTS}2021.csv",),
        ),
        Edition(
            year=2022,
            dev=_machines({"00 01 02": _SEVEN}),
            evaluation=_machines({"03 04 05": _SEVEN}),
            names="section",
            score="2022",
            records=(6355122, 6462969, 6586456),
            ground_truth=(
                f"{_LISTS}2022.csv",
                *(
                    f"{_EVALUATOR_2022}/{m}/attributes_0{s}.csv"
                    for m in ("ToyCar", "ToyTrain")
                    for s in (3, 4, 5)
                ),
            ),
            mislabelled=("ToyCar", "ToyTrain"),
        ),
        Edition(
            year=2023,
            dev=_machines({"00": _SEVEN}),
            evaluation=_machines(
                {"00": "bandsaw grinder shaker ToyDrone ToyNscale ToyTank Vacuum"}
            ),
            names="section",
            score="2022",
            records=(7882613, 7830345, 7860847),
            ground_truth=(f"{_LISTS}2023.csv",),
        ),
        Edition(
            year=2024,
            dev=_machines({"00": _SEVEN}),
            evaluation=_machines(
                {
                    "00": "3DPrinter AirCompressor BrushlessMotor HairDryer HoveringDrone "
                    "RoboticArm Scanner "
                    "ToothBrush ToyCircuit"
                }
            ),
            names="section",
            score="2022",
            records=(10902294, 11259435, 11363076),
            ground_truth=(f"{_LISTS}2024.csv",),
        ),
        Edition(
            year=2025,
            dev=_machines({"00": _SEVEN}),
            evaluation=_machines(
                {
                    "00": "AutoTrash BandSealer CoffeeGrinder HomeCamera Polisher ScrewFeeder "
                    "ToyPet ToyRCCar"
                }
            ),
            names="section",
            score="2022",
            records=(15097779, 15392814, 15519362),
            ground_truth=(f"{_LISTS}2025.csv",),
        ),
        Edition(
            year=2026,
            dev=_machines({"00": "ToyCar ToyCarEmu bearingEmu fan gearboxEmu sliderEmu valveEmu"}),
            evaluation=_machines(
                {"00": "BlowerDustCollector Sander SewingMachine ToothBrush ToyDrone"}
            ),
            names="section",
            score="2022",
            records=(19336329, 20151556, 20437238),
            ground_truth=(),
            channels=2,
        ),
    )
}


def edition(year: int) -> Edition:
    """The edition of `year`.

    Raises:
        InputError: there is none.
    """
    if year not in EDITIONS:
        raise InputError(
            f"no edition of DCASE Task 2 of {year} is known; choose {', '.join(map(str, EDITIONS))}"
        )
    return EDITIONS[year]


def check_machines(machines: Sequence[str], year: int) -> None:
    """Raises InputError for a machine of other editions of DCASE; one that no edition has is the
    user's own.
    """
    for machine in machines:
        years = [
            y for y, edition in EDITIONS.items() if machine in {**edition.dev, **edition.evaluation}
        ]
        if years and year not in years:
            raise InputError(
                f"data.year={year}: DCASE {year} had no machine {machine}; it is of "
                f"{', '.join(map(str, years))}. Set --config.data.year to the edition that the "
                "recordings are of, or choose --config.data.machines"
            )
