"""Training: stylizing networks, the loss network, the hybrid loss and the two-frame synergic loop (needs torch)."""
