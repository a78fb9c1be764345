"""Demos: what a person can watch. They use only the runtimes and video rooms, so the light install runs them."""
