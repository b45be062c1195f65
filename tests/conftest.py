"""Shared by all tests: shapes and types of functions that take tensors are checked while they run."""

import torch
from jaxtyping import install_import_hook

install_import_hook(["bnexp.data", "bnexp.nn", "bnexp.training"], "beartype.beartype")

# The tests' products are tiny: a second thread only waits for the first, for minutes where cores are busy.
torch.set_num_threads(1)
