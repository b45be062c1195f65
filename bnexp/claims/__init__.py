"""What is claimed about batch normalization: the experiments behind each claim, and what their data say of it."""
