"""Claims about the flags of the watch and of what it records."""

import pytest

from asd_jax.detect import parser
from asd_jax.detector.sample_format import SampleFormat
from asd_jax.detector.watch_settings import WatchSettings
from asd_jax.run import history
from asd_jax.run.watch_flags import ALARMS
from asd_jax.runtime.errors import InputError


def test_flags_have_the_defaults_of_the_library():
    args = parser().parse_args(["watch", "--detector=a", "--input=-"])
    for name in ("confirm", "of", "hold_seconds", "on_delay_seconds", "status_seconds"):
        assert getattr(args, name) == getattr(WatchSettings, name), name
    assert SampleFormat(args.encoding, args.rate, args.channels) == SampleFormat()


@pytest.mark.parametrize("word", ALARMS)
def test_each_subcommand_of_alarms_calls_a_function_that_exists(word):
    assert callable(getattr(history, ALARMS[word][0]))


def test_a_flag_of_another_subcommand_is_bad_input():
    args = parser().parse_args(["alarms", "ack", "--store=a", "3", "--note=greased"])
    assert args.case == 3 and args.by == ""
    with pytest.raises(InputError, match="unrecognized arguments: --hours=2"):
        parser().parse_args(["alarms", "ack", "--store=a", "3", "--hours=2"])
