"""Camera to model to window: keys switch the style, the latency is drawn on the picture."""
