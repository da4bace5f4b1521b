"""The graph store: labelled frames with their edges in blocks of zarr arrays, and a ledger of the blocks.

A new store grows in a folder `X.zarr.partial` and is renamed when it is whole; an append grows in place, block by
block. Readers may have the store open meanwhile: blocks never change, and the ledger is replaced as a whole.
"""

import hashlib
import os
import re
import shutil
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np

from rgnn.blocks import BLOCK_ATOMS, BLOCK_FRAMES, Block, read_column, write_block
from rgnn.config import check_cutoff
from rgnn.errors import BrokenRunError, InputError, Interrupted
from rgnn.files import locked
from rgnn.frames import EdgeFrame, Frame, Unusable
from rgnn.graphs import Graph
from rgnn.ledger import ROOT, BlockRecord, Cursor, Ledger, Pending, Source, damaged
from rgnn.neighbours import edge_vectors
from rgnn.streams import numpy_stream

# A store up to this size stays in memory once it is read; of a larger one, only some blocks
IN_MEMORY = 2 << 30
# do, which has to be those of one shuffled window of training (see rgnn.loader) and some more.
WINDOW = 8
CACHED_BLOCKS = WINDOW + 2
# What a writer leaves when it is killed: a block that no ledger names.
BLOCK_NAME = re.compile(r"\d{5,}(\.\d+\.partial)?")


@dataclass
class Batch:
    """Frames read for one block, and what to write in the ledger with it.

    Attributes:
        frames, where: and their names for errors.
        source: place in the command of the source of each frame.
        skipped: (source, reason) of the frames before the end of the batch that are not in it.
        cursor: where reading went on after it.
    """

    frames: list[Frame | EdgeFrame] = field(default_factory=list)
    where: list[str] = field(default_factory=list)
    source: list[int] = field(default_factory=list)
    skipped: list[tuple[int, str]] = field(default_factory=list)
    cursor: Cursor = Cursor()
    atoms: int = 0

    def add(self, frame: Frame | EdgeFrame, where: str, source: int = 0) -> None:
        """Add a frame; `where` names it in errors."""
        self.frames.append(frame)
        self.where.append(where)
        self.source.append(source)
        self.atoms += len(frame.numbers)

    @property
    def full(self) -> bool:
        """Whether it is time to write it."""
        return self.atoms >= BLOCK_ATOMS or len(self.frames) >= BLOCK_FRAMES

    def takes(self, frame: Frame | EdgeFrame) -> bool:
        """Whether the frame is of the kind that the batch holds."""
        return not self.frames or type(frame) is type(self.frames[0])


