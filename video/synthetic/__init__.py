"""Synthetic scenes with exact flow."""
