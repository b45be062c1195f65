"""What settings and their values are called elsewhere, in Keras, PyTorch and people's own scripts."""

from collections.abc import Sequence

from bnexp.errors import bare, nearest

SYNONYMS: dict[str, tuple[str, ...]] = {
    "data.name": ("dataset",),
    "data.root": ("data_dir", "data_path", "path", "folder"),
    "data.train_size": ("n_train", "num_train", "train_samples", "subset"),
    "data.val_size": ("validation_size", "val_split", "validation_split", "n_val", "num_val"),
    "data.normalize": ("scaling", "preprocessing"),
    "model.family": ("arch", "architecture", "network", "net", "model_name", "model_type"),
    "model.depth": ("layers", "n_layers", "num_layers", "hidden_layers", "num_hidden_layers"),
    "model.width": ("hidden", "hidden_size", "hidden_dim", "hidden_units", "units", "neurons", "channels", "filters"),
    "model.activation": ("act", "act_fn", "activation_fn", "activation_function", "nonlinearity"),
    "model.bias": ("use_bias",),
    "model.dropout": ("dropout_rate", "drop_rate", "dropout_prob", "p_dropout", "drop"),
    "model.init": ("initializer", "initialization", "kernel_initializer", "weight_init", "init_scheme"),
    "model.init.scale": ("gain", "init_gain", "init_std", "weight_scale"),
    "model.norm": ("bn", "batch_norm", "batch_normalization", "use_bn", "normalization", "norm_layer"),
    "model.norm.kind": ("norm_type",),
    "model.norm.eps": ("epsilon",),
    "model.norm.momentum": ("bn_momentum",),
    "train.epochs": ("epoch", "n_epochs", "num_epochs", "max_epochs"),
    "train.steps": ("n_steps", "num_steps", "max_steps", "iterations", "iters", "updates"),
    "train.batch_size": ("bs", "batch", "batchsize", "minibatch", "minibatch_size"),
    "train.optimizer": ("optim", "opt", "optimiser"),
    "train.lr": ("learning_rate", "learn_rate", "rate", "eta", "lr0", "base_lr", "init_lr", "initial_lr"),
    "train.betas": ("beta", "beta1", "beta2"),
    "train.weight_decay": ("wd", "decay", "l2", "l2_reg", "regularization"),
    "train.label_smoothing": ("smoothing", "label_smooth"),
    "train.schedule": ("scheduler", "lr_schedule", "lr_scheduler"),
    "train.schedule_options.factor": ("gamma", "decay_rate", "decay_factor"),
    "train.schedule_options.step_every": ("step_size",),
    "train.schedule_options.step_at": ("milestones",),
    "train.clip.value": ("clip_value",),
    "train.clip.norm_per_tensor": ("clipnorm",),
    "train.clip.norm_global": ("grad_clip", "clip_grad", "max_grad_norm", "global_clipnorm"),
    "train.precision": ("dtype", "amp", "fp16", "mixed_precision"),
    "train.augment": ("aug", "augmentation", "data_augmentation"),
    "train.record_at": ("log_every", "eval_every", "record_every"),
    "seeds": ("seed", "n_seeds", "num_seeds", "random_seed", "random_state", "repeats"),
    "arms": ("arm", "treatments", "variants", "conditions"),
    "grid": ("sweep", "search", "param_grid"),
    "probes": ("probe", "measurements", "metrics"),
    "question": ("description", "title", "comment"),
}
"""By setting: names that it has elsewhere."""

VALUES: dict[str, dict[str, tuple[str, ...]]] = {
    "arms": {
        "none": ("baseline", "plain", "without_bn", "no_bn", "no_norm"),
        "before": ("bn", "batch", "batch_norm", "with_bn", "norm"),
    },
    "data.normalize": {"standard": ("zscore", "mean_std", "true"), "unit": ("minmax",), "none": ("false",)},
    "model.family": {
        "mlp": ("dense", "fc", "fnn", "feedforward"),
        "vgg": ("cnn", "conv", "convnet"),
        "rnn": ("lstm", "gru"),
    },
    "model.activation": {"silu": ("swish",), "identity": ("linear", "none"), "sigmoid": ("logistic",)},
    "model.init.scheme": {
        "he": ("kaiming", "kaiming_normal", "kaiming_uniform", "he_normal", "he_uniform"),
        "xavier": ("glorot", "glorot_normal", "glorot_uniform", "xavier_normal"),
        "lecun": ("lecun_normal",),
        "normal": ("gaussian",),
    },
    "model.norm.kind": {
        "none": ("identity",),
        "batch": ("bn",),
        "layer": ("ln",),
        "group": ("gn", "instance", "instance_norm"),
    },
    "train.augment": {"flip_crop": ("true", "standard"), "none": ("false",)},
    "train.optimizer": {
        "sgd with train.momentum": ("momentum",),
        "sgd with train.momentum and train.nesterov: true": ("nesterov", "nag"),
    },
    "train.precision": {
        "fp32": ("float", "float32", "single", "32"),
        "fp64": ("double",),
        "bf16": ("amp", "half", "float16", "fp16", "mixed"),
    },
    "train.sampling": {"epoch": ("random", "shuffle", "shuffled")},
    "train.schedule": {
        "constant": ("none", "fixed"),
        "step with train.schedule_options.step_at": ("multistep", "multi_step_lr", "piecewise_constant_decay"),
        "exponential": ("exp",),
        "cosine": ("cosine_annealing", "cosine_annealing_lr"),
    },
}
"""By setting: what to write here, and other names for it that are spelt too differently to be found by spelling."""


def setting_of(name: str) -> str | None:
    """Return the setting that has this name elsewhere, whatever its letters' case, hyphens and underscores."""
    return _SETTINGS.get(bare(name))


def nearest_value(setting: str, value: object, known: Sequence[str]) -> str:
    """Return " (nearest: …)" for an unknown value: what it is called here, or the closest spelling."""
    name = bare(str(value))
    here = next((meant for meant, names in VALUES.get(setting, {}).items() if name in map(bare, names)), "")
    return f" (nearest: {here})" if here else nearest(value, known)


_SETTINGS = {bare(name): setting for setting, names in SYNONYMS.items() for name in names}
