"""Prepares embeddings for the back ends: layers, standardisation, PCA whitening, unit length."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from asd_jax.runtime.errors import InputError
from asd_jax.scoring.back_ends.knn import unit_or_plain
from asd_jax.scoring.options import Scoring


@dataclasses.dataclass(frozen=True)
class Preparation:
    """Transforms vectors "n ..." to "n p c", where p counts bands, layers or a single part.

    A layer is chosen, or the vectors of the layers are averaged. Dimensions are standardised, and
    each part is PCA-whitened. For the cosine distance each part is scaled to length 1, so that kNN
    on the flattened parts uses the mean of their distances and no loud band outweighs the others.
    For unit_euclidean a single part is scaled too, because back ends then use plain distances.
    """

    layers: str
    mean: np.ndarray | float
    std: np.ndarray | float
    whiten: tuple
    unit_length: bool
    unit_single: bool = False

    @classmethod
    def fit(
        cls, training: Mapping[str, np.ndarray], scoring: Scoring, axes: tuple[str, ...]
    ) -> "Preparation":
        """Returns a preparation with the statistics of the source training clips.

        If there are no source clips, the statistics are those of all training clips.

        Raises:
            InputError: There are too few clips to whiten.
        """
        # Bands are all used, so the choice of a layer concerns embeddings with layers alone.
        layers = scoring.layers if "layer" in axes else "mean_score"
        # The statistics of the source clips hold for both domains: target clips are too few.
        given = [
            v
            for domain, v in training.items()
            if len(v) and (domain == "source" or not len(training["source"]))
        ]
        unit_euclidean = scoring.distance == "unit_euclidean"
        unit_length = unit_euclidean or scoring.distance == "cosine"
        self = cls(
            layers=layers,
            mean=0.0,
            std=1.0,
            whiten=(),
            unit_length=unit_length,
            unit_single=unit_euclidean,
        )
        if not given or not (scoring.standardize or scoring.whiten):
            return self
        vectors = self._parts(np.concatenate(given)).astype(np.float64)
        if scoring.standardize:
            mean = vectors.mean(0)
            std = vectors.std(0)
            # A constant dimension carries no information; dividing by 1 avoids a division by 0.
            std = np.where(std > 1e-12 * np.abs(vectors).max(), std, 1.0)
            self = dataclasses.replace(self, mean=mean, std=std)
        if scoring.whiten:
            # scikit-learn takes more than half a second to import, and few runs whiten.
            from sklearn.decomposition import PCA

            # Centred vectors span one dimension fewer than there are clips.
            if (components := min(scoring.whiten, len(vectors) - 1, vectors.shape[2])) < 1:
                raise InputError(
                    f"whiten {scoring.whiten}: needs at least two source training clips"
                )
            vectors = (vectors - self.mean) / self.std
            parts = [
                # The full solver draws nothing at random, so the result depends on the clips alone.
                PCA(components, whiten=True, svd_solver="full").fit(part)
                for part in vectors.swapaxes(0, 1)
            ]
            self = dataclasses.replace(self, whiten=tuple(parts))
        return self

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Returns the prepared vectors "n p c" of vectors "n ..."."""
        vectors = self._parts(vectors)
        # Without standardising, the mean is the number 0 and the vectors need no copy.
        if np.ndim(self.mean):
            vectors = (vectors - self.mean) / self.std
        if self.whiten:
            parts = zip(self.whiten, vectors.swapaxes(0, 1), strict=True)
            vectors = np.stack([_whitened(part, pca) for pca, part in parts], axis=1)
        # A single part is not scaled here: back ends with a cosine distance scale it themselves.
        return (
            unit_or_plain(vectors, "cosine")
            if self.unit_single or (self.unit_length and vectors.shape[1] > 1)
            else vectors
        )

    def _parts(self, vectors):
        # A single part stays float32, in which knn searches large banks without a copy.
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


def _whitened(part, pca):
    # scikit-learn refuses to transform no vectors, which then have the new width too.
    return pca.transform(part) if len(part) else part[:, : pca.n_components_]
