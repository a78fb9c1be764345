"""Iterative methods of the literature, which optimize each frame: slow references for fast networks."""
