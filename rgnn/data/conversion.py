"""Trajectories, published graph pickles and other stores -> a graph store.

One process reads and the others search edges and write blocks; what is written does not depend on their number.
"""

import hashlib
import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rgnn.base.errors import BrokenRunError, InputError
from rgnn.base.files import sha256
from rgnn.data.doubts import Doubts
from rgnn.data.formats import scan
from rgnn.data.formats.cp2k import without_forces
from rgnn.data.formats.graph_pickle import is_pickle, read_graph_pickle
from rgnn.data.formats.selection import Items, Selection, Warn
from rgnn.data.frames import EdgeFrame, Unusable
from rgnn.data.store.blocks import write_block
from rgnn.data.store.ledger import ROOT, BlockRecord, Cursor, Ledger, Source
from rgnn.data.store.reader import GraphStore
from rgnn.data.store.writer import Batch, StoreWriter

DUPLICATE = "duplicate"
# Largest length of an edge where nobody says one, Angstrom.
DEFAULT_CUTOFF = 3.8
# Outside these, positions or forces are likely in another unit than Angstrom and eV/Angstrom: the distance to the
# nearest atom over the sum of the covalent radii is 0.9 to 1.3 in most matter, and 1.9 or 0.53 times that if bohr and
# Angstrom are taken for each other; forces in hartree/bohr come out 51 times too small.
SPACING, FORCE = (0.6, 1.7), (0.03, 20.0)
# Root mean square force over the spread of nearest distances is an effective stiffness, eV/Angstrom^2. It is 4 to 38 in
# glasses, molecules, crystals and liquids (docs/data.md). The stiffest bonds known, of N2 and CO, have 140, which is 80
# as counted here; forces in kcal/mol/Angstrom make 23 times too much of it, forces in hartree/bohr 51 times too little.
STIFFEST, ENOUGH_ATOMS = 100.0, 50


@dataclass
class Outcome:
    """What a conversion did.

    Attributes:
        store: as it is now.
        frames: taken by this command, those before it was broken off included.
        sources: of this command, with what was left out of each.
        examples: for each reason, the first frame that was left out for it, in words.
        already: the same command had made the store before, and nothing was done.
    """

    store: GraphStore
    frames: int
    sources: list[Source]
    examples: dict[str, str] = field(default_factory=dict)
    already: bool = False

    @property
    def left_out(self) -> Counter[str]:
        """Frames of all sources that were not taken, by reason."""
        return sum((Counter(source.skipped) for source in self.sources), Counter[str]())

    def to_mapping(self) -> dict[str, Any]:
        """Plain numbers, with their units in the keys: the store, and what this command has added to it."""
        sources = [{"name": s.name, "frames": s.frames, "skipped": s.skipped} for s in self.sources]
        return {
            "store": str(self.store.path),
            "added": self.frames,
            "converted": sources,
            **self.store.summary().to_mapping(),
        }


def convert(
    sources: Sequence[str | Path],
    out: str | Path,
    cutoff: float | None = None,
    wanted: Selection | None = None,
    *,
    workers: int | None = 1,
    append: bool = False,
    overwrite: bool = False,
    progress: Callable[[int], None] = lambda done: None,
    warn: Warn = lambda text: None,
) -> Outcome:
    """Read frames with forces from files of many programs into a graph store.

    A frame that cannot be used is left out and counted; one that equals an earlier frame of the store too. Run again
    after a kill, the same call continues after the last whole block.

    Args:
        sources: trajectories, published graph pickles, graph stores (so stores are merged).
        out: the store to write.
        cutoff: in Angstrom; None takes that of the store appended to, and else 3.8.
        wanted: which frames of each source; None takes all.
        workers: processes, None for one on each core; a script that asks for more than one needs
            `if __name__ == "__main__":`.
        append: add to the store at `out`.
        overwrite: replace the store at `out`.
        progress: called with the number of frames written so far.
        warn: called with each sentence that a user should read.

    Raises:
        InputError: a source as a whole, or every frame, cannot be used; nothing is then written or changed.
        BrokenRunError: a worker process was killed from outside.
    """
    wanted = wanted or Selection()
    if cutoff is None and not append:
        cutoff = DEFAULT_CUTOFF
    paths = without_forces([Path(source) for source in sources])
    key = _key(paths, cutoff, wanted)
    records = [Source(path.name, labels=wanted.label.path if wanted.label else "") for path in paths]
    writer = StoreWriter(out, cutoff, append, overwrite, key, records)
    if writer.already:
        store = GraphStore(out)
        return Outcome(store, len(store), store.sources, already=True)
    for path in paths:
        items_of(path, wanted, writer.ledger.cutoff, lambda text: None)  # so that a wrong name is met before the work
    if wanted.label is not None:
        _ = wanted.label.calculator
    # Not a context manager: a run that is interrupted does not wait for a checksum.
    hasher = ThreadPoolExecutor(1)
    try:
        checksums = [hasher.submit(_checksum, path) for path in paths]
        with writer:
            reading = _Reading(writer, paths, wanted, warn)
            checked = wanted.keys.units is not None or wanted.label is not None

            def first_block(record: BlockRecord) -> None:
                if not checked:
                    _require_stiffness(record, paths[0])

            _write_batches(writer, reading.batches(), workers or cores(), progress, reading.example, first_block)
            mine = writer.ledger.sources[-len(paths) :]
            frames = sum(source.frames for source in mine)
            if not frames and not any(DUPLICATE in source.skipped for source in mine):
                raise InputError(next(iter(reading.examples.values()), f"{paths[0]}: {NO_FRAMES}"))
            for source, checksum in zip(mine, checksums, strict=True):
                source.sha256 = checksum.result()
            _check_units(writer, warn)
    finally:
        hasher.shutdown(wait=False, cancel_futures=True)
    return Outcome(GraphStore(out), frames, mine, reading.examples)


