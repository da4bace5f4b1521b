"""Training: by gradients or by linear solution, on one process or several, resumed to the last bit."""
