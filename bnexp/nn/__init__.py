"""Networks with the trial axis: every tensor of parameters has K trials in front.

Shapes: K trials, S distinct seeds, B batch, C features (in, out of a linear layer), P parameters of one trial.
"""
