"""Anomalous sound detection in JAX: learn healthy sounds, then say which sounds are not.

    waveform -> log filter bank -> SimAM -> EAT -> pooling -> embedding
        asd_jax.features, asd_jax.models
    embedding -> back end -> domain normalisation -> anomaly score          asd_jax.scoring
    anomaly scores of all machines -> official DCASE score

One machine, from recordings of it in good health:

    from asd_jax import Detector
    detector = Detector.fit(normal_waves, sample_rate=16000)
    detector.score(wave), detector.is_anomaly(wave)

Embeddings of waveforms by a trained encoder:

    from asd_jax import load_pipeline
    embeddings = load_pipeline("runs/quickstart/weights.safetensors").embed(waves)

The same in other libraries: asd_jax.sklearn.SoundAnomalyDetector, asd_jax.pyod.SoundEncoder.

Public names:

    Detector                      one healthy machine: fit, score, explain, save, load
    log_filter_bank, normalize    waveform -> log energies -> what EAT takes
    simam, simam_weights          parameter-free attention on a spectrogram
    EAT, EATConfig                the encoder and its sizes
    load_encoder, load_pipeline   weight files: EAT alone, or waveform to embedding

The command-line tools are listed by asd-jax, or python -m asd_jax.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

# Editors and type checkers read these; a program imports each name on first use (see below).
if TYPE_CHECKING:
    from asd_jax.detector.detector import Detector as Detector
    from asd_jax.features.filter_bank import log_filter_bank as log_filter_bank
    from asd_jax.features.filter_bank import normalize as normalize
    from asd_jax.features.simam import simam as simam
    from asd_jax.features.simam import simam_weights as simam_weights
    from asd_jax.models.eat import EAT as EAT
    from asd_jax.models.eat import EATConfig as EATConfig
    from asd_jax.training.weights import load_encoder as load_encoder
    from asd_jax.training.weights import load_pipeline as load_pipeline

__version__ = "0.1.0"  # the only place; pyproject.toml reads it

# Modules that were renamed can still be imported under their former names.
__path__.append(str(Path(__file__).parent / "former"))

# The names are imported on first use, so that `import asd_jax` is fast.
_HOME = {
    "Detector": "asd_jax.detector.detector",
    "log_filter_bank": "asd_jax.features.filter_bank",
    "normalize": "asd_jax.features.filter_bank",
    "simam": "asd_jax.features.simam",
    "simam_weights": "asd_jax.features.simam",
    "EAT": "asd_jax.models.eat",
    "EATConfig": "asd_jax.models.eat",
    "load_encoder": "asd_jax.training.weights",
    "load_pipeline": "asd_jax.training.weights",
}
__all__ = sorted(_HOME)


# Python calls this for a name that the module does not define (PEP 562).
def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'asd_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


# Completion in a shell or a notebook lists the names that are not imported yet, too.
def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
