"""Settings that can't be trained as written on the given images."""

from collections.abc import Callable, Iterator, Sequence
from math import prod

from bnexp.config.experiment import ExperimentConfig
from bnexp.config.model import FAMILIES, ModelSettings
from bnexp.config.norm import NormSettings
from bnexp.config.origin import naming
from bnexp.config.text import counted, listed
from bnexp.config.train import TrainSettings
from bnexp.config.trial import TrialSettings
from bnexp.data.catalog import DataShape, steps_per_epoch
from bnexp.errors import ConfigError, Problem
from bnexp.plan import Trial, TrialGroup
from bnexp.plan import groups as grouped


def check_fit(
    groups: Sequence[TrialGroup],
    shape_of: Callable[[TrialGroup], DataShape],
    config: ExperimentConfig,
    source: str,
) -> None:
    """Refuse groups of an experiment that can't be trained, or probed, as written.

    Raises:
        InputError: a network can't be made.
        ConfigError: with everything that doesn't fit.
    """
    from bnexp.probes.prober import unknown_layers  # imports torch

    with naming(source, config.origin):
        shapes = [(group.trials, shape_of(group)) for group in groups]
        problems = [each for trials, shape in shapes for each in misfits(trials, shape)]
        problems += _nothing_drawn(groups, shape_of, config)
        problems = problems or [*_nothing_trained(groups, shape_of)]
        if problems := problems or [*unknown_layers(groups, shape_of, config.probes)]:
            raise ConfigError(problems)


def check_reused(trials: Sequence[Trial], config: ExperimentConfig, source: str) -> None:
    """Refuse settings that change no trial, as check_fit does, if other runs have trained the trials.

    Raises:
        InputError: their data can't be had.
        ConfigError: with everything that doesn't fit.
    """
    if not trials or (not config.train.patience and config.data.split == "fixed"):
        return
    from bnexp.engines.devices import described  # imports torch

    with naming(source, config.origin):
        together = grouped(trials)
        shape_of = described(together)
        idle = dict.fromkeys(text for group in together for text in _idle_patience(group.trials, shape_of(group)))
        problems = [Problem("", "train.patience", text) for text in idle]
        if problems := [*problems, *_nothing_drawn(together, shape_of, config)]:
            raise ConfigError(problems)


def _nothing_drawn(
    groups: Sequence[TrialGroup],
    shape_of: Callable[[TrialGroup], DataShape],
    config: ExperimentConfig,
) -> Iterator[Problem]:
    """Yield data sets with nothing to draw, if each seed is to have a split of its own."""
    fixed = [group for group in groups if config.data.split == "per_seed" and not shape_of(group).drawn]
    for name, val in {(group.settings.data.name, shape_of(group).val): None for group in fixed}:
        own = f"the data ({name}) have validation and test images of their own, so nothing is drawn"
        none = f"data.val_size: 0 leaves no validation images of {name} to draw, and test images are not drawn either"
        remedy = "set fixed, or leave validation images out of the data" if val else "raise data.val_size, or set fixed"
        yield Problem("", "data.split", f"per_seed: {own if val else none}; {remedy}")


def _nothing_trained(groups: Sequence[TrialGroup], shape_of: Callable[[TrialGroup], DataShape]) -> Iterator[Problem]:
    """Yield arms whose networks, of the user's own, have no γ or β, if only these are to be trained."""
    from bnexp.nn.table import trained_table  # imports torch

    for group in groups:
        settings, shape = group.settings, shape_of(group)
        if settings.train.only == "all" or not settings.model.spec.own:
            continue
        if not any(row.trainable for row in trained_table(settings, shape.image, shape.classes)):
            message = f"norm: the network has no norm layer with γ or β in arm {listed(group.arms)}; set all"
            yield Problem("", "train.only", message)


