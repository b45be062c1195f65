"""The door: one file per command, each parsing its arguments and calling what does the work."""
