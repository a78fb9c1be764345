"""Benchmarks of artifacts, peers and controls: latency, temporal error and style, and the report."""
