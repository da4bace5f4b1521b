"""Molecular dynamics on many processes: LAMMPS moves the atoms and shares out space, ranks exchange what a force needs."""
