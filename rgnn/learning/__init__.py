"""Active learning: dynamics finds the frames that a model knows least, and a reference labels them."""
