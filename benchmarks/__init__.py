"""Side-by-side timings of bnexp against what a user would write instead; README.md has the results."""
