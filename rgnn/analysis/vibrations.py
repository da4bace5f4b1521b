"""Vibrational density of states: the spectrum of velocities, where frames are near enough to hold it.

g(f) of an element is the Fourier transform of the autocorrelation of its velocities, taken as the mean power spectrum
of stretches under Hann's window (Wiener and Khinchin), and normalised to 1. Frames that are too far apart fold high
frequencies down to low ones without a trace in the velocities alone. The positions know better: a vibration of
frequency f moves an atom between two frames by tan(pi f dt) / (pi f) times the mean of its velocities in both, so the
two spectra agree at the frequencies that are what they seem.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.data import chemical_symbols
from scipy.signal.windows import hann

from rgnn.md.constraints import freedom, is_anchored

# Length of a stretch in ps, which decides on the resolution, and the least that is worth a spectrum.
STRETCH, SHORTEST = 4.0, 0.5
# Atoms times frames of a stretch that are kept: 48 MB. Of larger structures, some atoms of each element.
KEPT = 2_000_000
# Part of the highest frequency that the frames can hold, beyond which there may be next to nothing.
EDGE, BEYOND = 0.8, 0.01
# Ratio of the two spectra that passes for agreement (integrators bend it a little), and the part of them that may not.
AGREEMENT, FOLDED = 0.3, 0.02
# Highest frequencies of solids and molecules in THz: O-H stretches at 3,700 /cm, without hydrogen N2 at 2,359 /cm
# (Huber & Herzberg, Constants of Diatomic Molecules, 1979).
WITH_HYDROGEN, WITHOUT_HYDROGEN = 112.0, 71.0
# The highest frequency of an atom over the root of its mean square, which the forces tell; sqrt(3) where one in three
# of its directions is stiff.
HIGHEST = 2.0
# 1 THz in 1/cm, and ASE's units of velocity in Angstrom per ps.
PER_CM = 33.35641
ANGSTROM_PER_PS = 1000 * units.fs


@dataclass(frozen=True)
class Vibrations:
    """Density of states of each element.

    Attributes:
        frequency: [F] THz.
        density: atomic number -> [F] per THz, of integral 1.
        atoms: atomic number -> atoms that are free to move.
        stretch: ps that a spectrum is taken over; its inverse is the resolution.
        stretches: that were averaged.
    """

    frequency: np.ndarray
    density: Mapping[int, np.ndarray]
    atoms: Mapping[int, int]
    stretch: float
    stretches: int

    @property
    def total(self) -> np.ndarray:
        """[F] of all atoms, per THz, of integral 1."""
        n = sum(self.atoms.values())
        return np.sum([self.atoms[z] / n * g for z, g in self.density.items()], axis=0)

    def mean(self, element: int) -> float:
        """Mean frequency of an element in THz."""
        g = self.density[element]
        return float(g @ self.frequency / g.sum())

    def below(self, element: int, part: float) -> float:
        """Frequency in THz below which a part of an element's states is."""
        summed = np.cumsum(self.density[element])
        return float(np.interp(part * summed[-1], summed, self.frequency))