def misfits(trials: Sequence[Trial], shape: DataShape) -> Iterator[Problem]:
    """Yield everything that can't be trained as written on such images."""
    train_images, image = shape.train, shape.image
    if shape.tabular:
        yield from _no_pictures(trials, shape)
    yield from (Problem("", "train.batch_size", message) for message in _unfit_batches(trials, train_images, image))
    yield from (Problem("", "model.norm.kind", message) for message in _lone_places(trials, image))
    yield from (Problem("", "model.norm.input", message) for message in _uneven_inputs(trials, image))
    yield from (Problem("", "train.schedule_options.step_at", message) for message in _late_drops(trials, train_images))
    yield from (Problem("", *found) for found in _unfit_parts(trials, train_images, image))
    yield from (Problem("", "train.patience", message) for message in _idle_patience(trials, shape))
    for name, first_of in STARTS.items():
        late = _late_starts(trials, train_images, first_of)
        yield from (Problem("", f"model.norm.{name}", message) for message in late)


def _no_pictures(trials: Sequence[Trial], shape: DataShape) -> Iterator[Problem]:
    """Yield settings that need pictures, if the data are rows of features."""
    there = f"the data are rows of {shape.size}, no images"
    for family in {trial.settings.model.family: None for trial in trials}:
        if not FAMILIES[family].tabular:
            takers = listed((name for name, spec in FAMILIES.items() if spec.tabular), "or")
            yield Problem("", "model.family", f"{family}: {there}; set {takers}")
    for augment in {trial.settings.train.augment: None for trial in trials}:
        if augment != "none":
            yield Problem("", "train.augment", f"{augment}: {there}; set none")


def _unfit_batches(trials: Sequence[Trial], train_images: int, image: tuple[int, int, int]) -> Iterator[str]:
    """Yield batches that are larger than the data, or too small for a norm over the batch."""
    for batch in {trial.settings.train.batch_size: None for trial in trials}:
        if batch > train_images:
            there = counted(train_images, "training image")
            yield f"{batch}: larger than the {there}; lower it or raise data.train_size"
    yield from filter(None, (_lone_image(trial.settings, train_images, image) for trial in trials))


def _lone_image(settings: TrialSettings, train_images: int, image: tuple[int, int, int]) -> str:
    """Say where a norm over the batch would have only one number per feature to normalise; empty if nowhere."""
    batch = settings.train.batch_size
    if _smallest_batch(settings, train_images) > 1 or batch > train_images:
        return ""  # a batch larger than the data is refused for that
    if not (lone := _one_number(settings.model, image)):
        return ""
    if batch == 1:
        more = "" if train_images > 1 else ", and raise data.train_size"
        return f"1: {lone}; set 2 or more{more}"
    advice = "set train.drop_last: true, or another batch size"
    return f"{batch}: {train_images} images leave one over, and {lone}; {advice}"


def _lone_places(trials: Sequence[Trial], image: tuple[int, int, int]) -> Iterator[str]:
    """Yield kinds that normalise over the places of an image, if convolutions leave a single one."""
    for model in {trial.settings.model: None for trial in trials if trial.settings.model.norm.spec.over_places}:
        if model.spec.fewest_places(model.layers, image) == 1:
            size = "x".join(map(str, image[1:]))
            yield (
                f"{model.norm.kind}: {model.family} of depth {model.layers} shrinks the {size} pixels to one, and it "
                "would set every channel to β there; set group, or another depth"
            )


def _one_number(model: ModelSettings, image: tuple[int, int, int]) -> str:
    """Say why the statistics of one image would be those of one number per feature; empty if they aren't.

    With convolutions every place of an image counts, so one image is enough until it has shrunk to one place.
    """
    if not model.norm.spec.batch_statistics or model.spec.fewest_places(model.layers, image) > 1:
        return ""
    size = "x".join(map(str, image[1:]))
    where = "" if model.spec.units else f" where {model.family} has shrunk its {size} pixels to one"
    return f"batch normalization can't normalise a batch of one image{where}"


