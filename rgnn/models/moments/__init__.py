"""The family of moments of neighbourhoods: over reads of the chip, a trained network or weights that are solved for."""
