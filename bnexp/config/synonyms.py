"""What settings and their values are called elsewhere, in Keras, PyTorch and people's own scripts."""

from collections.abc import Sequence

from bnexp.errors import bare, nearest

SYNONYMS = {
    "data.name": "dataset",
    "data.root": "data_dir data_path path folder",
    "data.train_size": "n_train num_train subset",
    "data.val_size": "val_split validation_size validation_split n_val num_val",
    "data.normalize": "scaling preprocessing",
    "model.family": "arch architecture network net model_name model_type",
    "model.depth": "layers n_layers num_layers hidden_layers",
    "model.width": "hidden hidden_size hidden_dim hidden_units units neurons channels",
    "model.activation": "act activation_fn activation_function nonlinearity",
    "model.bias": "use_bias",
    "model.dropout": "dropout_rate drop_rate dropout_prob p_dropout",
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
    "train.precision": "dtype amp fp16 mixed_precision",
    "train.augment": "aug augmentation data_augmentation",
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
    "data.normalize=none": "false",
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
