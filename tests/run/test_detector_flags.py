"""Claims about the flags of the commands that make and use a detector."""

import argparse
import importlib

import pytest

from asd_jax.detect import COMMANDS, parser
from asd_jax.detector.settings import Settings
from asd_jax.run.detector_flags import whole_number
from asd_jax.runtime.errors import InputError


@pytest.mark.parametrize("word", COMMANDS)
def test_each_subcommand_calls_a_function_that_exists(word):
    _, module, function = COMMANDS[word]
    assert callable(getattr(importlib.import_module(f"asd_jax.run.{module}"), function))


def test_the_rate_of_false_alarms_is_by_default_that_of_the_library():
    args = parser().parse_args(["fit", "--normal=a", "--output=b"])
    assert args.false_alarm_rate == Settings.false_alarm_rate
    assert args.weights == "box" and not args.fine_tune and args.channel == "mean"


def test_a_count_is_a_whole_number_from_0_on():
    assert whole_number("0") == 0 and whole_number("12") == 12
    for text in ("-1", "1.5", "many", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="no whole number from 0 on"):
            whole_number(text)
    with pytest.raises(InputError, match="'-1' is no whole number from 0 on"):
        parser().parse_args(["fit", "--normal=a", "--output=b", "--coreset=-1"])
