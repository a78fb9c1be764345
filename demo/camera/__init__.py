"""A camera through a model into a window: styles switched by keys, the latency on the picture."""
