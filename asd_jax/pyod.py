"""Any encoder of this package as an encoder of PyOD, whose 60 detectors then work on sounds.

    from pyod.models.embedding import EmbeddingOD
    from asd_jax.pyod import SoundEncoder

    detector = EmbeddingOD(encoder=SoundEncoder(), detector="KNN", contamination=0.05).fit(waves)
    detector.decision_function(["today.wav"])  # higher is more anomalous

PyOD is not installed with this package: pip install 'asd_jax[pyod]'.
"""

import functools
from pathlib import Path

import numpy as np
from jaxtyping import Float
from pyod.utils.encoders import BaseEncoder

from asd_jax.data.audio import resample
from asd_jax.data.sounds import Sounds, waveforms
from asd_jax.data.windows import cut_windows
from asd_jax.detector.views import for_machine, in_batches, load_pipeline_or_eat, rate_of, views
from asd_jax.runtime.errors import InputError
from asd_jax.training.weights import BOX, Pipeline, embed


class SoundEncoder(BaseEncoder):
    """Waveforms or file names -> embeddings "n e", the mean over each sound's windows.

    Args:
        weights: the encoder: "box", a weight file or a loaded pipeline; None is the mean over time
            of the log mel filter bank.
        sample_rate: sampling rate of the waveforms in Hz; files are resampled to it.
        window_seconds: length of a window. A shorter sound is repeated to fill it, so give the
            usual length of the sounds if that is below 10 s.
        machine: selects the SimAM mode, if the weights have one per machine.
    """

    def __init__(
        self,
        weights: str | Path | Pipeline | None = BOX,
        *,
        sample_rate: int = 16000,
        window_seconds: float = 10.0,
        machine: str | None = None,
    ):
        self.sample_rate = sample_rate
        self.window_seconds = window_seconds
        if isinstance(weights, str | Path):
            weights = load_pipeline_or_eat(weights)
        self.pipeline = None if weights is None else for_machine(weights, machine)

    def encode(
        self, X: Sounds, batch_size: int = 32, show_progress: bool = False
    ) -> Float[np.ndarray, "n e"]:
        """Returns the embeddings "n e" of n sounds, in float64 as PyOD's detectors expect.

        Args:
            X: waveforms, which may differ in length, or file names.
            batch_size: number of sounds in memory at once.
            show_progress: ignored; the windows are quick.

        Raises:
            InputError: a sound cannot be read, or there is none; it is a ValueError.
        """
        # An array has no truth value of its own, but a length.
        if not len(X):
            raise InputError("no sounds to encode")
        # Sounds are decoded in chunks, so that memory holds `batch_size` of them.
        found = [
            row
            for first in range(0, len(X), batch_size)
            for row in self._encoded(waveforms(X[first : first + batch_size], self.sample_rate))
        ]
        return self._validate_output(np.stack(found), n_samples=len(X))

    def _encoded(self, waves):
        rate = rate_of(self.pipeline)
        samples = round(self.window_seconds * rate)
        # The hop is the length of a window, so windows overlap only at the end of a sound.
        windows = [
            cut_windows(resample(wave, self.sample_rate, rate), samples, samples)[0]
            for wave in waves
        ]
        # All windows of a chunk are embedded together, then split by sound again.
        vectors = self._embedded(np.concatenate(windows))
        ends = np.cumsum([len(of_sound) for of_sound in windows])
        return [part.mean(0) for part in np.split(vectors, ends[:-1])]

    def _embedded(self, windows):
        """Returns one vector "b e" per window; the bands of an encoder follow each other."""
        if self.pipeline is None:
            # The mean over time of the log mel energies.
            return views(None, windows)[0]["level"]
        of = functools.partial(embed, self.pipeline.config, self.pipeline.on_devices)
        return in_batches(of, windows)[0].reshape(len(windows), -1)
