"""Where trial groups run: this process."""
