"""Benchmarks: latency, temporal error and style of what ships, its peers and controls, and the report of it."""
