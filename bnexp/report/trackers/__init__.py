"""A run handed over to a tracker of experiments: what is said of it, and a module for each tracker that hears it."""
