"""Blocks of a graph store: some hundred frames with their edges, as flat arrays of one zarr chunk each.

A block is written once, by one process, and never changed. Edges are kept as each atom's number of neighbours and
the list of the neighbours; their vectors are computed from float64 positions when they are read.
"""

import os
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from rgnn.base.errors import first_line
from rgnn.data.frames import EdgeFrame, Frame, Unusable, check_forces
from rgnn.data.store.ledger import BlockRecord, damaged
from rgnn.graphs.neighbours import CLOSEST, edge_vectors, neighbour_list

# Atoms in a block (about 5 MB of arrays), and frames in one of small molecules.
BLOCK_ATOMS, BLOCK_FRAMES = 65_536, 4096
# Two elements are kept as one number, this times the lighter plus the heavier.
_PAIRS = 1000


@dataclass(frozen=True)
class Edges:
    """The edges of a frame: [2, E] index sorted by (i, j, shift), [E, 3] shifts in cell vectors, [E] Angstrom."""

    index: np.ndarray
    shift: np.ndarray
    length: np.ndarray


def find_edges(frame: Frame, cutoff: float, where: str) -> Edges:
    """The edges of a frame; `where` names it in errors.

    Raises:
        Unusable: no atom has a neighbour, two lie on top of each other, or one is far outside its cell.
    """
    index, shift = neighbour_list(frame.positions, frame.cell, frame.pbc, cutoff)
    if not index.shape[1]:
        raise Unusable(
            f"{where}: no atom has a neighbour within {cutoff:g} Angstrom; give a larger --cutoff, "
            "or check the unit of its positions.",
            "no neighbours",
        )
    vector = edge_vectors(frame.positions, frame.cell, index, shift)
    length = np.sqrt(np.einsum("ij,ij->i", vector, vector))
    if length.min() < CLOSEST:
        i, j = index[:, length.argmin()]
        raise Unusable(f"{where}: atoms {i} and {j} are {length.min():.3g} Angstrom apart.", "atoms too close")
    if np.abs(shift).max() > 127:
        raise Unusable(f"{where}: an atom lies over 127 cells away from its neighbours; wrap it.", "atoms far outside")
    return Edges(index, shift.astype(np.int8), length)


