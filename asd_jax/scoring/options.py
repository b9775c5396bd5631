"""Defines the options of scoring as one dataclass, which configs fill."""

import dataclasses

from asd_jax.runtime.errors import InputError, did_you_mean
from asd_jax.runtime.functions import names_function
from asd_jax.runtime.settings import check_settings, key
from asd_jax.scoring.domain_normalization import DOMAINS, MODES
from asd_jax.scoring.threshold import DECISIONS

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
        "a name of asd_jax/scoring/back_ends/ or package.module:function, several joined by + and "
        "fused, or auto: chosen for each machine from its normal clips",
    )
    distance: str = key(
        "cosine",
        "of the back ends that have one: cosine, euclidean, or unit_euclidean, of vectors (bands) "
        "of length 1",
        choices=("cosine", "euclidean", "unit_euclidean"),
    )
    k: int = key(
        1,
        "neighbours of knn, smote, mem_mixup, band_matching and local_density",
        least=1,
        most=MOST,
    )
    standardize: bool = key(
        False, "each dimension, by mean and deviation of the source training clips"
    )
    whiten: int = key(0, "PCA-whiten to so many components; 0: not", least=0, most=MOST)
    layers: str = key(
        "mean_score", "of embeddings with layers: mean_score, mean_vector or a layer's number"
    )
    windows: str = key(
        "mean", "mean or max, of the scores of a clip's windows", choices=("mean", "max")
    )
    normalization: str = key(
        "train",
        "domain normalisation: train, test (transductive), held_out or none",
        choices=MODES,
    )
    domains: str = key(
        "min",
        "min, over the domains; source, target: one alone; pooled: one bank of both",
        choices=DOMAINS,
    )
    deviation: str = key(
        "own",
        "what each domain's scores are divided by: own standard deviation, or target: the target's",
        choices=("own", "target"),
    )
    fusion: str = key(
        "z_min",
        "of several back ends: z_min, mean, rank or raw_mean",
        choices=("z_min", "mean", "rank", "raw_mean"),
    )
    smote_ratio: float = key(0.2, "target clips per source clip after SMOTE", above=0, most=1)
    smote_k: int = key(2, "neighbours SMOTE interpolates between", least=1, most=MOST)
    density_k: int = key(
        4, "neighbours that give the density in local_density and varmin", least=1, most=MOST
    )
    centres: int = key(16, "of k_means", least=1, most=MOST)
    mixup_k: int = key(
        990, "source clips mixed with each target clip in mem_mixup", least=1, most=MOST
    )
    mixup_weight: float = key(0.9, "of the target clip in mem_mixup", least=0, most=1)
    varmin_log: bool = key(False, "varmin takes logarithms of distance and density")
    varmin_by_band: bool = key(
        True, "varmin finds neighbours and weight in each band, where embeddings keep their bands"
    )
    shrinkage: float = key(0.0, "of mahalanobis' covariance; 0: Ledoit-Wolf", least=0, most=1)
    components: int = key(20, "of pca_residual", least=1, most=MOST)
    mixture: int = key(4, "components of gmm", least=1, most=MOST)
    decision: str = key(
        "gamma",
        "threshold from training scores: gamma, quantile or extreme_value",
        choices=DECISIONS,
    )
    decision_quantile: float = key(0.9, "the DCASE baseline's", above=0, below=1)
    on_device: bool = key(
        False, "knn's distances in float32 on the accelerator, for banks above 1e5 clips"
    )
    seed: int = key(0, "of smote, k_means and gmm", least=0, most=2**32 - 1)

    def __post_init__(self):
        check_settings(self)
        # Names are checked here, so that a mistyped one fails before anything is read.
        for name in self.back_end.split("+") if self.back_end != AUTO else ():
            if name not in BACK_ENDS and not names_function(name):
                raise InputError(
                    f"back_end={name[:40]!r}; known: {', '.join(BACK_ENDS)}, several joined by +, "
                    f"package.module:function, or auto.{did_you_mean(name, (*BACK_ENDS, AUTO))}"
                )
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
