"""A chip outside of this process: the four calls of a board, how they travel, and the simulator that answers them."""