@dataclass(frozen=True)
class Block:
    """Frames with their edges; A atoms, E edges and F frames in all.

    Attributes:
        numbers: [A] uint8 atomic numbers.
        forces: [A, 3] float64, eV/Angstrom.
        n_neighbours: [A] uint32.
        neighbour: [E] uint16 or int32 place of the neighbour in its frame, by atom, sorted by (j, shift).
        n_atoms: [F] int32.
        energy: [F] float64 eV, and `temperature`: [F] float64 K; NaN where unknown.
        digest: [F] uint64 of each frame.
        time: [F] float64 fs, and `stress`: [F, 6] float64 eV/Angstrom^3; NaN where unknown, None in old stores.
        kinetic_temperature: [F] float64 K; NaN where unknown, None where it is unknown of all frames.
        positions: [A, 3] float64 Angstrom; `cell`: [F, 3, 3]; `pbc`: [F, 3]; `edge_shift`: [E, 3] int8 cell vectors.
        edge_vector: [E, 3] Angstrom, in their place where the data have no positions.
    """

    numbers: np.ndarray
    forces: np.ndarray
    n_neighbours: np.ndarray
    neighbour: np.ndarray
    n_atoms: np.ndarray
    energy: np.ndarray
    temperature: np.ndarray
    digest: np.ndarray
    time: np.ndarray | None = None
    stress: np.ndarray | None = None
    kinetic_temperature: np.ndarray | None = None
    positions: np.ndarray | None = None
    cell: np.ndarray | None = None
    pbc: np.ndarray | None = None
    edge_shift: np.ndarray | None = None
    edge_vector: np.ndarray | None = None

    @classmethod
    def of_frames(cls, frames: Sequence[Frame], edges: Sequence[Edges]) -> Self:
        """From frames and their edges."""
        moving = [f.kinetic_temperature for f in frames]
        return cls(
            **_common(frames, [e.index for e in edges]),
            energy=_known([f.energy for f in frames]),
            temperature=_known([f.temperature for f in frames]),
            time=_known([f.time for f in frames]),
            stress=np.stack([np.full(6, np.nan) if f.stress is None else f.stress for f in frames]),
            kinetic_temperature=None if moving.count(None) == len(moving) else _known(moving),
            positions=np.concatenate([f.positions for f in frames]).astype(np.float64),
            cell=np.stack([f.cell for f in frames]).astype(np.float64),
            pbc=np.stack([f.pbc for f in frames]).astype(bool),
            edge_shift=np.concatenate([e.shift for e in edges]),
        )

    @classmethod
    def of_edge_frames(cls, frames: Sequence[EdgeFrame]) -> Self:
        """From graphs without positions."""
        return cls(
            **_common(frames, [f.edge_index for f in frames]),
            energy=_known([None] * len(frames)),
            temperature=_known([None] * len(frames)),
            edge_vector=np.concatenate([f.edge_vector for f in frames]),
        )

    @cached_property
    def _first(self) -> tuple[np.ndarray, np.ndarray]:
        """[F + 1] the first atom and the first edge of each frame."""
        atom = np.concatenate([[0], np.cumsum(self.n_atoms, dtype=np.int64)])
        edge = np.concatenate([[0], np.cumsum(self.n_neighbours, dtype=np.int64)])
        return atom, edge[atom]

    def _parts(self, k: int) -> tuple[slice, slice]:
        """The atoms and the edges of frame k."""
        atom, edge = self._first
        return slice(atom[k], atom[k + 1]), slice(edge[k], edge[k + 1])

    def frame(self, k: int) -> Frame | EdgeFrame:
        """Frame k."""
        atoms, edges = self._parts(k)
        numbers, forces = self.numbers[atoms].astype(np.int64), self.forces[atoms]
        if self.positions is None or self.cell is None or self.pbc is None:
            assert self.edge_vector is not None
            return EdgeFrame(numbers, self.edges(k)[0], self.edge_vector[edges], forces)
        known = (self.energy, self.temperature, self.time, self.kinetic_temperature)
        energy, temperature, time, kinetic = (None if x is None or np.isnan(x[k]) else float(x[k]) for x in known)
        stress = None if self.stress is None or np.isnan(self.stress[k]).any() else self.stress[k]
        return Frame(
            numbers,
            self.positions[atoms],
            self.cell[k],
            self.pbc[k],
            forces,
            energy,
            temperature,
            time,
            stress,
            kinetic,
        )

    def edges(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """[2, E] int64 edge index of frame k, and [E, 3] shifts (none where the data have no positions)."""
        atoms, edges = self._parts(k)
        centre = np.repeat(np.arange(atoms.stop - atoms.start), self.n_neighbours[atoms])
        index = np.stack([centre, self.neighbour[edges].astype(np.int64)])
        return index, np.empty((0, 3), np.int8) if self.edge_shift is None else self.edge_shift[edges]

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that there are, by name."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: np.ascontiguousarray(array) for name, array in named.items() if array is not None}

    def record(self, name: str, spacing: float, nearest_spread: float) -> BlockRecord:
        """What the ledger says of it."""
        elements = Counter(self.numbers.tolist())
        return BlockRecord(
            name=name,
            frames=len(self.n_atoms),
            atoms=len(self.numbers),
            edges=len(self.neighbour),
            crc32={name: zlib.crc32(array.data) for name, array in self.arrays.items()},
            elements={z: elements[z] for z in sorted(elements)},
            force_squares=float(np.square(self.forces).sum()),
            neighbours=np.bincount(self.n_neighbours).tolist(),
            spacing=spacing,
            nearest_spread=nearest_spread,
        )

    def save(self, path: str | Path) -> None:
        """Write a zarr group, flushed to the disk.

        Raises:
            OSError: as the system gives it.
        """
        import zarr

        group = zarr.create_group(Path(path), overwrite=True)
        with zarr.config.set({"array.write_empty_chunks": True}):  # a chunk that is missing is then always damage
            for name, array in self.arrays.items():
                made = group.create_array(
                    name,
                    shape=array.shape,
                    chunks=tuple(max(1, n) for n in array.shape),
                    dtype=array.dtype,
                    compressors=zarr.codecs.BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"),
                )
                made[...] = array
        for file in Path(path).rglob("*"):
            if file.is_file():
                with file.open("rb") as opened:
                    os.fsync(opened.fileno())

    @classmethod
    def load(cls, path: str | Path, record: BlockRecord) -> Self:
        """Read the block at `path` and compare it with its record.

        Raises:
            InputError: something is lost or altered.
        """
        known = {field.name for field in fields(cls)}
        block = cls(**{name: read_column(path, name, record) for name in record.crc32 if name in known})
        found = len(block.n_atoms), len(block.numbers), len(block.neighbour), dict(Counter(block.numbers.tolist()))
        if found != (record.frames, record.atoms, record.edges, record.elements):
            raise damaged(Path(path).parent, f"block {Path(path).name} does not hold what the ledger says of it")
        return block


def read_column(path: str | Path, name: str, record: BlockRecord) -> np.ndarray:
    """One array of a block, compared with its record.

    Raises:
        InputError: it is lost or altered.
    """
    import zarr

    path = Path(path)
    try:
        array: Any = zarr.open_group(path, mode="r")[name]
        missing = array.nchunks_initialized != array.nchunks
        values = np.ascontiguousarray(array[...])
    except Exception as error:  # zarr and its decoders raise whatever they run into
        raise damaged(path.parent, f"block {path.name}, array '{name}': {first_line(error)}") from None
    if missing or zlib.crc32(values.data) != record.crc32[name]:
        raise damaged(path.parent, f"block {path.name}, array '{name}' does not agree with its checksum")
    return values


def _common(frames: Sequence[Frame | EdgeFrame], edge_index: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    most = max(len(f.numbers) for f in frames)
    pairs = list(zip(frames, edge_index, strict=True))
    return {
        "numbers": np.concatenate([f.numbers for f in frames]).astype(np.uint8),
        "forces": np.concatenate([f.forces for f in frames]).astype(np.float64),
        "n_neighbours": np.concatenate([np.bincount(index[0], minlength=len(f.numbers)) for f, index in pairs]).astype(
            np.uint32
        ),
        "neighbour": np.concatenate([index[1] for index in edge_index]).astype(
            np.uint16 if most <= 2**16 else np.int32
        ),
        "n_atoms": np.array([len(f.numbers) for f in frames], np.int32),
        "digest": np.array([f.digest for f in frames], np.uint64),
    }


def _known(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def nearest(frame: Frame | EdgeFrame, index: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The length of the shortest edge of each atom that has one, Angstrom, and the two elements as one number."""
    i, j = index  # sorted by i
    starts = np.flatnonzero(np.diff(i, prepend=-1))
    shortest = np.repeat(np.minimum.reduceat(length, starts), np.diff(starts, append=len(i)))
    shortest_edges = np.flatnonzero(length == shortest)
    first = shortest_edges[np.flatnonzero(np.diff(i[shortest_edges], prepend=-1))]
    a, b = frame.numbers[i[first]], frame.numbers[j[first]]
    return length[first], _PAIRS * np.minimum(a, b).astype(np.int64) + np.maximum(a, b)


def spacing(length: np.ndarray, pair: np.ndarray) -> float:
    """Median over atoms of the distance to the nearest neighbour over the sum of the covalent radii."""
    from ase.data import covalent_radii

    return float(np.median(length / (covalent_radii[pair // _PAIRS] + covalent_radii[pair % _PAIRS])))


def nearest_spread(length: np.ndarray, pair: np.ndarray) -> float:
    """Standard deviation of the distance to the nearest neighbour among atoms with the same pair of elements."""
    _, place, count = np.unique(pair, return_inverse=True, return_counts=True)
    mean = np.bincount(place, length) / count
    return float(np.sqrt(np.mean((length - mean[place]) ** 2)))


Report = Callable[[int, Unusable], None]


def write_block(
    frames: Sequence[Frame | EdgeFrame],
    where: Sequence[str],
    cutoff: float,
    path: str | Path,
    unusable: Report,
) -> BlockRecord | None:
    """Search the edges of frames and write them as the block at `path`; None where none of them can be used.

    Args:
        frames: all with positions, or all without.
        where: names them in errors.
        cutoff: Angstrom.
        path: to write to; its last part, up to a dot, is the name in its record.
        unusable: called with the place of a frame that is left out, and the reason; it may raise.
    """
    edges: dict[int, Edges] = {}
    for place, (frame, name) in enumerate(zip(frames, where, strict=True)):
        if not np.isfinite(frame.forces).all():
            try:
                check_forces(frame.forces, len(frame.numbers), name)
            except Unusable as problem:
                unusable(place, problem)
            continue
        if isinstance(frame, EdgeFrame):
            edges[place] = Edges(frame.edge_index, np.empty(0), np.linalg.norm(frame.edge_vector, axis=1))
            continue
        try:
            edges[place] = find_edges(frame, cutoff, name)
        except Unusable as problem:
            unusable(place, problem)
    if not edges:
        return None
    kept = [frames[place] for place in edges]
    with_positions = [f for f in kept if isinstance(f, Frame)]
    block = (
        Block.of_frames(with_positions, list(edges.values()))
        if with_positions
        else Block.of_edge_frames([f for f in kept if isinstance(f, EdgeFrame)])
    )
    block.save(path)
    found = [nearest(frames[place], e.index, e.length) for place, e in edges.items() if len(e.length)]
    each = float(np.median([spacing(*one) for one in found])) if found else float("nan")
    spread = nearest_spread(*(np.concatenate(part) for part in zip(*found, strict=True))) if found else float("nan")
    return block.record(Path(path).name.partition(".")[0], each, spread)