class StoreWriter:
    """Writes frames to a store; a context manager that completes the store when its block ends well.

    What happens when it does not: an error undoes all of it; a kill, Ctrl-C or a full disk keeps the whole blocks,
    and a writer with the same key goes on after them.

    Args:
        path: of the store.
        cutoff: Angstrom; None takes that of the store appended to.
        append: add to the store at `path`.
        overwrite: replace the store at `path`.
        key: of the command; only a command with the same key goes on with what it began. Empty: never.
        sources: what the frames will come from.

    Attributes:
        ledger: as it stands on disk.
        already: the same command has made the store before; there is nothing to do.

    Raises:
        InputError: something is at `path` already, the store appended to has another cutoff, or another process
            writes there.
    """

    def __init__(
        self,
        path: str | Path,
        cutoff: float | None = 3.8,
        append: bool = False,
        overwrite: bool = False,
        key: str = "",
        sources: Sequence[Source] = (),
    ) -> None:
        self.path, self.append, self.key = Path(path), append, key
        self.partial = self.path.with_name(self.path.name + ".partial")
        self.replaced = self.path.with_name(f".{self.path.name}.replaced")
        self.work = self.path if append else self.partial
        self.sources = list(sources) or [Source("memory")]
        self.overwrite, self.already = overwrite, False
        if append:
            self.ledger = Ledger.load(self.path)
            if cutoff is not None:
                _require(self.path, self.ledger.cutoff, cutoff)
            return
        self.ledger = Ledger(check_cutoff(3.8 if cutoff is None else cutoff))
        if self.path.exists() and not overwrite:
            self.already = bool(key) and (self.path / ROOT).is_file() and Ledger.load(self.path).key == key
            if not self.already:
                raise InputError(
                    f"{self.path} already exists; --append adds to it, --overwrite replaces it, or choose another name."
                )
        if self.path.exists() and not (self.path / ROOT).is_file():
            raise InputError(f"{self.path} is no store, so it is not overwritten; choose another name.")

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        if not self.already:
            try:
                self._begin()
            except BaseException:
                self._stack.close()
                raise
        return self

    def _begin(self) -> None:
        """Take the lock, and find out whether there is something to go on with."""
        self.work.mkdir(parents=True, exist_ok=True)
        self._stack.enter_context(locked(self.work))
        if self.append:
            self.ledger = Ledger.load(self.path)  # anew: another may have added to it before the lock was ours
        elif left := self._left_over():
            self.ledger = left
        pending = self.ledger.pending
        if pending is None or pending.key != self.key or not self.key:
            pending = Pending(self.key, len(self.ledger.blocks), len(self.ledger.sources))
            self.ledger.pending = pending
            self.ledger.sources += self.sources
            self.ledger.save(self.work)
        self._pending = pending
        if (self.replaced / ROOT).is_file():
            shutil.rmtree(self.replaced)
        named = {block.name for block in self.ledger.blocks}
        for stray in self.work.iterdir():
            if BLOCK_NAME.fullmatch(stray.name) and stray.name not in named:
                shutil.rmtree(stray)
        self._next = 1 + max((int(name) for name in named), default=-1)
        self._batch = Batch()

    def _left_over(self) -> Ledger | None:
        """The ledger of what the same command began; what cannot be gone on with is removed, or refused."""
        there = {p.name for p in self.partial.iterdir()}
        if not there:
            return None
        if ROOT in there:
            left = Ledger.load(self.partial)
            key = left.key if left.pending is None else left.pending.key
            if key == self.key and self.key:
                # Where nothing is pending, only the rename was left to do.
                left.pending = left.pending or Pending(key, cursor=Cursor(len(self.sources)))
                return left
            if key and not self.overwrite:
                raise InputError(
                    f"{self.partial} is what a conversion that broke off has left; run its command again to complete "
                    "it, or give --overwrite to begin anew."
                )
        elif not there <= {ROOT + ".partial"}:
            raise InputError(f"{self.partial} is in the way and is no store of this program; move it elsewhere.")
        for name in there:
            lost = self.partial / name
            shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
        return None

    @property
    def cursor(self) -> Cursor:
        """Where reading has to begin or to go on."""
        return self._pending.cursor

    @property
    def new_blocks(self) -> list[BlockRecord]:
        """The blocks of this command."""
        return self.ledger.blocks[self._pending.before :]

    def digests(self) -> Iterator[int]:
        """Those of all frames in the blocks."""
        for block in self.ledger.blocks:
            yield from read_column(self.work / block.name, "digest", block).tolist()

    def add(self, frame: Frame | EdgeFrame, where: str = "a frame") -> None:
        """Add one frame; `where` names it in errors.

        Raises:
            Unusable: it has no edges, or impossible ones.
        """
        if not self._batch.takes(frame):
            self.flush()
        self._batch.add(frame, where)
        if self._batch.full:
            self.flush()

    def flush(self) -> None:
        """Write the frames added so far as a block."""

        def refuse(_: int, problem: Unusable) -> None:
            raise problem

        batch, self._batch = self._batch, Batch()
        if batch.frames:
            path = self.next_block()
            self.commit(batch, path, write_block(batch.frames, batch.where, self.ledger.cutoff, path, refuse), {})

    def next_block(self) -> Path:
        """Where to write a block before it is committed."""
        self._next += 1
        return self.work / f"{self._next - 1:05d}.{os.getpid()}.partial"

    def commit(self, batch: Batch, path: Path, record: BlockRecord | None, unusable: Mapping[int, Unusable]) -> None:
        """Put a written block in place; `unusable` are the frames of the batch that are not in it."""
        sources = self.ledger.sources[self._pending.sources_before :]
        for source, reason in [*batch.skipped, *((batch.source[k], u.reason) for k, u in unusable.items())]:
            sources[source].skipped[reason] = sources[source].skipped.get(reason, 0) + 1
        for source, count in Counter(s for k, s in enumerate(batch.source) if k not in unusable).items():
            sources[source].frames += count
        if record is not None:
            path.rename(self.work / record.name)
            self.ledger.blocks.append(record)
        self._pending.cursor = batch.cursor
        self.ledger.save(self.work)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.already:
                return
            if kind is not None:
                self._break_off(kind)
                return
            try:
                self.flush()
                self._complete()
            except BaseException as error:
                self._break_off(type(error))
                raise
        finally:
            self._stack.close()

    @property
    def resumable(self) -> bool:
        """Whether the same command can go on with what there is."""
        return bool(self.key) and bool(self.new_blocks)

    def _break_off(self, kind: type[BaseException]) -> None:
        """Keep the whole blocks where nothing was wrong with what was read; otherwise leave everything as it was."""
        if not (self.resumable and issubclass(kind, KeyboardInterrupt | Interrupted | BrokenRunError | OSError)):
            self._undo()

    def _complete(self) -> None:
        if not self.ledger.blocks:
            raise InputError(f"{self.path}: there are no frames to write.")
        self.ledger.key, self.ledger.pending = self.key, None
        self.ledger.save(self.work)
        if self.append:
            return
        if not self.path.exists():
            self.partial.rename(self.path)
            return
        self.path.rename(self.replaced)
        self.partial.rename(self.path)
        shutil.rmtree(self.replaced)

    def _undo(self) -> None:
        """Leave everything as it was before."""
        if not self.append:
            shutil.rmtree(self.partial, ignore_errors=True)
            return
        pending, self.ledger.pending = self._pending, None
        lost = self.ledger.blocks[pending.before :]
        del self.ledger.blocks[pending.before :], self.ledger.sources[pending.sources_before :]
        self.ledger.save(self.path)
        for block in lost:
            shutil.rmtree(self.path / block.name, ignore_errors=True)


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
    return Graph.from_arrays(
        frame.numbers, index, edge_vectors(frame.positions, frame.cell, index, shift), frame.forces
    )


