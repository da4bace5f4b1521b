"""Molecular dynamics on many processes: LAMMPS moves the atoms, ranks exchange what forces need."""
