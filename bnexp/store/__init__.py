"""The run folder: plain files that any tool reads. Knows neither torch nor statistics."""
