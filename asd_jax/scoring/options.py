"""The options of scoring, one dataclass that configs fill."""

import dataclasses

from asd_jax.runtime.errors import InputError, near
from asd_jax.scoring.domain_normalization import DOMAINS, MODES
from asd_jax.scoring.threshold import DECISIONS

BACK_ENDS = (  # asd_jax/scoring/back_ends/chosen.py says what they are
    "knn",
    "smote",
    "mem_mixup",
    "k_means",
    "local_density",
    "mahalanobis",
    "pca_residual",
    "gmm",
    "band_matching",
)
_KNOWN = {
    "distance": ("cosine", "euclidean"),
    "windows": ("mean", "max"),
    "normalization": MODES,
    "domains": DOMAINS,
    "fusion": ("z_min", "mean", "rank", "raw_mean"),
    "decision": DECISIONS,
}


@dataclasses.dataclass(frozen=True)
class Scoring:
    """How embeddings become scores; the keys of `config.scoring`."""

    back_end: str = "knn"  # one of BACK_ENDS, or several joined by "+" and fused
    distance: str = "cosine"  # of the back ends that have one: cosine | euclidean
    k: int = 1  # neighbours of knn, smote, mem_mixup, band_matching
    standardize: bool = False  # each dimension by mean and std of the source training clips
    whiten: int = 0  # PCA-whiten to so many components (source training clips); 0: not
    # of embeddings with layers: mean_score (of z-scores) | mean_vector | a layer's number
    layers: str = "mean_score"
    windows: str = "mean"  # of the scores of a clip's windows: mean | max
    normalization: str = "train"  # domain normalisation: train | test | held_out | none
    # min over the domains | source | target | pooled: one bank of both domains
    domains: str = "min"
    fusion: str = "z_min"  # of several back ends: z_min | mean | rank | raw_mean
    smote_ratio: float = 0.2  # target clips per source clip after SMOTE
    smote_k: int = 2  # neighbours SMOTE interpolates between
    density_k: int = 4  # neighbours that tell the density in local_density, 4 to 16
    centres: int = 16  # of k_means
    mixup_k: int = 990  # source clips mixed with each target clip in mem_mixup
    mixup_weight: float = 0.9  # of the target clip in mem_mixup
    shrinkage: float = 0.0  # of mahalanobis' covariance; 0: Ledoit-Wolf
    components: int = 20  # of pca_residual
    mixture: int = 4  # components of gmm
    decision: str = "gamma"  # threshold: gamma | quantile | extreme_value
    decision_quantile: float = 0.9  # the DCASE baseline's
    on_device: bool = False  # search banks of 100,000 float32 clips and more by JAX on its device
    seed: int = 0  # of smote, k_means and gmm

    def __post_init__(self):
        for name, known in _KNOWN.items():
            if (value := getattr(self, name)) not in known:
                raise InputError(
                    f"scoring.{name}={value!r}; known: {', '.join(known)}.{near(value, known)}"
                )
        for name in self.back_end.split("+"):
            if name not in BACK_ENDS:
                known = ", ".join(BACK_ENDS)
                raise InputError(
                    f"scoring.back_end={name!r}; known: {known}, or several joined by "
                    f"+.{near(name, BACK_ENDS)}"
                )
        for name in ("k", "smote_k", "density_k", "centres", "mixup_k", "components", "mixture"):
            if getattr(self, name) < 1:
                raise InputError(f"scoring.{name}={getattr(self, name)} must be at least 1")
        if not 0 < self.decision_quantile < 1:
            raise InputError(
                f"scoring.decision_quantile={self.decision_quantile} must lie between 0 and 1"
            )
        for name in ("mixup_weight", "shrinkage"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"scoring.{name}={getattr(self, name)} must lie in 0..1")
        if self.whiten < 0 or not 0 < self.smote_ratio <= 1 or self.seed < 0:
            raise InputError(
                "scoring.whiten and scoring.seed must be at least 0, scoring.smote_ratio in (0, 1]"
            )
        if not (self.layers in ("mean_score", "mean_vector") or self.layers.isdigit()):
            raise InputError(
                f"scoring.layers={self.layers!r}; known: mean_score, mean_vector, or a layer's "
                f"number"
            )


DEFAULT = Scoring()