def kept_frames(out: str | Path, append: bool = False) -> int:
    """Number of frames that a conversion into `out` which was broken off has left, for the same call to continue."""
    out = Path(out)
    try:
        return Ledger.load(out if append else out.with_name(out.name + ".partial")).frames
    except InputError:
        return 0


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


NO_FRAMES = "holds no frames in the range that was asked for."


def _key(paths: Sequence[Path], cutoff: float | None, wanted: Selection) -> str:
    """A key that is equal for equal files and options."""
    stats = [(p / ROOT if p.is_dir() else p) for p in paths]
    files = [(str(p.resolve()), *((s.st_size, s.st_mtime_ns) if (s := _stat(p)) else ())) for p in stats]
    return hashlib.sha256(repr((files, cutoff, wanted)).encode()).hexdigest()


def _stat(path: Path) -> os.stat_result | None:
    return path.stat() if path.exists() else None


def _checksum(path: Path) -> str:
    if (path / ROOT).is_file():
        return GraphStore(path).checksum
    return sha256(path) if path.is_file() else ""


def items_of(path: Path, wanted: Selection, cutoff: float, warn: Warn) -> Items:
    """The wanted frames of a source of any kind.

    Raises:
        InputError: the source as a whole cannot be used.
    """
    if (path / ROOT).is_file():
        return _frames_of_store(GraphStore(path), wanted, cutoff)
    if path.is_file() and wanted.format is None and is_pickle(path):
        return read_graph_pickle(path, wanted, cutoff)
    return scan(path, wanted, warn)


def _frames_of_store(store: GraphStore, wanted: Selection, cutoff: float) -> Items:
    for index, frame in enumerate(store.frames()):
        if wanted.past(index):
            return
        if index not in wanted:
            continue
        if isinstance(frame, EdgeFrame):
            if cutoff > store.cutoff + 1e-9:
                raise InputError(
                    f"{store.path}: has edges up to {store.cutoff:g} Angstrom and no positions to search longer ones "
                    f"from; take --cutoff {store.cutoff:g} or less."
                )
            frame = frame.within(cutoff)
        yield index, frame


class _Reading:
    """Reads the sources from where the writer's cursor is.

    Attributes:
        examples: for each reason, the first frame that was left out for it.
    """

    def __init__(self, writer: StoreWriter, paths: Sequence[Path], wanted: Selection, warn: Warn) -> None:
        self.paths, self.wanted, self.warn = paths, wanted, warn
        self.begin, self.cutoff = writer.cursor, writer.ledger.cutoff
        self.seen = set(writer.digests())
        self.examples: dict[str, str] = {}

    def example(self, problem: Unusable) -> None:
        """Remember the first frame that was left out for a reason."""
        self.examples.setdefault(problem.reason, str(problem))

    def batches(self) -> Iterator[Batch]:
        """All that is left to write."""
        batch = Batch(cursor=self.begin)
        for place, path in enumerate(self.paths):
            if place < self.begin.source:
                continue
            first = max(self.wanted.first, self.begin.frame if place == self.begin.source else 0)
            index, doubts = None, Doubts(path)
            for index, item in items_of(path, replace(self.wanted, first=first), self.cutoff, self.warn):
                where = f"{path}: frame {index}"
                if isinstance(item, Unusable):
                    self.example(item)
                    batch.skipped.append((place, item.reason))
                elif (digest := item.digest) in self.seen:
                    self.examples.setdefault(DUPLICATE, f"{where}: is the same as an earlier frame.")
                    batch.skipped.append((place, DUPLICATE))
                else:
                    if not batch.takes(item):
                        yield batch
                        batch = Batch()
                    self.seen.add(digest)
                    doubts.look(index, item)
                    batch.add(item, where, place)
                batch.cursor = Cursor(place, index + self.wanted.every)
                if batch.full:
                    yield batch
                    batch = Batch(cursor=batch.cursor)
            if index is None and first == self.wanted.first:
                self.warn(f"{path}: {NO_FRAMES}")
            doubts.say(self.warn)
            batch.cursor = Cursor(place + 1)
        yield batch


