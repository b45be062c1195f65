"""The HTML report: one self-contained page with tables and charts."""
