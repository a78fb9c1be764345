"""Measurements, one figure or one kind of subject per file."""
