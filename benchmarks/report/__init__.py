"""Output of a record: tables, plots, pictures and page; merging and limits."""
