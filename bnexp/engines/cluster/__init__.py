"""Training groups on many machines, or on all devices of one, as tasks of Ray (an optional extra)."""
