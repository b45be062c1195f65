"""Every check by the name that claims give it."""

from collections.abc import Callable, Iterator

from bnexp.checks.biases import bias_cancelled
from bnexp.checks.counting import four_parameters, per_feature
from bnexp.checks.evaluation import eval_is_deterministic, two_inference_methods
from bnexp.checks.folding import folds_away
from bnexp.checks.formulas import gradient_correct, restores_identity
from bnexp.checks.gradients import clipping_numbers, gradient_tracking
from bnexp.checks.inputs import input_scaling, linear_regime
from bnexp.checks.memory import batch_memory
from bnexp.checks.momentum import momentum_convention
from bnexp.checks.times import step_times
from bnexp.claims.findings import Finding, Measured

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
