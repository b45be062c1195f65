"""What people look at: tables, summaries and figures of a comparison."""
