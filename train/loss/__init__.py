"""The losses of training and the scores of the benchmark, all on one loss network."""
