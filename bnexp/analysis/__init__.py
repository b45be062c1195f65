"""What a run means: pairs, intervals, tests and times to a threshold, from the frames of a run folder."""
