"""Synthetic motion whose diffusion, conductivity and vibrations are known."""

import numpy as np

from rgnn.analysis.hops import Hop

# Of lithium and of atoms so heavy that the centre of mass stays, as far as displacements know.
HOPS = {3: Hop(3.0, "as given"), 92: Hop(4.0, "as given")}
LENGTH, INTERVAL = 3.0, 0.1  # Angstrom, ps


def in_a_heavy_frame(moved: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Moving lithium beside atoms that stay: positions, numbers, masses."""
    rest = np.zeros((len(moved), 4, 3))
    numbers = np.array([3] * moved.shape[1] + [92] * 4)
    return np.concatenate([moved, rest], axis=1), numbers, np.where(numbers == 3, 7.0, 1e7)


def lattice_walk(
    seed: int, frames: int = 1000, n: int = 24, rate: float = 0.05, together: int = 1, rattle: float = 0.25
) -> np.ndarray:
    """Atoms that hop by `LENGTH` along x, y or z with this chance in a frame, and rattle: [frames, n, 3].

    Groups of so many atoms hop together, so their Haven ratio is 1 / together.
    """
    rng = np.random.default_rng(seed)
    shape = (frames, n // together)
    hops = LENGTH * (rng.random(shape) < rate) * rng.choice([-1, 1], shape)
    steps = np.zeros((*shape, 3))
    np.put_along_axis(steps, rng.integers(0, 3, shape)[..., None], hops[..., None], axis=2)
    return np.repeat(np.cumsum(steps, axis=0), together, axis=1) + rng.normal(0, rattle, (frames, n, 3))


def known_diffusion(rate: float) -> float:
    """Of such walkers, square centimetres per second."""
    return rate * LENGTH**2 / (6 * INTERVAL) * 1e-4


def caged(seed: int, frames: int = 400, n: int = 4, size: float = 0.4, memory: float = 0.97) -> np.ndarray:
    """Atoms in harmonic cages that lose memory slowly: [frames, n, 3] of this standard deviation."""
    rng = np.random.default_rng(seed)
    x = np.empty((frames, n, 3))
    x[0] = rng.normal(0, size, (n, 3))
    for t in range(1, frames):
        x[t] = memory * x[t - 1] + (1 - memory**2) ** 0.5 * rng.normal(0, size, (n, 3))
    return x
