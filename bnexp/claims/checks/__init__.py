"""Checks behind exact claims: measurements in code that hold or fail, by the names that claims use."""

from bnexp.config.base import Spec

CHECKS = {
    name: Spec(f"bnexp.claims.checks.{module}:{name}")
    for module, names in {
        "counting": ("four_parameters", "per_feature", "batch_memory", "step_times"),
        "formulas": ("bias_cancelled", "gradient_correct", "restores_identity", "momentum_convention"),
        "evaluation": ("eval_is_deterministic", "two_inference_methods", "folds_away"),
        "scaling": ("linear_regime", "input_scaling", "clipping_numbers", "gradient_tracking"),
    }.items()
    for name in names
}
