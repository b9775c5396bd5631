import pytest

from asd_jax.data.dcase import EDITIONS, edition
from asd_jax.runtime.errors import InputError


def test_every_year_from_2020_to_2026_is_there():
    assert list(EDITIONS) == list(range(2020, 2027))
    assert all(year == table.year for year, table in EDITIONS.items())


@pytest.mark.parametrize(
    ("year", "dev", "evaluation", "sections"),
    [
        (2020, 6, 6, 23),
        (2021, 7, 7, 21),
        (2022, 7, 7, 21),
        (2023, 7, 7, 7),
        (2024, 7, 9, 7),
        (2025, 7, 8, 7),
        (2026, 7, 5, 7),
    ],
)
def test_machines_and_development_sections_are_as_many_as_published(
    year, dev, evaluation, sections
):
    table = EDITIONS[year]
    assert (len(table.dev), len(table.evaluation)) == (dev, evaluation)
    assert sum(map(len, table.dev.values())) == sections


def test_evaluation_brings_new_sections_until_2022_and_new_machines_after():
    for year, table in EDITIONS.items():
        if year <= 2022:
            assert table.dev.keys() == table.evaluation.keys()
            assert all(not set(table.dev[m]) & set(table.evaluation[m]) for m in table.dev)
        else:
            assert not table.dev.keys() & table.evaluation.keys()


def test_mislabelled_machines_are_machines_of_their_year():
    for table in EDITIONS.values():
        assert set(table.mislabelled) <= table.dev.keys() | table.evaluation.keys()


def test_records_are_all_different():
    records = [record for table in EDITIONS.values() for record in table.records]
    assert len(set(records)) == len(records) == 21


def test_unknown_year_lists_the_known():
    with pytest.raises(InputError, match="of 2019 is known; choose 2020, 2021"):
        edition(2019)
