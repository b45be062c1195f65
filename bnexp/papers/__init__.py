"""Experiments of papers and lessons on batch normalization, repeated and shown beside the published numbers."""
