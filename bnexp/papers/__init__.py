"""What papers and lessons published about batch normalization, repeated and set beside the published numbers."""
