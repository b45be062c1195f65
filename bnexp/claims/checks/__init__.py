"""Checks behind exact claims, by the name that claims give them: measurements that hold or fail."""

from collections.abc import Callable, Iterator

from bnexp.claims.checks.biases import bias_cancelled
from bnexp.claims.checks.counting import batch_memory, four_parameters, per_feature
from bnexp.claims.checks.evaluation import eval_is_deterministic, folds_away, two_inference_methods
from bnexp.claims.checks.formulas import gradient_correct, momentum_convention, restores_identity
from bnexp.claims.checks.gradients import clipping_numbers, gradient_tracking
from bnexp.claims.checks.inputs import input_scaling, linear_regime
from bnexp.claims.checks.times import step_times
from bnexp.claims.results import Finding, Measured

CHECKS: dict[str, Callable[[], Iterator[Finding | Measured]]] = {
    "four_parameters": four_parameters,
    "bias_cancelled": bias_cancelled,
    "gradient_correct": gradient_correct,
    "restores_identity": restores_identity,
    "linear_regime": linear_regime,
    "per_feature": per_feature,
    "eval_is_deterministic": eval_is_deterministic,
    "two_inference_methods": two_inference_methods,
    "folds_away": folds_away,
    "momentum_convention": momentum_convention,
    "clipping_numbers": clipping_numbers,
    "input_scaling": input_scaling,
    "gradient_tracking": gradient_tracking,
    "batch_memory": batch_memory,
    "step_times": step_times,
}
