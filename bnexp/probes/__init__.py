"""The measurements: what goes on inside the networks, taken so that their training never notices."""
