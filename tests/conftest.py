"""Shared by all tests: shapes and types of functions that take tensors are checked while they run."""

from jaxtyping import install_import_hook

install_import_hook(["bnexp.data", "bnexp.nn", "bnexp.training"], "beartype.beartype")
