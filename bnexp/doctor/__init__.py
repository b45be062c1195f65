"""What this machine has, and whether its devices compute what they should."""
