"""What a person sees of a record: tables, plots, pictures, the page; merging and limits."""
