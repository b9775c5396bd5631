"""Pre-trains EAT-base as published, on evenly spaced filter banks. Any key can be set on the command line.

  python -m asd_jax.pretrain --config=configs/pretrain_base.py --workdir=runs/pretrain --config.data.root=data/audioset

Data: any folder of sound files, and the built-in zoo of synthetic machines. Cost as published (AudioSet-2M, 400,000
steps of 48 clips with 16 views): about 58 h on four RTX 3090.
"""

from ml_collections import ConfigDict


def get_config(mode: str = "") -> ConfigDict:
    """Every key of pre-training; `configs/pretrain_tiny.py` changes a few."""
    config = ConfigDict()
    config.seed = 0  # of the initial weights, the sounds, the crops and the masks

    data = config.data = ConfigDict()
    data.root = ""  # folder of sound files, searched through (folders named test are left out); empty: the zoo alone
    data.zoo_share = 0.0  # of every batch that comes from the zoo of synthetic machines
    data.frames = 1024  # of a clip, 10 ms each; a multiple of 16 x pieces
    data.pieces = 1  # every other step, clips are cut into so many: short clips are heard too
    data.channel = "mean"  # of recordings with several: mean, near, far, difference, or a number
    data.resampler = "soxr"  # or torchaudio
    data.cache = ""  # folder for decoded recordings
    data.threads = 4  # that read recordings ahead

    features = config.features = ConfigDict()  # as in configs/base.py
    features.spacing = "even"  # even: m-FB; mel: o-FB, as published; gammatone: g-FB
    features.bins = 128
    features.low_hz = 20.0
    features.high_hz = 8000.0
    features.statistics = "given"  # given: mean and std below; train: measured on the first batches
    features.mean = -4.268
    features.std = 4.569

    model = config.model = ConfigDict()
    model.size = "base"  # base, large or tiny
    model.depth = 0  # 0: the size's own
    model.width = 0
    model.heads = 0
    model.weights = "none"  # or a file to continue from, of any filter bank: made by convert.eat (--with_decoder: its
    # decoder continues too), a run, or pre-training
    model.block = -2  # whose output is pooled when the file is used as it is, without fine-tuning
    model.dtype = "float32"  # of the computation: float32 or bfloat16
    model.file_dtype = "float32"  # of the weights written; float16: half the size

    pretraining = config.pretraining = ConfigDict()
    pretraining.objective = (
        "eat"  # or masked_autoencoder: the normalised pixels of the masked patches, no teacher
    )
    pretraining.steps = 400_000
    pretraining.views = 16  # masked views of every clip
    pretraining.mask_share = 0.8  # of patches hidden
    pretraining.mask_adjust = 0.07  # added to the kept share when block centres are counted
    pretraining.mask_block = 5  # edge of the blocks kept, in patches
    pretraining.mask_noise = (
        0.01  # what EAT's decoder finds at the masked places, standard deviation
    )
    pretraining.decoder_layers = 6
    pretraining.decoder_kernel = 3  # of EAT's convolutions
    pretraining.decoder_groups = 16
    pretraining.decoder_width = 128  # of the masked autoencoder's blocks
    pretraining.decoder_heads = 4
    pretraining.weighting = (
        "published"  # utterance loss summed over the batch; mean: independent of its size
    )
    pretraining.utterance_weight = 1.0
    pretraining.ema_start = 0.9998  # decay of the teacher, linear to ema_end in ema_steps
    pretraining.ema_end = 0.99999
    pretraining.ema_steps = 100_000
    pretraining.least_spread = (
        0.05  # stops when targets or predictions are nearly the same everywhere: collapsed
    )

    optimizer = config.optimizer = ConfigDict()
    optimizer.batch_size = 48  # clips a step
    optimizer.learning_rate = 5e-4  # peak
    optimizer.warmup_fraction = 53_333 / 400_000
    optimizer.weight_decay = 0.05
    optimizer.decay_everything = True  # biases and norms too, as fairseq does by mistake
    optimizer.clip_norm = 4.0
    optimizer.on_bad_loss = (
        "stop"  # on NaN or infinity; skip goes on without what that batch teaches
    )

    parallel = config.parallel = ConfigDict()  # on several devices, which share every batch
    parallel.shards = 1  # devices that share one copy of parameters and optimiser state (FSDP): less memory each, more
    # traffic; 1: each has its own copy; 0: all share one

    log = config.log = ConfigDict()
    log.every = 20  # steps between lines
    log.checkpoint_every = 500  # steps between checkpoints

    apply_mode(config, mode)
    return config


def apply_mode(config: ConfigDict, mode: str) -> None:
    """What stands after the colon of --config=FILE:MODE; "smoke": seconds, on the zoo."""
    if mode not in ("", "smoke"):
        raise ValueError(f"config mode {mode!r}; known: smoke")
    if mode == "smoke":
        config.data.update(zoo_share=1.0, frames=64, pieces=1)
        config.model.update(size="tiny", depth=2, width=64, heads=2)
        config.pretraining.update(steps=6, views=2, decoder_layers=1, decoder_width=32)
        config.optimizer.update(batch_size=4)
        config.log.update(every=2, checkpoint_every=3)
