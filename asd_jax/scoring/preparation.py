"""What happens to embeddings before any back end sees them: layers, standardisation, PCA whitening,
length.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.knn import unit_or_plain
from asd_jax.scoring.options import Scoring


@dataclasses.dataclass(frozen=True)
class Preparation:
    """What happens to a vector before any back end sees it: "n ..." -> "n p c", p bands, layers, or
    one part.

    A layer is chosen or the layers' vectors are averaged; dimensions are standardised; each part is
    PCA-whitened; for cosine each part is given length 1, so that kNN on the flattened parts is the
    mean of their distances and no loud band outweighs the others.
    """

    layers: str
    mean: np.ndarray | float
    std: np.ndarray | float
    whiten: tuple
    unit_length: bool

    @classmethod
    def fit(
        cls, training: Mapping[str, np.ndarray], scoring: Scoring, axes: tuple[str, ...]
    ) -> "Preparation":
        """Statistics of the source training clips (of all, where there are no source clips)."""
        layers = scoring.layers if "layer" in axes else "mean_score"
        if not (layers in ("mean_score", "mean_vector") or layers.isdigit()):
            raise InputError(
                f"layers {layers!r}: must be mean_score, mean_vector or the number of a layer"
            )
        given = [
            v
            for domain, v in training.items()
            if len(v) and (domain == "source" or not len(training["source"]))
        ]
        self = cls(layers, 0.0, 1.0, (), scoring.distance == "cosine")
        if not given or not (scoring.standardize or scoring.whiten):
            return self
        vectors = self._parts(np.concatenate(given)).astype(np.float64)
        if scoring.standardize:
            mean, std = vectors.mean(0), vectors.std(0)
            # a constant dimension says nothing
            std = np.where(std > 1e-12 * np.abs(vectors).max(), std, 1.0)
            self = dataclasses.replace(self, mean=mean, std=std)
        if scoring.whiten:
            from sklearn.decomposition import PCA

            if (components := min(scoring.whiten, len(vectors) - 1, vectors.shape[2])) < 1:
                raise InputError(
                    f"whiten {scoring.whiten}: needs at least two source training clips"
                )
            vectors = (vectors - self.mean) / self.std
            parts = [
                PCA(components, whiten=True, svd_solver="full").fit(part)
                for part in vectors.swapaxes(0, 1)
            ]
            self = dataclasses.replace(self, whiten=tuple(parts))
        return self

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors "n ..." -> "n p c"."""
        vectors = self._parts(vectors)
        if np.ndim(self.mean):
            vectors = (vectors - self.mean) / self.std
        if self.whiten and len(vectors):
            parts = zip(self.whiten, vectors.swapaxes(0, 1), strict=True)
            vectors = np.stack([pca.transform(part) for pca, part in parts], axis=1)
        return (
            unit_or_plain(vectors, "cosine")
            if self.unit_length and vectors.shape[1] > 1
            else vectors
        )

    def _parts(self, vectors):
        vectors = vectors[:, None] if vectors.ndim == 2 else np.asarray(vectors, np.float64)
        if self.layers == "mean_vector":
            return vectors.mean(1, keepdims=True)
        if self.layers.isdigit():
            if (layer := int(self.layers)) >= vectors.shape[1]:
                raise InputError(
                    f"layers {layer}: the embeddings have layers 0 to {vectors.shape[1] - 1}"
                )
            return vectors[:, layer : layer + 1]
        return vectors
