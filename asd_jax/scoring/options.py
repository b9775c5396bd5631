"""Defines the options of scoring as one dataclass, which configs fill."""

import dataclasses

from asd_jax.runtime.errors import InputError, did_you_mean
from asd_jax.runtime.functions import names_function
from asd_jax.runtime.settings import check_settings, key
from asd_jax.scoring.back_ends.fusion import FUSIONS
from asd_jax.scoring.domain_normalization import DOMAINS, MODES
from asd_jax.scoring.threshold import DECISIONS

# Repeated here, because chosen.py imports this module and could not be imported by it.
BACK_ENDS = (  # defined in asd_jax/scoring/back_ends/chosen.py
    "knn",
    "smote",
    "mem_mixup",
    "k_means",
    "local_density",
    "mahalanobis",
    "pca_residual",
    "gmm",
    "band_matching",
    "varmin",
)
AUTO = "auto"  # chosen for each machine by asd_jax/scoring/automatic.py
LATER = ("deviation", "varmin_log", "varmin_by_band")  # see Scoring.recorded
MOST = 1_000_000  # upper limit of the number of neighbours, components, ...


@dataclasses.dataclass(frozen=True)
class Scoring:
    """How embeddings become scores: the keys of `config.scoring`."""

    back_end: str = key(
        "knn",
        "name of a back end (asd_jax/scoring/back_ends/) or package.module:function; several "
        "joined by + are fused; auto: chosen for each machine from its normal clips",
    )
    distance: str = key(
        "cosine",
        "distance of the back ends that have one: cosine, euclidean, or unit_euclidean "
        "(between vectors of length 1)",
        choices=("cosine", "euclidean", "unit_euclidean"),
    )
    k: int = key(
        1,
        "neighbours of knn, smote, mem_mixup, band_matching and local_density",
        least=1,
        most=MOST,
    )
    standardize: bool = key(
        False, "whether each dimension is standardised by the source training clips"
    )
    whiten: int = key(
        0,
        "number of components to which PCA whitens the embeddings; 0: no whitening",
        least=0,
        most=MOST,
    )
    layers: str = key(
        "mean_score",
        "how embeddings with layers are used: mean_score, mean_vector, or the number of a layer",
    )
    windows: str = key(
        "mean",
        "how the scores of a clip's windows become one: mean or max",
        choices=("mean", "max"),
    )
    normalization: str = key(
        "train",
        "domain normalisation: train, test (transductive), held_out or none",
        choices=MODES,
    )
    domains: str = key(
        "min",
        "min: the smaller score of the two domains; source or target: that domain alone; "
        "pooled: one bank of both",
        choices=DOMAINS,
    )
    deviation: str = key(
        "own",
        "standard deviation that divides the scores of a domain: own, or target: that of the "
        "target domain for both",
        choices=("own", "target"),
    )
    fusion: str = key(
        "z_min",
        "how several back ends become one score: z_min, mean, rank or raw_mean",
        choices=FUSIONS,
    )
    smote_ratio: float = key(0.2, "target clips per source clip after SMOTE", above=0, most=1)
    smote_k: int = key(2, "neighbours between which smote interpolates", least=1, most=MOST)
    density_k: int = key(
        4, "neighbours that give the density in local_density and varmin", least=1, most=MOST
    )
    centres: int = key(16, "number of centres of k_means", least=1, most=MOST)
    mixup_k: int = key(
        990, "source clips mixed with each target clip in mem_mixup", least=1, most=MOST
    )
    mixup_weight: float = key(0.9, "weight of the target clip in mem_mixup", least=0, most=1)
    varmin_log: bool = key(False, "whether varmin takes logarithms of distance and density")
    varmin_by_band: bool = key(
        True,
        "whether varmin finds neighbours and weight in each band, if embeddings keep their bands",
    )
    shrinkage: float = key(
        0.0, "shrinkage of the covariance of mahalanobis; 0: Ledoit-Wolf's", least=0, most=1
    )
    components: int = key(20, "number of components of pca_residual", least=1, most=MOST)
    mixture: int = key(4, "number of components of gmm", least=1, most=MOST)
    decision: str = key(
        "gamma",
        "how the threshold comes from the training scores: gamma, quantile or extreme_value",
        choices=DECISIONS,
    )
    decision_quantile: float = key(
        0.9, "quantile of the training scores; 0.9 is that of DCASE's baseline", above=0, below=1
    )
    on_device: bool = key(
        False,
        "whether knn computes its distances in float32 on the accelerator, for banks above "
        "1e5 clips",
    )
    # 2^32 - 1 is the largest seed that scikit-learn takes.
    seed: int = key(0, "seed of smote, k_means and gmm", least=0, most=2**32 - 1)

    def __post_init__(self):
        check_settings(self)
        # Names are checked here, so that a mistyped one fails before anything is read.
        for name in self.back_end.split("+") if self.back_end != AUTO else ():
            if name not in BACK_ENDS and not names_function(name):
                raise InputError(
                    f"back_end={name[:40]!r}; known: {', '.join(BACK_ENDS)}, several joined by +, "
                    f"package.module:function, or auto.{did_you_mean(name, (*BACK_ENDS, AUTO))}"
                )
        # No model has a thousand layers, and int() refuses numbers of thousands of digits.
        number = self.layers.isdecimal() and len(self.layers) <= 3
        if not (number or self.layers in ("mean_score", "mean_vector")):
            raise InputError(
                f"layers={self.layers[:40]!r}; known: mean_score, mean_vector, or a layer's number"
            )

    @property
    def metric(self) -> str:
        """The distance between prepared vectors, which unit_euclidean scales beforehand."""
        return "euclidean" if self.distance == "unit_euclidean" else self.distance

    def recorded(self) -> dict:
        """Returns the options as files record them.

        Options that came later are left out while they have their default, so that the same run
        writes the same bytes as before they came.
        """
        values = dataclasses.asdict(self)
        default = dataclasses.asdict(DEFAULT)
        later = [name for name in LATER if values[name] == default[name]]
        return {name: value for name, value in values.items() if name not in later}


DEFAULT = Scoring()
