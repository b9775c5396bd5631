"""Claims about network streams of every kind that stall, break off and come back."""

import threading

import numpy as np
import pytest
from machine_sound import RATE
from watch_service import Radio, until

from asd_jax.service import streams
from asd_jax.service.configuration import Machine
from asd_jax.service.sources import Sound, listen


@pytest.mark.slow
@pytest.mark.parametrize("form", ["wav", "mp3", "ogg", "rtsp"])
def test_a_stream_that_stalls_and_breaks_off_is_opened_again_and_heard_as_it_was_sent(form):
    radio, stop, taken = Radio(form), threading.Event(), []
    radio.fault = 0.3

    def heard():
        return sum(len(item.wave) for item in taken if isinstance(item, Sound))

    def events():
        return [item.event for item in taken if not isinstance(item, Sound)]

    machine = Machine(name="pump", detector="d", source=radio.address)
    read = streams.stream(machine, stalled=1.0)
    options = {"first_wait": 0.1}
    thread = threading.Thread(target=listen, args=(read, taken.append, stop), kwargs=options)
    thread.start()
    try:
        until(lambda: heard() > 2 * RATE, 20)
        wave = np.concatenate([item.wave for item in taken])[-RATE:]
        assert taken[-1].rate in (RATE, 48000)  # Opus is always decoded to 48 kHz
        hz = np.fft.rfftfreq(len(wave), 1 / taken[-1].rate)
        assert abs(hz[np.abs(np.fft.rfft(wave)).argmax()] - 3150) < 5
        assert 0.25 < np.sqrt(2) * wave.std() < 0.35  # the amplitude of the whistle
        radio.stalled = True
        until(lambda: events() == ["source_lost"], 5)
        radio.stalled = False
        until(lambda: events() == ["source_lost", "source_back"], 10)
        radio.refusing = True
        until(lambda: events()[2:] == ["source_lost"], 5)
        radio.refusing = False
        until(lambda: events()[2:] == ["source_lost", "source_back"], 10)
    finally:
        stop.set()
        radio.end()
        thread.join(5)
    assert not thread.is_alive()
