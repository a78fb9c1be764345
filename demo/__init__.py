"""Demos to watch. They use only `runtimes` and `video`, so the light install runs them."""
