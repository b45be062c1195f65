"""Everything that only a GPU can tell: `python -m benchmarks.gpu` tests and measures it, and keeps the JSON."""
