"""Fine-tunes an encoder to distinguish (machine, attribute) classes of normal sounds.

By learning to distinguish them, the encoder learns what normal sounds like. The loss is in loss.py,
and the step that lowers it is in step.py.
"""

from collections.abc import Callable, Sequence

import jax

from asd_jax.data.clips import Clip
from asd_jax.models.encoder import Encoder, EncoderConfig
from asd_jax.runtime.log import print_line
from asd_jax.training.clips import TrainingClips, class_numbers, draw_from_resident
from asd_jax.training.loop import Job, Steps, run_steps
from asd_jax.training.mesh import fetch_whole
from asd_jax.training.settings import FineTuning
from asd_jax.training.step import (
    final_params,
    initial_state,
    make_head,
    make_optimizer,
    make_train_step,
)


def fine_tune(
    config: EncoderConfig,
    pretrained: dict | None,
    data: TrainingClips,
    settings: FineTuning,
    job: Job,
    *,
    keep: Callable[[int, dict], None] = lambda step, params: None,
) -> dict:
    """Returns the parameters of `Encoder(config)` after fine-tuning on the training clips.

    The training continues from the newest checkpoint in the workdir.

    Args:
        config: the encoder's settings.
        pretrained: the parameters of its EAT, None to train from scratch.
        data: the training clips.
        settings: the settings of the training.
        job: where it is computed and recorded.
        keep: receives the step and the encoder's parameters after each of
            `settings.snapshot_steps`.

    Raises:
        InputError: there are fewer than two classes or fewer clips than a batch, or `run_steps`
            raises.
        Interrupted: as for `run_steps`.
    """
    classes, extras = class_numbers(data.clips, config, data.with_domain)
    steps = settings.total_steps(len(data.clips))
    encoder = Encoder(config, job.dtype, settings.lora, settings.drop_path, settings.remat)
    head = make_head(len(classes), settings, subcentres(classes, settings))
    # The rates of layer_decay and of thawing count only the blocks that the embedding depends on.
    optimizer, schedule = make_optimizer(settings, steps, config.used_depth)
    # The order has a key of its own, so that resident clips do not change the augmentation.
    key_init, key_train, key_order = jax.random.split(jax.random.key(job.seed), 3)
    # All clips have the length of the first one.
    wave = data.read(data.clips[0])
    state = initial_state(
        encoder, head, optimizer, settings, key=key_init, wave=wave, pretrained=pretrained
    )
    train_step = make_train_step(encoder, head, optimizer, schedule, settings)
    _print_size(data.clips, len(classes), steps, settings.batch_size)
    if data.resident:
        train_step = draw_from_resident(train_step, settings.batch_size, key_order)
    kept = settings.snapshot_steps(steps)

    # Snapshots have the form of the final weights: averaged and merged where requested.
    def params_of(state) -> dict:
        return fetch_whole(job.mesh, final_params(state, settings))

    def after_step(step, state) -> None:
        if step in kept:
            keep(step, params_of(state))

    training = Steps(
        train_step,
        state,
        data.batches(extras, job, steps=steps, batch_size=settings.batch_size),
        total=steps,
        key=key_train,
        batch_size=settings.batch_size,
        on_bad_loss=settings.on_bad_loss,
        files_of=data.files_of,
        after_step=after_step,
    )
    return params_of(run_steps(training, job))


def _print_size(clips: Sequence[Clip], classes: int, steps: int, batch_size: int) -> None:
    """Prints the numbers of clips (or windows), classes and steps."""
    files = len({clip.path for clip in clips})
    unit, of = ("clips", "") if files == len(clips) else ("windows", f" of {files} clips")
    print_line(
        f"training on {len(clips)} {unit}{of}, {classes} classes, {steps} steps of "
        f"{batch_size} {unit}"
    )


def subcentres(classes: Sequence[tuple[str, ...]], settings: FineTuning) -> tuple[int, ...]:
    """Returns the number of ArcFace's centres of each class (machine, section, attribute, ...)."""
    everywhere = settings.subcentres_of == "all"
    # of[2] is the attribute, which is empty where attributes are concealed.
    return tuple(settings.subcentres if everywhere or not of[2] else 1 for of in classes)
