"""Stylizes many files: which become what, what is done, and several at a time."""
