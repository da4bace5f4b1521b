"""Training data: trajectories of other programs, graph stores, downloads, splits and the order of training."""
