"""Reports on a comparison: tables, summaries and figures."""
