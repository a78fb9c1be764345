"""Experiments, outside the wheel: one question and one command each, `python -m studies.NAME`."""
