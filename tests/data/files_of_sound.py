"""The samples and chunks of the files that tests write."""

import numpy as np

from benchmarks.odd_recordings import (
    PCM_16,
    chunk,
    noise,
)

SOUND = noise(np.random.default_rng(0), 30000, 30001)
OTHER = noise(np.random.default_rng(1), 9000, 9001)
FORM = chunk(b"fmt ", PCM_16)
DATA = chunk(b"data", SOUND.tobytes())
