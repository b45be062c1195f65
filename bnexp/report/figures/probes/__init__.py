"""The pictures of what was measured inside the networks, drawn from the table of the probes alone."""
