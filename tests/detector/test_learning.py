"""What a detector knows of its recordings, and what further ones must say."""

import dataclasses

import pytest
from machine_sound import sound

from asd_jax.detector.learning import recording_table
from asd_jax.runtime.errors import InputError

FURTHER = [sound(300 + n) for n in range(2)]


def test_the_table_of_a_detector_names_each_recording_once(plain):
    table = recording_table(plain)
    assert table.names == plain.names and len(set(table.names)) == len(table.names)
    assert set(table.domains) == {"pooled"} and not any(table.trained)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"names": ["a"]}, "names of 1 recordings, but 2 are given"),
        ({"sessions": ["a"] * 3}, "sessions of 3 recordings, but 2 are given"),
    ],
)
def test_what_is_not_said_of_each_further_recording_is_refused(plain, given, message):
    with pytest.raises(InputError, match=message):
        plain.update(FURTHER, **given)


def test_a_detector_of_two_domains_asks_for_the_domain_of_further_recordings(plain):
    domain = plain.bank.windows.domain.copy()
    domain[::2] = "source"
    domain[1::2] = "target"
    windows = dataclasses.replace(plain.bank.windows, domain=domain)
    bank = dataclasses.replace(plain.bank, windows=windows)
    with pytest.raises(InputError, match="say source or target of each recording added"):
        dataclasses.replace(plain, bank=bank).update(FURTHER)