def _unfit_parts(trials: Sequence[Trial], train_images: int, image: tuple[int, int, int]) -> Iterator[tuple[str, str]]:
    """Yield settings that cut batches into parts that can't be normalised, or that don't divide a last batch."""
    for settings in [trial.settings for trial in trials if trial.settings.train.batch_size <= train_images]:
        train, last = settings.train, _smallest_batch(settings, train_images)
        parts = []
        if settings.model.norm.sliced:
            parts.append(("model.norm.over", settings.norm_batch, settings.norm_batch, "set 2 or more"))
        if train.accumulate > 1:
            parts.append(("train.accumulate", train.accumulate, train.micro_batch, "lower it"))
        for key, value, size, advice in parts:
            if last % size:
                short = f"the last batch of {last}, of {train_images} images"
                yield key, f"{value}: {short}, can't be cut into parts of {size}; set train.drop_last: true"
            elif size == 1 < train.batch_size and (lone := _one_number(settings.model, image)):
                yield key, f"{value}: {lone}; {advice}"


def _late_drops(trials: Sequence[Trial], train_images: int) -> Iterator[str]:
    """Yield lists of epochs whose last drop of the rate comes after the training."""
    for train in {trial.settings.train: None for trial in trials if trial.settings.train.schedule == "step"}:
        if train.batch_size > train_images:
            continue  # said of the batches
        per_epoch = _updates_per_epoch(train, train_images)
        for epoch in train.schedule_options.step_at or ():
            if epoch * per_epoch >= train.total_steps(per_epoch):
                budget = f"train.steps: {train.steps}" if train.steps else f"train.epochs: {train.total_steps(1)}"
                yield f"{epoch}: no update comes after that epoch ({budget}); leave it out, or train longer"


STARTS: dict[str, Callable[[NormSettings], int | None]] = {
    "freeze_at": lambda norm: norm.frozen_from,
    "relax_at": lambda norm: norm.relax_at[0] if norm.relax_at and "relax_at" in norm.spec.options else None,
}
"""Settings that name the update at which something changes."""


def _late_starts(
    trials: Sequence[Trial], train_images: int, first_of: Callable[[NormSettings], int | None]
) -> Iterator[str]:
    """Yield updates at which something should change, but which the training doesn't reach."""
    for train, first in {(trial.settings.train, first_of(trial.settings.model.norm)): None for trial in trials}:
        if first is None or train.batch_size > train_images:
            continue  # the latter is said of the batches
        last = train.total_steps(_updates_per_epoch(train, train_images))
        if first > last:
            yield f"{first}: the training ends with update {last}; lower it, or train longer"


def _idle_patience(trials: Sequence[Trial], shape: DataShape) -> Iterator[str]:
    """Yield a patience that could stop nothing: there are no validation images, or too few records."""
    from bnexp.training.work import record_steps  # imports torch

    for train in dict.fromkeys(trial.settings.train for trial in trials):
        if not (patience := train.patience):
            continue
        if not shape.val:
            yield f"{patience}: there are no validation images to stop by; raise data.val_size, or set null"
        elif train.batch_size <= shape.train:  # else said of the batches
            records = len(record_steps(train, _updates_per_epoch(train, shape.train)))
            if patience >= records:
                there = f"a trial has {counted(records, 'record')} after its start"
                yield f"{patience}: {there}, so none could stop before its end; lower it, or train longer"


def _updates_per_epoch(train: TrainSettings, train_images: int) -> int:
    return steps_per_epoch(train_images, train.batch_size, train.sampling, train.drop_last)


def _uneven_inputs(trials: Sequence[Trial], image: tuple[int, int, int]) -> Iterator[str]:
    """Yield norm layers of the input whose groups don't divide what the images (C, H, W) have."""
    for model in {trial.settings.model: None for trial in trials}:
        name, size = model.norm.grouping
        features = prod(image) if model.spec.units else image[0]
        if model.norm.input and features % size:
            yield f"true: norm.{name} {size} does not divide the {features} features of the input; set false"


def _smallest_batch(settings: TrialSettings, train_images: int) -> int:
    train = settings.train
    if train.drop_last or train.sampling == "replacement":
        return train.batch_size
    return train_images % train.batch_size or train.batch_size
