"""Training: a generator of records, with neither files nor terminal.

Shapes: K trials, S distinct seeds, B batch, P parameters of one trial.
"""
