"""What settings are called elsewhere, in Keras, PyTorch and people's own scripts."""

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


def setting_of(name: str) -> str | None:
    """Return the setting that has this name elsewhere, whatever its letters' case, hyphens and underscores."""
    return _SETTINGS.get(bare(name))


def bare(name: str) -> str:
    """Return a name without what people write differently."""
    return name.lower().replace("_", "").replace("-", "")


_SETTINGS = {bare(name): setting for setting, names in SYNONYMS.items() for name in names}
