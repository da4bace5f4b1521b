"""The graph store: labelled frames with their edges in blocks of zarr arrays, and a ledger of the blocks.

A new store grows in a folder `X.zarr.partial` and is renamed when it is whole; an append grows in place, block by
block. Readers may have the store open meanwhile: blocks never change, and the ledger is replaced as a whole.
"""

import hashlib
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rgnn.base.errors import InputError
from rgnn.data.frames import EdgeFrame, Frame
from rgnn.data.store.blocks import Block, read_column
from rgnn.data.store.ledger import ROOT, Ledger, Source, damaged
from rgnn.graphs.graph import Graph, cell_volume
from rgnn.graphs.neighbours import edge_vectors

# A store up to this size stays in memory once it is read; of a larger one, only some blocks
IN_MEMORY = 2 << 30
# do, which has to be those of one shuffled window of training (see rgnn.data.loader) and some more.
WINDOW = 8
CACHED_BLOCKS = WINDOW + 2


class GraphStore:
    """A store opened for reading; frames by number.

    Args:
        path: of the store.

    Attributes:
        path, ledger: of the store.
        cutoff: Angstrom.
        force_rms: eV/Angstrom.

    Raises:
        InputError: no store there, of another version, or damaged.
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
        """Of the cutoff and all frames in their order, however they are divided into blocks."""
        state = hashlib.sha256(repr(self.cutoff).encode())
        state.update(self.column("digest").tobytes())
        return state.hexdigest()

    def column(self, name: str) -> np.ndarray:
        """What there is one of for each frame: "n_atoms", "energy", "temperature" or "digest"."""
        parts = [read_column(self.path / block.name, name, block) for block in self.ledger.blocks]
        return np.concatenate(parts) if parts else np.empty(0)

    def load_block(self, number: int) -> Block:
        """Read one block from the disk, compared with its checksums.

        Raises:
            InputError: something in it is lost or altered.
        """
        record = self.ledger.blocks[number]
        return Block.load(self.path / record.name, record)

    def _block(self, number: int) -> Block:
        """The same, kept for the next time."""
        with self._lock:
            if number not in self._blocks:
                self._blocks[number] = self.load_block(number)
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
        """The labelled graph of one frame; edge vectors are computed anew from float64 positions."""
        block, k = self.place(index)
        return graph_of(self._block(block), k)

    def frames(self) -> Iterator[Frame | EdgeFrame]:
        """All frames in their order, one block in memory at a time."""
        for number, record in enumerate(self.ledger.blocks):
            block = self.load_block(number)
            yield from (block.frame(k) for k in range(record.frames))

    def summary(self) -> dict[str, Any]:
        """What a table shows of the store."""
        from ase.data import chemical_symbols

        temperature, atoms = self.column("temperature"), self.column("n_atoms")
        temperatures = Counter(temperature[~np.isnan(temperature)].tolist())
        size = f"{atoms.min()}" if atoms.min() == atoms.max() else f"{atoms.min()} to {atoms.max()}"
        blocks = self.ledger.blocks
        neighbours = Counter[int]()
        for block in blocks:
            neighbours.update(dict(enumerate(block.neighbours)))
        there = [n for n, count in neighbours.items() if count]
        mean = sum(b.edges for b in blocks) / sum(b.atoms for b in blocks)
        skipped = sum((Counter(s.skipped) for s in self.sources), Counter[str]())
        summary = {
            "frames": len(self),
            "atoms in a frame": size,
            "elements": ", ".join(f"{chemical_symbols[z]} {n:,}" for z, n in self.element_counts.items()),
            "cutoff": f"{self.cutoff:g} Å",
            "neighbours": f"{mean:.1f} of an atom on average, {min(there)} to {max(there)}",
            "force": f"{self.force_rms:.3f} eV/Å root mean square of a component",
            "temperatures": _listed(temperatures) or "not recorded",
            "sources": ", ".join(f"{s.name} ({s.frames})" for s in self.sources),
        }
        if labels := {s.labels for s in self.sources if s.labels}:
            summary["labels"] = ", ".join(sorted(labels))
        if skipped:
            summary["left out"] = ", ".join(f"{n} {reason}" for reason, n in skipped.most_common())
        if self.ledger.pending is not None:
            summary["unfinished"] = "an append broke off; the same command goes on with it"
        return summary

    def verify(self) -> None:
        """Read everything and compare with the checksums.

        Raises:
            InputError: something is lost or altered.
        """
        for number in range(len(self.ledger.blocks)):
            self.load_block(number)


def _listed(temperatures: Mapping[float, int]) -> str:
    """Frames by temperature; only the range where there are many."""
    if len(temperatures) > 12:
        return f"{min(temperatures):g} to {max(temperatures):g} K"
    return ", ".join(f"{t:g} K: {n}" for t, n in sorted(temperatures.items()))


def graph_of(block: Block, k: int) -> Graph:
    """The labelled graph of one frame of a block."""
    frame, (index, shift) = block.frame(k), block.edges(k)
    if isinstance(frame, EdgeFrame):
        return Graph.from_arrays(frame.numbers, index, frame.edge_vector, frame.forces)
    vector = edge_vectors(frame.positions, frame.cell, index, shift)
    return Graph.from_arrays(frame.numbers, index, vector, frame.forces, cell_volume(frame.cell, frame.pbc))


def require_cutoff(store: GraphStore, cutoff: float) -> None:
    """Raise InputError where the store was made with another cutoff."""
    _require(store.path, store.cutoff, cutoff)


def _require(path: Path, there: float, cutoff: float) -> None:
    if abs(there - cutoff) > 1e-9:
        raise InputError(
            f"{path}: was made with cutoff {there:g} Angstrom, but {cutoff:g} is needed; "
            f"rgnn convert {path} --cutoff {cutoff:g} --out another.zarr makes one."
        )
