"""The graph store: labelled frames with their edges in blocks of zarr arrays, and a ledger of the blocks.

A new store grows in a folder `X.zarr.partial` and is renamed when it is whole; an append grows in place, block by
block. Readers may have the store open meanwhile: blocks never change, and the ledger is replaced as a whole.
"""

import hashlib
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from rgnn.base.errors import InputError
from rgnn.data.frames import EdgeFrame, Frame
from rgnn.data.store.blocks import Block, read_column
from rgnn.data.store.ledger import ROOT, Ledger, Source, damaged
from rgnn.data.store.summary import MotionSummary, SourceSummary, StoreSummary
from rgnn.graphs.graph import Graph, cell_volume
from rgnn.graphs.neighbours import edge_vectors

# A store up to this size, in bytes, stays in memory once it is read.
IN_MEMORY = 2 << 30
# Blocks of a shuffled window of training (see rgnn.data.loader).
WINDOW = 8
# Blocks of a larger store that stay in memory: those of a window and some more.
CACHED_BLOCKS = WINDOW + 2


# Of so many edges, some are nearly as long as the cutoff.
MANY_EDGES, SHORT = 1000, 0.9
# Columns that not all blocks have, and the shape of one value.
_LATER: dict[str, tuple[int, ...]] = {"time": (), "stress": (6,), "kinetic_temperature": ()}


