"""The pictures of a comparison, drawn with Matplotlib for the screen and for paper."""
