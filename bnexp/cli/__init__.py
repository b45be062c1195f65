"""The command line: commands grouped by what they work on. Each only parses its arguments and passes them on."""
