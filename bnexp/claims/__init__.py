"""Claims about batch normalization: the experiments that test them, and what their data say."""
