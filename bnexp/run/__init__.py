"""One experiment from its plan to the finished run folder."""
