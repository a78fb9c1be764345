"""What `studies.fuzz` feeds to readers, and its coverage-guided form."""
