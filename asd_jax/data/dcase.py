"""Describes the editions of DCASE Task 2 as data: machines, sections, naming, score rule, records
and ground truth.

The data come from the challenge's task descriptions, baselines and evaluators. The editions of 2020
to 2022 evaluate the machine types of the development set on other sections (machine IDs in 2020);
from 2023 on, the evaluation machines are new.
"""

import dataclasses
from collections.abc import Sequence

from asd_jax.runtime.errors import InputError

ZENODO = "https://zenodo.org"
_GITHUB = "https://raw.githubusercontent.com"
_LISTS = f"{_GITHUB}/nttcslab/dcase2023_task2_baseline_ae/main/datasets/eval_data_list_"
_EVALUATOR_2022 = f"{_GITHUB}/Kota-Dohi/dcase2022_evaluator/main"
GROUND_TRUTH_LICENCE = (
    "The ground truth belongs to the organisers of the DCASE Challenge and is for evaluating "
    "results only: never for training or for choosing settings, and not to be passed on (see the "
    "licence in its repository)."
)

# The development machines of 2022 to 2025.
_SEVEN = "ToyCar ToyTrain bearing fan gearbox slider valve"


def _machines(table: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """Returns {"fan": ("00", "02"), "pump": ("00", "02")} for {"00 02": "fan pump"}, ordered by
    machine.
    """
    pairs = [
        (machine, tuple(sections.split()))
        for sections, names in table.items()
        for machine in names.split()
    ]
    # The order of every table and of the downloads.
    return dict(sorted(pairs, key=lambda pair: pair[0].lower()))


@dataclasses.dataclass(frozen=True)
class Edition:
    """One year of the challenge.

    Attributes:
        year: The year.
        dev: Development machines and their sections.
        evaluation: Evaluation machines and their sections.
        names: How files and folders are named: "id" (2020), "domain folders" (2021) or "section"
            (2022 and later).
        domains: The domains of the edition.
        score: The official score: "2020", "2021" or "2022" (2022 and later).
        records: Zenodo record numbers of the development, additional training and evaluation test
            data.
        ground_truth: URLs of the evaluation labels; empty if none are public.
        mislabelled: Machines whose rows in eval_data_list are wrong, so that only the evaluator's
            ground_truth_data/ and ground_truth_domain/ are used.
        channels: Number of microphones. With 2, the left is near the machine and the right far from
            it.
        clips: Number of test clips in each section of the evaluation set; 0 if sections differ or
            their lists are not public.
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
    clips: int = 0

    @property
    def evaluation_files(self) -> dict[str, list[tuple[str, str]]]:
        """{evaluation machine: (section, domain) of each score file of a submission}."""
        # Only 2021 splits a section's scores into one file per domain.
        domains = self.domains if self.names == "domain folders" else ("",)
        return {
            machine: [(section, domain) for section in sections for domain in domains]
            for machine, sections in self.evaluation.items()
        }


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
                # The domains come first: labels without domains would be unreadable.
                *(
                    f"{_EVALUATOR_2022}/ground_truth_{kind}/ground_truth_{m}_section_0{s}_test.csv"
                    for kind in ("domain", "data")
                    for m in ("ToyCar", "ToyTrain")
                    for s in (3, 4, 5)
                ),
            ),
            mislabelled=("ToyCar", "ToyTrain"),
            clips=200,
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
            clips=200,
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
            clips=200,
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
            clips=200,
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
    """Returns the edition of `year`.

    Raises:
        InputError: There is no edition of that year.
    """
    if year not in EDITIONS:
        raise InputError(
            f"no edition of DCASE Task 2 of {year} is known; choose {', '.join(map(str, EDITIONS))}"
        )
    return EDITIONS[year]


def set_of(machine: str, section: str, year: int) -> str:
    """Returns "dev" or "evaluation", the set of a section in an edition, or "" if it is in none."""
    of = edition(year)
    sets = {"dev": of.dev, "evaluation": of.evaluation}
    return next((name for name, of_it in sets.items() if section in of_it.get(machine, ())), "")


def check_machines(machines: Sequence[str], year: int) -> None:
    """Raises InputError for a machine that belongs only to other editions of DCASE.

    A machine that is in no edition is assumed to be the user's own.
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
