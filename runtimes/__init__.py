"""Runs artifacts: one interface, one file an engine, and no training stack."""
