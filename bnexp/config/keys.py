"""Names of settings: dotted keys, how to set one, and what settings and values are called elsewhere."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from bnexp.config.base import Settings
from bnexp.errors import bare, nearest


@cache  # whatever names a setting is held against them
def leaf_keys(section: type[Settings], prefix: str = "", *, sections: bool = False) -> tuple[str, ...]:
    """Return the dotted key of every setting (and section) below a section, in the order of declaration."""
    found: list[str] = []
    for name in section.model_fields:
        inner = section_of(section, name)
        if inner is None or sections:
            found.append(prefix + name)
        if inner is not None:
            found += leaf_keys(inner, f"{prefix}{name}.", sections=sections)
    return tuple(found)


def leaves(section: Settings, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and the value of every setting below a section, in the order of declaration."""
    for name, value in section:
        if isinstance(value, Settings):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def below(key: str, section: str) -> bool:
    """Tell whether a dotted key is another, or lies below it."""
    return f"{key}.".startswith(f"{section}.")


def is_key(section: type[Settings], key: str) -> bool:
    """Tell whether the key names a setting or a section of settings, or an argument of a network of one's own."""
    return key in leaf_keys(section, sections=True) or re.fullmatch(r"model\.arguments\.\w+", key) is not None


def check_key(section: type[Settings], key: str) -> None:
    """Raise ValueError with the nearest known name unless the key names a setting or a section of settings."""
    if not is_key(section, key):
        raise ValueError(f"unknown key{nearest_key(section, key)}")


def nearest_key(section: type[Settings], key: str) -> str:
    """Return " (nearest: …)" for a wrong key: the same last name elsewhere, its name here, or a similar spelling.

    Of several candidates, the one that shares the most sections with the key is taken, then the least nested one: gamma
    of a schedule is its factor.
    """
    known = leaf_keys(section, sections=True)
    parts = key.split(".")
    last = parts[-1]
    meant = [candidate for candidate in known if candidate.rsplit(".", 1)[-1] == last or candidate == setting_of(last)]
    if not meant:
        return nearest(key, known)
    close = min(meant, key=lambda each: (-len({*parts} & {*each.split(".")}), each.count(".")))
    place = "tune.grid." if parts[0] == "tune" and not close.startswith("tune.") else ""
    return f" (nearest: {place}{close})"


def get(raw: Any, key: str) -> Any:
    """Return what a raw configuration has under a dotted key; None where it has nothing."""
    for part in key.split("."):
        raw = raw.get(part) if isinstance(raw, Mapping) else None
    return raw


def put(raw: dict[str, Any], key: str, value: Any, section: type[Settings] | None) -> None:
    """Set a dotted key in a raw configuration, opening sections and their short forms on the way.

    A section's mapping or short form sets the settings that it names and keeps the others: `data=digits` keeps the
    sizes that are there. An empty mapping stands for the defaults.

    Raises:
        ValueError: something on the way is not a section.
    """
    name, _, rest = key.partition(".")
    inner = section_of(section, name) if section else None
    named = {rest: value} if rest else _expanded(inner, value)
    if not named:
        raw[name] = value
        return
    here = raw.get(name)
    opened = {} if here is None else inner.expand(here) if inner else here
    if not isinstance(opened, dict):
        raise ValueError(f"{name} is not a section with keys of its own")
    raw[name] = dict(opened)
    for each, setting in named.items():
        put(raw[name], each, setting, inner)


def _expanded(section: type[Settings] | None, value: Any) -> dict[Any, Any]:
    """Return what a section's value sets in it; nothing where the key is a setting or the value isn't understood."""
    with suppress(ValueError):  # refused when the whole is checked
        expanded = section.expand(value) if section else None
        if isinstance(expanded, dict) and all(isinstance(key, str) and "." not in key for key in expanded):
            return expanded
    return {}


def section_of(section: type[Settings], name: str) -> type[Settings] | None:
    """Return the section of that name within another; None where it is a setting, or there is none."""
    field = section.model_fields.get(name)
    annotation: Any = field.annotation if field else None
    return annotation if isinstance(annotation, type) and issubclass(annotation, Settings) else None


