"""The same study as other programs train it, one network at a time; every program returns the final accuracy."""
