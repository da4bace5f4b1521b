"""The barrier of a hop, and phonons, with a model that has an energy: what ASE does, with rgnn's calculator.

    rgnn train wide.zarr --preset energy
    python examples/barrier_and_phonons.py runs/latest crystal.xyz --element Li

An atom of an element is taken out, and the hop of its nearest neighbour of the same element into the hole is followed
by a nudged elastic band. Phonons are those of the structure itself, relaxed, in a supercell. The chip is read without
noise: a path of least energy and second derivatives are those of one energy, not of a new one at each read.
"""

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.io import read, write
from ase.mep import NEB
from ase.optimize import FIRE
from ase.phonons import Phonons

import rgnn

# Where atoms are at rest, eV/Angstrom, and cm-1 of an eV.
AT_REST, WAVENUMBER = 0.03, 1 / units.invcm


def relaxed(atoms: Atoms, model: rgnn.MomentEnergy, steps: int) -> Atoms:
    """The atoms at rest in their cell, with a calculator."""
    atoms = atoms.copy()
    atoms.calc = rgnn.RGNNCalculator(model, noise=0)
    FIRE(atoms, logfile=None).run(fmax=AT_REST, steps=steps)
    return atoms


def barrier(atoms: Atoms, model: rgnn.MomentEnergy, element: str, images: int, steps: int) -> list[Atoms]:
    """A band from a vacancy in the place of the first atom of an element to one in that of the nearest of its kind."""
    same = [k for k, symbol in enumerate(atoms.symbols) if symbol == element]
    hole, others = same[0], same[1:]
    hopping = min(others, key=lambda k: atoms.get_distance(hole, k, mic=True))
    first, last = atoms.copy(), atoms.copy()
    last.positions[hopping] += last.get_distance(hopping, hole, mic=True, vector=True)
    for end in (first, last):
        del end[hole]
    band = [relaxed(first, model, steps)]
    band += [band[0].copy() for _ in range(images)] + [relaxed(last, model, steps)]
    for image in band[1:-1]:
        image.calc = rgnn.RGNNCalculator(model, noise=0)
    path = NEB(band, climb=True)
    path.interpolate(mic=True)
    FIRE(path, logfile=None).run(fmax=2 * AT_REST, steps=steps)
    return band


def frequencies(atoms: Atoms, model: rgnn.MomentEnergy, repeat: int, out: Path) -> np.ndarray:
    """[3 N] at the centre of the zone, cm-1; imaginary ones, of a structure that is not at a minimum, are negative."""
    phonons = Phonons(atoms, rgnn.RGNNCalculator(model, noise=0), supercell=(repeat,) * 3, delta=0.02, name=str(out))
    phonons.run()
    phonons.read(acoustic=True)
    return WAVENUMBER * phonons.band_structure([[0, 0, 0]], verbose=False)[0]


def main(
    model: str | Path,
    structure: str | Path,
    out: Path,
    element: str,
    repeat: int = 1,
    images: int = 5,
    steps: int = 300,
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    known = rgnn.load_model(model)
    atoms = relaxed(read(structure), known, steps)
    band = barrier(atoms, known, element, images, steps)
    energy = np.array([image.get_potential_energy() for image in band])
    write(out / "band.xyz", band)
    print("energy along the hop, eV:", " ".join(f"{e:.3f}" for e in energy - energy[0]))
    print(f"barrier: {energy.max() - energy[0]:.3f} eV")
    found = frequencies(atoms, known, repeat, out / "phonons")
    print(f"phonons at the centre of the zone: {len(found)}, from {found.min():.0f} to {found.max():.0f} cm-1")
    print(f"  beside three of translation, {np.sum(found < -5)} imaginary")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="model folder or training run")
    parser.add_argument("structure", help="periodic structure that ASE reads")
    parser.add_argument("--out", type=Path, default=Path("barrier_and_phonons"))
    parser.add_argument("--element", required=True, help="of the atom that hops")
    parser.add_argument("--repeat", type=int, default=1, help="cells of the phonons' supercell along each direction")
    given = parser.parse_args()
    main(given.model, given.structure, given.out, given.element, given.repeat)
