"""The command line: commands grouped by what they work on; each parses its arguments and calls what does the work."""
