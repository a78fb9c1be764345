"""Turns a checkpoint into artifacts, and proves each against the network it came from."""
