"""Checks before a run what data.channel=cancelled or guarded would take from each machine.

The far microphone records the machine too. Where the machine is louder than the room, the filter
that should remove the room removes the machine, and a fault with it.
"""

from collections.abc import Sequence

import numpy as np

from asd_jax.config import Recordings
from asd_jax.data.audio import read_clip
from asd_jax.data.clips import Clip
from asd_jax.data.two_microphones import cancelling
from asd_jax.features.front_end import FrontEnd
from asd_jax.runtime.errors import InputError
from asd_jax.runtime.log import print_line

CHECKED = 4  # training clips of each machine
# Two recordings of one room by separate microphones agree less than this.
SAME_SOUND = 0.98
# On the factory, clips with less than this share kept 95 % of a fault's energy or more, and clips
# with twice this share 61 % (docs/two-microphones.md).
MACHINE_SHARE = 0.1


def check_cancelling(data: Recordings, clips: Sequence[Clip]) -> None:
    """Prints what cancelling removes from each machine's near channel, with a warning if needed.

    Raises:
        InputError: both channels of a machine are the same sound, so that nothing would be left;
            or a clip cannot be read.
    """
    for machine in sorted({clip.machine for clip in clips}):
        train = [clip for clip in clips if clip.machine == machine and clip.split == "train"]
        # Spread over all training clips; reading every one would take minutes.
        chosen = [train[n] for n in np.linspace(0, len(train) - 1, CHECKED).astype(int)]
        # With fewer than four clips, some are chosen more than once.
        found = [cancelling(*_channels(data, clip.path)) for clip in dict.fromkeys(chosen)]
        removed = float(np.mean([one.removed for one in found]))
        of_machine = float(np.mean([one.of_machine for one in found]))
        if removed > SAME_SOUND:
            raise InputError(
                f"data.channel={data.channel}: the two channels of {machine} are the same sound, "
                "so that nothing would be left of it; use --config.data.channel=near"
            )
        if data.channel == "guarded":
            # That share stays.
            removed -= of_machine
        message = (
            f"{machine}: cancelling removes {100 * removed:.0f} % of the near channel's energy"
        )
        if data.channel == "cancelled" and of_machine > MACHINE_SHARE:
            message = (
                f"WARNING: {message}, {100 * of_machine:.0f} % at frequencies that are louder near "
                "than far: the machine itself, and faults with it; --config.data.channel=guarded "
                "keeps them"
            )
        print_line(message)


def _channels(data: Recordings, path: str) -> list[np.ndarray]:
    return [
        read_clip(path, sample_rate=FrontEnd.sample_rate, channel=channel, resampler=data.resampler)
        for channel in ("near", "far")
    ]
