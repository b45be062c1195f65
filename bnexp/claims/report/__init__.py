"""Claims and what was found about them: the table, the document and the page."""
