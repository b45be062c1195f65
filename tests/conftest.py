"""Shared by all tests: shapes and types of every annotated function are checked while they run."""

from jaxtyping import install_import_hook

install_import_hook("bnexp", "beartype.beartype")
