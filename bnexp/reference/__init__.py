"""Batch normalization in NumPy and float64, from the formulas, to read and to check against: backward is node by node.

Ioffe & Szegedy 2015, arXiv:1502.03167. docs/reference.md walks through it with an example. Features (B, C) and
images (B, C, H, W) are both brought to rows (N, C); what lies between x and y has that shape, or one number a column.

Shapes: B batch, C features or channels, H, W, N values a feature is normalised over: B, of images B·H·W.
"""

from bnexp.reference.evaluation import (
    CONVENTIONS,
    Convention,
    EvaluationCache,
    RunningStatistics,
    backward_evaluation,
    forward_evaluation,
    start,
    update,
)
from bnexp.reference.graph import Cache, Gradients, GraphGradients, backward, backward_closed_form, forward
from bnexp.reference.nodes import (
    addition_backward,
    inverse_backward,
    mean_backward,
    product_backward,
    repeat,
    repeat_backward,
    square_backward,
    square_root_backward,
    subtraction_backward,
    sum_backward,
)

__all__ = [
    "CONVENTIONS",
    "Cache",
    "Convention",
    "EvaluationCache",
    "Gradients",
    "GraphGradients",
    "RunningStatistics",
    "addition_backward",
    "backward",
    "backward_closed_form",
    "backward_evaluation",
    "forward",
    "forward_evaluation",
    "inverse_backward",
    "mean_backward",
    "product_backward",
    "repeat",
    "repeat_backward",
    "square_backward",
    "square_root_backward",
    "start",
    "subtraction_backward",
    "sum_backward",
    "update",
]
