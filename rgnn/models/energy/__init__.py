"""The family of energies of neighbourhoods: forces and stress are derivatives, read from the same cells."""
