"""Anomalous sound detection in JAX.

    waveform -> log filter bank -> SimAM -> EAT -> pooling -> embedding
        asd_jax.features, asd_jax.models
    embedding -> back end -> domain normalisation -> anomaly score          asd_jax.scoring
    anomaly scores of all machines -> official DCASE score

    from asd_jax import load_pipeline
    embeddings = load_pipeline("runs/quickstart/weights.safetensors").embed(waves)

    from asd_jax import Detector
    detector = Detector.fit(normal_waves, sample_rate=16000)
    detector.score(wave), detector.is_anomaly(wave)

The command-line tools are listed by asd-jax, or python -m asd_jax.
"""

import importlib
from pathlib import Path

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


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'asd_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