SYNONYMS = {
    "data.name": "dataset",
    "data.root": "data_dir data_path path folder",
    "data.channels": "data_format channel_order channels_last channels_first",
    "data.label": "target label_column target_column class_column",
    "data.size": "image_size img_size resize resolution",
    "data.train_size": "n_train num_train subset",
    "data.val_size": "val_split validation_size validation_split n_val num_val",
    "data.normalize": "scaling preprocessing",
    "model.family": "arch architecture network net model_name model_type",
    "model.depth": "layers n_layers num_layers hidden_layers",
    "model.width": "hidden hidden_size hidden_dim hidden_units units neurons channels",
    "model.activation": "act activation_fn activation_function nonlinearity",
    "model.bias": "use_bias",
    "model.dropout": "dropout_rate drop_rate dropout_prob p_dropout",
    "model.weights": "weight_standardization ws scaled_ws weight_norm nfnet",
    "model.init": "initializer initialization kernel_initializer weight_init",
    "model.init.scale": "gain init_std weight_scale",
    "model.norm": "bn batch_norm batch_normalization use_bn normalization norm_layer",
    "model.norm.eps": "epsilon",
    "model.norm.momentum": "bn_momentum",
    "train.epochs": "epoch n_epochs num_epochs max_epochs",
    "train.steps": "n_steps num_steps max_steps iterations iters updates",
    "train.batch_size": "bs batch minibatch minibatch_size",
    "train.optimizer": "optim opt optimiser",
    "train.lr": "learning_rate learn_rate rate eta base_lr init_lr initial_lr",
    "train.betas": "beta beta1 beta2",
    "train.weight_decay": "wd decay l2 l2_reg regularization",
    "train.label_smoothing": "smoothing",
    "train.schedule": "scheduler lr_schedule lr_scheduler",
    "train.schedule_options.factor": "gamma decay_rate",
    "train.schedule_options.step_every": "step_size",
    "train.schedule_options.step_at": "milestones",
    "train.clip.value": "clip_value",
    "train.clip.norm_per_tensor": "clipnorm",
    "train.clip.norm_global": "grad_clip clip_grad max_grad_norm global_clipnorm",
    "train.clip.adaptive": "agc adaptive_grad_clip adaptive_gradient_clipping",
    "train.only": "trainable train_only freeze freeze_weights only_bn",
    "train.precision": "dtype amp fp16 mixed_precision",
    "train.augment": "aug augmentation data_augmentation",
    "train.patience": "early_stopping early_stop es_patience stop_after",
    "train.record_at": "log_every eval_every record_every",
    "seeds": "seed n_seeds num_seeds random_seed random_state repeats",
    "arms": "arm treatments variants conditions",
    "grid": "sweep search param_grid",
    "probes": "probe measurements metrics",
    "question": "description title comment",
    "arms=none": "baseline plain without_bn no_bn no_norm",
    "arms=before": "bn batch batch_norm with_bn norm",
    "data.normalize=standard": "zscore mean_std true",
    "data.normalize=unit": "minmax",
    "data.normalize=center": "subtract_mean mean_image zero_mean",
    "data.normalize=none": "false",
    "train.only=norm": "bn batch_norm batchnorm norms",
    "model.family=mlp": "dense fc feedforward",
    "model.family=vgg": "cnn conv convnet",
    "model.family=rnn": "lstm gru",
    "model.activation=silu": "swish",
    "model.activation=identity": "linear none",
    "model.activation=sigmoid": "logistic",
    "model.init.scheme=he": "kaiming kaiming_normal kaiming_uniform he_normal he_uniform",
    "model.init.scheme=xavier": "glorot glorot_normal glorot_uniform xavier_normal",
    "model.init.scheme=normal": "gaussian",
    "model.norm.kind=batch": "bn",
    "model.norm.kind=layer": "ln",
    "model.norm.kind=group": "gn instance instance_norm",
    "train.augment=flip_crop": "true standard",
    "train.optimizer=sgd with train.momentum": "momentum nesterov",
    "train.precision=fp32": "float float32 single 32",
    "train.precision=fp64": "double",
    "train.precision=bf16": "amp half float16 fp16 mixed",
    "train.sampling=epoch": "random shuffle shuffled",
    "train.schedule=constant": "none fixed",
    "train.schedule=step with train.schedule_options.step_at": "multistep multi_step_lr",
    "train.schedule=cosine": "cosine_annealing cosine_annealing_lr",
}
"""By setting, or by setting and value: other names, those of values only if they are spelt too differently."""

_MEANT = {
    (meant.partition("=")[0] if "=" in meant else "", bare(name)): meant.rpartition("=")[2]
    for meant, names in SYNONYMS.items()
    for name in names.split()
}


def setting_of(name: str) -> str | None:
    """Return the setting that has this name elsewhere, whatever its letters' case, hyphens and underscores."""
    return _MEANT.get(("", bare(name)))


def nearest_value(setting: str, value: object, known: Sequence[str]) -> str:
    """Return " (nearest: …)" for an unknown value: what it is called here, or the closest spelling."""
    here = _MEANT.get((setting, bare(str(value))))
    return f" (nearest: {here})" if here else nearest(value, known)