Split = Literal["blocks", "random"]


def write_store(
    frames: Iterable[Frame | EdgeFrame], out: str | Path, cutoff: float = 3.8, source: str = "memory"
) -> GraphStore:
    """Frames -> a graph store; `source` is recorded as where they come from.

    Raises:
        InputError: one of them cannot be used; nothing is then written.
    """
    with StoreWriter(out, cutoff, sources=[Source(source)]) as writer:
        for index, frame in enumerate(frames):
            writer.add(frame, f"{source}: frame {index}")
    return GraphStore(out)


def require_cutoff(store: GraphStore, cutoff: float) -> None:
    """Raise InputError where the store was made with another cutoff."""
    _require(store.path, store.cutoff, cutoff)


def _require(path: Path, there: float, cutoff: float) -> None:
    if abs(there - cutoff) > 1e-9:
        raise InputError(
            f"{path}: was made with cutoff {there:g} Angstrom, but {cutoff:g} is needed; "
            f"rgnn convert {path} --cutoff {cutoff:g} --out another.zarr makes one."
        )


def split_frames(
    n: int, validation: float, seed: int, block: int = 10, how: Split = "blocks"
) -> tuple[list[int], list[int]]:
    """Training and validation frames.

    By default contiguous blocks of frames are held out. Neighbouring frames of molecular dynamics are nearly the same
    structure, so of frames held out one by one at random, each has a twin in the training set, and the validation
    error says how well the model remembers. "random" is for frames that do not follow one another in time, and for
    comparison with works that split so.

    Args:
        n: frames in all.
        validation: fraction to hold out.
        seed: of the choice.
        block: frames in a block; fewer where there are few frames.
        how: "blocks" or "random".

    Raises:
        InputError: fewer than two frames.
    """
    if n < 2:
        raise InputError(f"{n} frame(s) cannot be split into training and validation; at least two are needed.")
    block = 1 if how == "random" else max(1, min(block, n // 10))
    blocks = [list(range(first, min(first + block, n))) for first in range(0, n, block)]
    held = max(1, min(round(validation * len(blocks)), len(blocks) - 1))
    chosen = set(numpy_stream(seed, "split").permutation(len(blocks))[:held].tolist())
    train = [i for b, frames in enumerate(blocks) if b not in chosen for i in frames]
    return train, [i for b in sorted(chosen) for i in blocks[b]]