class Spectra:
    """Takes frames one by one and adds up the spectra of their stretches, of the atoms that are free to move.

    Args:
        atoms: the first frame, with its constraints.
        interval: between frames in ps.
        frames: that will come.
    """

    def __init__(self, atoms: Atoms, interval: float, frames: int) -> None:
        self.masses, self.interval, self.anchored = atoms.get_masses(), interval, is_anchored(atoms)
        numbers = atoms.numbers
        free = freedom(atoms) > 0
        if not (self.anchored and free.any()):
            free[:] = True
        self.length = min(frames, round(STRETCH / interval))
        self.enough = self.length >= 8 and (self.length - 1) * interval >= SHORTEST
        self.elements = np.unique(numbers[free]).tolist()
        share = min(1.0, KEPT / max(1, self.length * len(numbers)))
        self.groups = groups = [np.flatnonzero((numbers == z) & free) for z in self.elements]
        self.chosen = [group[: max(1, int(share * len(group)))] for group in groups]
        self.which = np.concatenate(self.chosen)
        n = len(self.which)
        self._velocities, self._positions = (np.empty((self.length, n, 3), np.float32) for _ in range(2))
        self._fill = self.stretches = 0
        bins = self.length // 2 + 1
        self.power, self.folded, self.used = (np.zeros((len(self.elements), bins)) for _ in range(3))
        self.forces, self.squares = (np.zeros(len(self.elements)) for _ in range(2))
        self.complete = True

    def add(self, atoms: Atoms) -> None:
        """The next frame, with unwrapped positions."""
        if not self.enough or not self.complete:
            return
        if not atoms.has("momenta"):
            self.complete = False
            return
        v = atoms.get_velocities() * ANGSTROM_PER_PS
        # From the centre of mass, unless anchored atoms say what stands still.
        weights = np.zeros(len(v)) if self.anchored else self.masses / self.masses.sum()
        self._velocities[self._fill] = (v - weights @ v)[self.which]
        self._positions[self._fill] = (atoms.positions - weights @ atoms.positions)[self.which]
        self._look_at_forces(atoms, v)
        self._fill += 1
        if self._fill == self.length:
            self._transform()
            half = self.length // 2  # stretches overlap by half
            for kept in (self._velocities, self._positions):
                kept[: self.length - half] = kept[half:].copy()
            self._fill = self.length - half

    def _look_at_forces(self, atoms: Atoms, v: np.ndarray) -> None:
        found = {} if atoms.calc is None else atoms.calc.results
        if (forces := found.get("forces")) is None:
            return
        pushed = np.square(forces / self.masses[:, None]).sum(axis=1) * (ANGSTROM_PER_PS * 1000 * units.fs) ** 2
        moving = np.square(v).sum(axis=1)
        for row, mine in enumerate(self.groups):
            self.forces[row] += pushed[mine].sum()
            self.squares[row] += moving[mine].sum()

    def _transform(self) -> None:
        shape = hann(self.length, sym=False)[:, None, None]
        v = np.fft.rfft(shape * self._velocities, axis=0)
        # Of the steps between frames and of the mean velocities over them, under the same window.
        shape = hann(self.length - 1, sym=False)[:, None, None]
        steps, means = np.diff(self._positions, axis=0), 0.5 * (self._velocities[1:] + self._velocities[:-1])
        stepped, mean = (np.fft.rfft(shape * x, n=self.length, axis=0) for x in (steps, means))
        start = 0
        for row, group in enumerate(self.chosen):
            mine = slice(start, start + len(group))
            start += len(group)
            for sums, x in ((self.power, v), (self.folded, stepped), (self.used, mean)):
                sums[row] += np.square(np.abs(x[:, mine])).sum(axis=(1, 2)) / len(group)
        self.stretches += 1

    def result(self, timestep: float | None = None) -> Vibrations | str:
        """The density of states, or why there is none, in words.

        Args:
            timestep: of the run in fs, where it is one of rgnn; the words then name `--every`.
        """
        if not self.enough:
            return f"the frames span too little time for one; it needs {SHORTEST:g} ps"
        if not self.complete or not self.stretches:
            return "the frames hold no velocities"
        if not self.power.any(axis=1).all():
            return "no atom moves relative to the others"
        frequency = np.arange(self.power.shape[1]) / (self.length * self.interval)
        for row, z in enumerate(self.elements):
            if self._is_too_sparse(row, frequency):
                return self._remedy(z, timestep)
        width = frequency[1]
        density = {z: p / (p.sum() * width) for z, p in zip(self.elements, self.power, strict=True)}
        atoms = {z: len(group) for z, group in zip(self.elements, self.groups, strict=True)}
        return Vibrations(frequency, density, atoms, self.length * self.interval, self.stretches)

    def _is_too_sparse(self, row: int, frequency: np.ndarray) -> bool:
        power, nyquist = self.power[row], 0.5 / self.interval
        if power[frequency > EDGE * nyquist].sum() > BEYOND * power.sum():
            return True
        inner = (frequency > 0) & (frequency <= EDGE * nyquist)
        f = frequency[inner]
        expected = np.square(np.tan(np.pi * f * self.interval) / (np.pi * f)) * self.used[row][inner]
        apart = np.abs(self.folded[row][inner] / np.maximum(expected, 1e-300) - 1) > AGREEMENT
        return bool(power[inner][apart].sum() > FOLDED * power.sum())

    def _remedy(self, element: int, timestep: float | None) -> str:
        """Which interval holds the highest frequency: as the forces tell, or as such elements have it."""
        if self.squares.all() and self.forces.all():
            highest = HIGHEST * float(np.sqrt(self.forces / self.squares).max()) / (2 * np.pi)
        else:
            highest = WITH_HYDROGEN if 1 in self.elements else WITHOUT_HYDROGEN
        wanted = EDGE / (2 * highest) * 1000  # fs
        if wanted >= 1000 * self.interval:
            return "velocities and positions of the frames do not agree; the velocities may be in other units"
        symbol = chemical_symbols[element]
        why = f"frames {1000 * self.interval:.3g} fs apart miss vibrations of {symbol}, of up to {highest:.0f} THz"
        if timestep is None:
            return f"{why}; it needs frames at most {wanted:.1f} fs apart"
        every = int(wanted / timestep)
        if every < 1:
            return f"{why}; it needs a timestep of at most {wanted:.1f} fs with --every 1"
        return f"{why}; run with --every {every}"