class GraphStore:
    """A store opened for reading: `store[i]` is the labelled graph of frame i, and iterating gives all of them.

    Args:
        path: of the store.

    Attributes:
        path: of the store.
        ledger: what is known of the store besides its arrays.
        first: [blocks + 1] the number of the first frame of each block, and the number of frames.
        cutoff: largest length of an edge, in Angstrom.
        force_rms: root mean square of a force component, in eV/Angstrom.

    Raises:
        InputError: there is no store, or it is of another version or damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.ledger = Ledger.load(self.path)
        lost = [b.name for b in self.ledger.blocks if not (self.path / b.name / ROOT).is_file()]
        if lost:
            raise damaged(self.path, f"block {lost[0]} is missing")
        self.cutoff, self.force_rms = self.ledger.cutoff, self.ledger.force_rms
        self.first = np.cumsum([0] + [block.frames for block in self.ledger.blocks])
        size = sum(block.atoms * 53 + block.edges * 6 for block in self.ledger.blocks)
        self._kept = len(self.ledger.blocks) if size <= IN_MEMORY else CACHED_BLOCKS
        self._blocks: OrderedDict[int, Block] = OrderedDict()
        self._lock = threading.Lock()  # frames may be asked for by several threads

    def __len__(self) -> int:
        return int(self.first[-1])

    def __getitem__(self, index: int) -> Graph:
        """The labelled graph of one frame, as `graph`; -1 is the last."""
        return self.graph(index)

    def __iter__(self) -> Iterator[Graph]:
        """The labelled graphs of all frames in their order."""
        return (self.graph(index) for index in range(len(self)))

    def __repr__(self) -> str:
        from ase.data import chemical_symbols

        elements = " ".join(chemical_symbols[z] for z in self.elements)
        return f"GraphStore('{self.path}', {len(self):,} frames of {elements}, cutoff {self.cutoff:g} Angstrom)"

    @property
    def in_memory(self) -> bool:
        """Whether the store stays in memory once it is read."""
        return self._kept >= len(self.ledger.blocks)

    @property
    def sources(self) -> list[Source]:
        """Files that the frames came from."""
        return self.ledger.sources

    @property
    def element_counts(self) -> dict[int, int]:
        """Atoms of each atomic number."""
        return dict(sorted(self.ledger.elements.items()))

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers in the store."""
        return tuple(self.element_counts)

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of the cutoff and all frames in their order, however they are divided into blocks."""
        state = hashlib.sha256(repr(self.cutoff).encode())
        state.update(self.column("digest").tobytes())
        return state.hexdigest()

    def begins_with(self, checksum: str) -> int | None:
        """So many of its first frames make a store of this checksum, as before an append; None where none do."""
        if checksum == self.checksum:
            return len(self)
        state = hashlib.sha256(repr(self.cutoff).encode())
        for number, digest in enumerate(self.column("digest"), 1):
            state.update(digest.tobytes())
            if state.hexdigest() == checksum:
                return number
        return None

    def column(self, name: str) -> np.ndarray:
        """[frames] one value of each frame: "n_atoms", "energy" (eV), "temperature" (K), "time" (fs) or "digest".

        Or "kinetic_temperature" (K), where files have velocities, or [frames, 6] "stress" (eV/Angstrom^3). What is not
        known is NaN.

        Raises:
            InputError: something in it is lost or altered.
        """
        parts = [
            read_column(self.path / block.name, name, block)
            if name in block.crc32 or name not in _LATER
            else np.full((block.frames, *_LATER[name]), np.nan)
            for block in self.ledger.blocks
        ]
        return np.concatenate(parts) if parts else np.empty(0)

    def load_block(self, number: int) -> Block:
        """Read one block from the disk, compared with its checksums.

        Raises:
            InputError: something in it is lost or altered.
        """
        record = self.ledger.blocks[number]
        return Block.load(self.path / record.name, record)

    def _block(self, number: int) -> Block:
        """One block, which is kept for the next time."""
        with self._lock:
            if number not in self._blocks:
                self._blocks[number] = block = self.load_block(number)
                if len(self._blocks) == 1 and block.positions is not None:
                    self._require_edges(self._longest_edge(block), len(block.neighbour))
                if len(self._blocks) > self._kept:
                    self._blocks.popitem(last=False)
            self._blocks.move_to_end(number)
            return self._blocks[number]

    def place(self, index: int) -> tuple[int, int]:
        """The block of a frame, and its place in it.

        Raises:
            IndexError: there is no such frame.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        index %= len(self)
        block = int(np.searchsorted(self.first, index, side="right")) - 1
        return block, index - int(self.first[block])

    def frame(self, index: int) -> Frame:
        """Atoms and labels of one frame.

        Raises:
            InputError: the store was made of graphs without positions.
        """
        block, k = self.place(index)
        frame = self._block(block).frame(k)
        if isinstance(frame, EdgeFrame):
            raise InputError(f"{self.path}: frame {index} has edges but no positions, as the data it was made of.")
        return frame

    def graph(self, index: int) -> Graph:
        """The labelled graph of one frame; edge vectors are computed from float64 positions."""
        block, k = self.place(index)
        return graph_of(self._block(block), k)

    def frames(self) -> Iterator[Frame | EdgeFrame]:
        """All frames in their order, one block in memory at a time."""
        for number, record in enumerate(self.ledger.blocks):
            block = self.load_block(number)
            yield from (block.frame(k) for k in range(record.frames))

    def summary(self) -> StoreSummary:
        """What the store holds, in numbers.

        Raises:
            InputError: something in it is lost or altered.
        """
        from ase.data import chemical_symbols

        blocks, atoms, temperature = self.ledger.blocks, self.column("n_atoms"), self.column("temperature")
        temperatures = Counter(temperature[~np.isnan(temperature)].tolist())
        neighbours = sum((Counter(dict(enumerate(block.neighbours))) for block in blocks), Counter[int]())
        n_atoms, n_edges = sum(block.atoms for block in blocks), sum(block.edges for block in blocks)
        return StoreSummary(
            frames=len(self),
            atoms=n_atoms,
            edges=n_edges,
            smallest_frame_atoms=int(atoms.min()),
            largest_frame_atoms=int(atoms.max()),
            elements={chemical_symbols[z]: n for z, n in self.element_counts.items()},
            cutoff_angstrom=self.cutoff,
            mean_neighbours=n_edges / n_atoms,
            fewest_neighbours=min(neighbours),
            most_neighbours=max(neighbours),
            force_rms_ev_per_angstrom=self.force_rms,
            temperatures_kelvin=dict(sorted(temperatures.items())),
            sources=tuple(SourceSummary(s.name, s.frames, dict(s.skipped), s.labels) for s in self.sources),
            unfinished=self.ledger.pending is not None,
            velocities=MotionSummary.of(temperature, self.column("kinetic_temperature")),
        )

    def verify(self) -> None:
        """Read everything and compare with the checksums.

        Raises:
            InputError: something is lost or altered.
        """
        longest = max((self._longest_edge(self.load_block(n)) for n in range(len(self.ledger.blocks))), default=0.0)
        self._require_edges(longest, sum(block.edges for block in self.ledger.blocks))

    @staticmethod
    def _longest_edge(block: Block) -> float:
        """In Angstrom."""
        if block.edge_vector is not None:
            return float(np.linalg.norm(block.edge_vector, axis=1).max(initial=0.0))
        vectors = (graph_of(block, k).edge_length for k in range(len(block.n_atoms)))
        return max((float(length.max()) for length in vectors if len(length)), default=0.0)

    def _require_edges(self, longest: float, edges: int) -> None:
        """Raise InputError where edges are longer than the cutoff, or all of many so short that it is another one."""
        cutoff = self.cutoff
        if longest > cutoff * (1 + 1e-6) or (edges > MANY_EDGES and longest < SHORT * cutoff):
            raise damaged(self.path, f"its longest edge is {longest:.4g} Angstrom, and its cutoff {cutoff:g}")


def graph_of(block: Block, k: int) -> Graph:
    """The labelled graph of one frame of a block."""
    frame, (index, shift) = block.frame(k), block.edges(k)
    if isinstance(frame, EdgeFrame):
        return Graph.from_arrays(frame.numbers, index, frame.edge_vector, frame.forces)
    vector = edge_vectors(frame.positions, frame.cell, index, shift)
    volume = cell_volume(frame.cell, frame.pbc)
    return Graph.from_arrays(frame.numbers, index, vector, frame.forces, volume, frame.energy, frame.stress)


def require_cutoff(store: GraphStore, cutoff: float) -> None:
    """Raise InputError where the store was made with another cutoff than this one, in Angstrom."""
    store.ledger.require_cutoff(store.path, cutoff)