Written = tuple[BlockRecord | None, dict[int, Unusable]]


def _write(batch: Batch, cutoff: float, path: Path) -> Written:
    """Write a batch as a block; runs in a worker process."""
    unusable: dict[int, Unusable] = {}
    if not batch.frames:
        return None, unusable
    return write_block(batch.frames, batch.where, cutoff, path, unusable.__setitem__), unusable


def _write_batches(
    writer: StoreWriter,
    batches: Iterator[Batch],
    workers: int,
    progress: Callable[[int], None],
    example: Callable[[Unusable], None],
    first_block: Callable[[BlockRecord], None],
) -> None:
    """Write batches, in worker processes where there is more than one; commit them in their order.

    Args:
        writer: of the store.
        batches: of frames.
        workers: processes.
        progress: called with the number of frames written.
        example: called with each frame that is left out.
        first_block: called with the record of the first block, before it is committed; it may raise.
    """
    cutoff = writer.ledger.cutoff
    done = sum(source.frames for source in writer.ledger.sources[-len(writer.sources) :])
    looked_at = False

    def commit(batch: Batch, path: Path, written: Written) -> None:
        nonlocal done, looked_at
        record, unusable = written
        if record is not None and not looked_at:
            first_block(record)
            looked_at = True
        for problem in unusable.values():
            example(problem)
        writer.commit(batch, path, record, unusable)
        done += len(batch.frames) - len(unusable)
        progress(done)

    first = next(batches)
    second = next(batches, None) if workers > 1 else None
    if second is None:
        for batch in _chain(first, batches):
            path = writer.next_block()
            commit(batch, path, _write(batch, cutoff, path))
        return
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    pool = ProcessPoolExecutor(workers, context, initializer=_begin_worker)
    waiting: deque[tuple[Batch, Path, Future[Written]]] = deque()
    try:
        for batch in _chain(first, second, batches):
            path = writer.next_block()
            waiting.append((batch, path, pool.submit(_write, batch, cutoff, path)))
            if len(waiting) > workers:
                batch, path, future = waiting.popleft()
                commit(batch, path, future.result())
        while waiting:
            batch, path, future = waiting.popleft()
            commit(batch, path, future.result())
    except BrokenProcessPool:
        raise BrokenRunError(
            f"{writer.path}: a worker process was killed, perhaps for want of memory; the same command continues after "
            "the blocks that are whole, with --workers 1 in less memory."
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _chain(*parts: Batch | Iterator[Batch]) -> Iterator[Batch]:
    for part in parts:
        if isinstance(part, Batch):
            yield part
        else:
            yield from part


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, and end when it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _require_stiffness(record: BlockRecord, path: Path) -> None:
    """Refuse forces that no bond is stiff enough for, given how much distances vary.

    Raises:
        InputError: they are in another unit than eV/Angstrom.
    """
    force = (record.force_squares / (3 * record.atoms)) ** 0.5
    spread = record.nearest_spread
    if record.atoms < ENOUGH_ATOMS or not spread > 0 or force / spread <= STIFFEST:
        return
    raise InputError(
        f"{path}: the forces (root mean square {force:.3g} eV/Angstrom) are too large for distances that vary by "
        f"{spread:.2g} Angstrom, as if they were in another unit; give --units real for kcal/mol/Angstrom, or --units "
        "metal if they are in eV/Angstrom."
    )


def _check_units(writer: StoreWriter, warn: Warn) -> None:
    """Warn where the magnitude of distances or forces speaks for another unit."""
    blocks = writer.new_blocks
    atoms = sum(block.atoms for block in blocks)
    if not atoms:
        return
    spacing = sum(block.spacing * block.atoms for block in blocks) / atoms
    force = (sum(block.force_squares for block in blocks) / (3 * atoms)) ** 0.5
    if not SPACING[0] <= spacing <= SPACING[1]:
        warn(
            f"atoms are {spacing:.2f} times the sum of their covalent radii from their nearest neighbour, "
            "where about 1 is usual; check that positions are in Angstrom."
        )
    if not FORCE[0] <= force <= FORCE[1]:
        warn(
            f"the root mean square of a force component is {force:.3g} eV/Angstrom, where 0.1 to 5 is usual in "
            "molecular dynamics; check that forces are in eV/Angstrom."
        )
