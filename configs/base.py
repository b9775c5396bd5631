"""Every key with its default; the other configs change a few. Any key can be set on the command line:
--config.optimizer.learning_rate=1e-4
"""

from ml_collections import ConfigDict


def get_config(mode: str = "") -> ConfigDict:
    """The paper's choices, and ours where it is silent."""
    config = ConfigDict()
    config.seed = 0  # of the initial weights, the order of clips, the augmentation and the choice of held-out clips
    config.seeds = 1  # number of runs, with seeds seed, seed + 1, ...: mean and standard deviation are reported
    config.compiled = (
        "~/.cache/asd_jax"  # folder for compiled programs on GPUs; empty: compile anew in every run
    )

    data = config.data = ConfigDict()
    data.root = ""  # folder of recordings, see README; "factory": the built-in synthetic machines
    data.machines = ""  # comma-separated machine types; empty: all found
    data.year = 2024  # of the DCASE edition whose official score is computed
    data.clip_seconds = 10.0  # what is heard of a clip
    data.length = "fit"  # fit: longer clips cut, shorter ones padded; window: overlapping windows of clip_seconds,
    # scores merged by scoring.windows; bucket: every clip at its own length (training: fit)
    data.pad = "repeat"  # what fills shorter clips: their own beginning, or zeros
    data.hop_seconds = 5.0  # between windows
    data.channel = "mean"  # of recordings with several: mean, near, far, difference, or a number
    data.resampler = (
        "soxr"  # or torchaudio: sample for sample what torchaudio.functional.resample gives
    )
    data.cache = ""  # folder for decoded clips; worth it where recordings are compressed, resampled or far away
    data.on_bad_clip = (
        "error"  # or skip: clips that cannot be read are left out and listed in results.json
    )
    data.domain_in_class = False  # also separate source from target in training
    data.held_out = (
        0.0  # share of the normal clips kept out of training, for scoring.normalization=held_out
    )
    data.threads = 4  # that read recordings ahead
    data.resident = False  # keep all training clips on the accelerator, 0.32 GB a thousand of 10 s, not read batches
    data.pseudo_classes = (
        0  # of a machine without attributes, by Ward clustering of frozen embeddings; 0: one class
    )

    factory = config.factory = ConfigDict()  # for data.root="factory"
    factory.seed = 0  # another seed, other recordings of the same machines
    factory.train_source = 80  # normal training clips of a machine in the source domain
    factory.train_target = 10  # and in the target domain
    factory.test_per_condition = 15  # test clips per (normal, anomaly) x (source, target)

    features = config.features = ConfigDict()
    features.spacing = (
        "even"  # even: m-FB, the paper's; mel: o-FB, as EAT was pre-trained; gammatone: g-FB
    )
    features.bins = 128  # filters
    features.low_hz = 20.0  # edges of the filter bank
    features.high_hz = 8000.0
    features.statistics = "given"  # given: mean and std below; train: measured on the training clips; weights: those of
    # model.weights, where these were pre-trained here
    features.mean = -4.268  # AudioSet's log mel energies, kept for all filter banks
    features.std = 4.569
    features.simam = (
        "local"  # none, global, local (in tiles), or by machine: "{ToyCar: local, fan: global}"
    )
    features.simam_lambda = 1e-4  # of the public code
    features.simam_tile_frames = 32  # of local SimAM, a divisor of 32
    features.simam_tile_filters = 32  # a divisor of bins
    features.simam_before_normalization = (
        False  # attend log energies instead of the normalised spectrogram
    )
    features.simam_ignores_padding = False  # statistics from real frames only

    augment = config.augment = ConfigDict()
    augment.mixup = "waveform"  # waveform, spectrogram or none
    augment.mixup_alpha = 0.4  # weight ~ Beta(alpha, alpha)
    augment.mixup_probability = 0.5  # that a clip is mixed
    augment.mask_frames = 80  # SpecAugment: widest time stripe
    augment.mask_filters = 80  # and frequency stripe
    augment.mask_probability = 0.5  # of each stripe

    model = config.model = ConfigDict()
    model.encoder = (
        "eat"  # eat, or filter_bank: the time-averaged front end, the free baseline without a model
    )
    model.size = "base"  # base, large or tiny
    model.depth = 0  # 0: the size's own; set to cut the model down
    model.width = 0
    model.heads = 0
    model.weights = (
        ""  # safetensors file made by convert.eat or a run; "none": from scratch, on purpose
    )
    model.pooling = "attentive_statistics"  # or mean, cls
    model.block = -1  # whose output is pooled; -1 is the last
    model.embedding_dim = 256  # 0: the pooled vector itself
    model.dtype = "float32"  # of EAT's computation: float32 or bfloat16; parameters stay float32
    model.attention = (
        "none"  # a trainable rival in SimAM's place, with features.simam=none: se, cbam or spatial
    )

    backbone = config.backbone = ConfigDict()  # how EAT is fine-tuned
    backbone.strategy = (
        "full"  # full; frozen: the rest alone learns; lora: low-rank updates, merged at the end;
    )
    # gradual: blocks thaw one by one, the last first
    backbone.thaw_fraction = 0.5  # share of all steps after which gradual has thawed all of EAT
    backbone.lora_rank = 64  # with learning_rate 1e-4 the field's usual choice
    backbone.lora_alpha = 64.0  # over the rank: the scale of the update
    backbone.lora_targets = "qkv"  # comma-separated layers of a block: qkv, out, fc1, fc2
    backbone.layer_decay = (
        1.0  # block i of n learns at layer_decay^(n - i) of the rate; EAT's own recipe: 0.65
    )
    backbone.drop_path = 0.0  # stochastic depth, rate of the last block; EAT's own recipe: 0.1
    backbone.remat = (
        False  # recompute blocks in the backward pass: much less memory, a third more time
    )

    frozen = config.frozen = ConfigDict()  # for `evaluate --weights`, without training
    frozen.pooling = (
        ""  # band_mean, mean or cls; empty: the file's own, or band_mean if it has none
    )
    frozen.features = (
        "weights"  # the file's own front end, where it has one; config: that of `features`
    )
    frozen.block = (
        -2
    )  # whose output is pooled; the last is the most specialised on the pre-training

    arcface = config.arcface = ConfigDict()
    arcface.head = "arcface"  # adacos, whose scale follows the training, or subcluster_adacos; both without a margin
    arcface.scale = 30.0  # of the cosines
    arcface.margin = 0.5  # radians, on the true class
    arcface.subclusters = 16  # centres a class of subcluster_adacos
    arcface.train_centres = (
        True  # False: random ones stay, as in public systems with subcluster_adacos
    )

    optimizer = config.optimizer = ConfigDict()
    optimizer.epochs = 10  # passes over the training clips; 0: the weights as they start
    optimizer.batch_size = 32  # clips a step, and a batch of embedding
    optimizer.accumulate = 1  # parts that a batch goes through the encoder in, to save memory; same gradients, but that
    # drop_path draws for each part and the scale of adacos moves with each
    optimizer.learning_rate = 5e-5  # peak
    optimizer.warmup_fraction = 0.1  # of all steps
    optimizer.weight_decay = 0.05  # on matrices only
    optimizer.clip_norm = 1.0  # of all gradients together
    optimizer.ema = 0.0  # decay of a running average of the weights, which then is the result, e.g. 0.999; 0: none
    optimizer.on_bad_loss = (
        "stop"  # when loss or gradients are not finite; or skip: such steps change nothing
    )

    parallel = config.parallel = ConfigDict()  # on several devices, which share every batch
    parallel.shards = 1  # devices that share one copy of parameters and optimiser state (FSDP): less memory each, more
    # traffic; 1: each has its own copy; 0: all share one

    scoring = config.scoring = ConfigDict()  # asd_jax/scoring/options.py, field by field
    scoring.back_end = (
        "knn"  # a name of asd_jax/scoring/back_ends/, or several joined by "+" and fused
    )
    scoring.distance = "cosine"  # or euclidean, of the back ends that have one
    scoring.k = 1  # neighbours
    scoring.standardize = False  # each dimension, with statistics of the source training clips
    scoring.whiten = 0  # PCA-whiten to so many components; 0: not
    scoring.layers = (
        "mean_score"  # of embeddings with layers: mean_score, mean_vector or a layer's number
    )
    scoring.normalization = (
        "train"  # domain normalisation: train, test (transductive), held_out or none
    )
    scoring.domains = (
        "min"  # minimum over the domains; source, target alone; pooled: one bank of both
    )
    scoring.windows = "mean"  # of the scores of a clip's windows, or max
    scoring.fusion = "z_min"  # of several back ends: z_min, mean, rank, raw_mean
    scoring.smote_ratio = 0.2  # target clips per source clip after SMOTE
    scoring.smote_k = 2  # neighbours it interpolates between
    scoring.density_k = 4  # neighbours that tell the density in local_density
    scoring.centres = 16  # of k_means
    scoring.mixup_k = 990  # source clips mixed with each target clip in mem_mixup
    scoring.mixup_weight = 0.9  # of the target clip in mem_mixup
    scoring.shrinkage = 0.0  # of mahalanobis' covariance; 0: Ledoit-Wolf
    scoring.components = 20  # of pca_residual
    scoring.mixture = 4  # components of gmm
    scoring.decision = "gamma"  # threshold from training scores: gamma, quantile or extreme_value
    scoring.decision_quantile = 0.9  # the DCASE baseline's
    scoring.on_device = (
        False  # knn's distances in float32 on the accelerator, for banks above 1e5 clips
    )
    scoring.seed = 0  # of smote, k_means and gmm

    log = config.log = ConfigDict()
    log.every = 20  # steps between lines
    log.checkpoint_every = 200  # steps between checkpoints

    report = config.report = ConfigDict()
    report.page = True  # whether to write report/index.html
    report.map = "pca"  # of the embeddings; or umap (extra "umap")
    report.clips = 8  # highest-scored, and as many most wrong, to see and hear on the page

    apply_mode(config, mode)
    return config


def apply_mode(config: ConfigDict, mode: str) -> None:
    """What stands after the colon of --config=FILE:MODE.

    "smoke": a run of seconds on the factory, with a narrow, shallow model, short clips and few of them.
    """
    if mode not in ("", "smoke"):
        raise ValueError(f"config mode {mode!r}; known: smoke")
    if mode == "smoke":
        config.data.update(root="factory", machines="fan,gearbox", clip_seconds=1.0)
        config.factory.update(train_source=12, train_target=3, test_per_condition=4)
        if config.features.statistics == "weights":
            config.features.update(statistics="train")
        config.model.update(
            size="tiny", depth=2, width=64, heads=2, block=-1, weights="none", embedding_dim=32
        )
        config.optimizer.update(epochs=2, batch_size=8, learning_rate=1e-3)
        config.scoring.update(back_end="knn")  # a dozen clips have no covariance
        config.log.update(every=2, checkpoint_every=4)
        config.report.update(clips=1)
