"""bnexp: what does batch normalization do here? Paired, seeded, honest comparisons from one YAML file."""

__version__ = "0.3.0"
