"""Writing a graph store block by block, so that a writer which is killed loses no block that was whole."""

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from rgnn.base.errors import BrokenRunError, InputError, Interrupted
from rgnn.base.files import locked
from rgnn.base.settings import check_cutoff
from rgnn.data.frames import EdgeFrame, Frame, Unusable
from rgnn.data.store.blocks import BLOCK_ATOMS, BLOCK_FRAMES, read_column, write_block
from rgnn.data.store.ledger import ROOT, BlockRecord, Cursor, Ledger, Pending, Source
from rgnn.data.store.reader import GraphStore

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
    and a writer with the same key continues after them.

    Args:
        path: of the store.
        cutoff: Angstrom; None takes that of the store appended to.
        append: add to the store at `path`.
        overwrite: replace the store at `path`.
        key: of the command; only a command with the same key continues what it began; with an empty key, none does.
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
        path = Path(path)
        if not path.name:
            raise InputError(f"{path}: cannot be a store; name a folder to make, such as data/mine.zarr.")
        # A link is written through, so that it still leads to the store.
        self.path, self.append, self.key = path.resolve() if path.is_symlink() else path, append, key
        self.partial = self.path.with_name(self.path.name + ".partial")
        self.replaced = self.path.with_name(f".{self.path.name}.replaced")
        self.work = self.path if append else self.partial
        self.sources = list(sources) or [Source("memory")]
        self.overwrite, self.already = overwrite, False
        if append:
            self.ledger = Ledger.load(self.path)
            if cutoff is not None:
                self.ledger.require_cutoff(self.path, cutoff)
            return
        self.ledger = Ledger(check_cutoff(3.8 if cutoff is None else cutoff))
        if self.path.exists() and not overwrite:
            self.already = bool(key) and (self.path / ROOT).is_file() and Ledger.load(self.path).key == key
            if not self.already:
                raise InputError(
                    f"{self.path} already exists; --append adds to it, --overwrite replaces it, or choose another name."
                )
        if self.path.exists() and not (self.path / ROOT).is_file():
            raise InputError(f"{self.path} is not a graph store, so it is not overwritten; choose another name.")
        if overwrite and self.path.exists():
            inside = sorted(item.name for item in self.path.iterdir())
            known = (ROOT, f"{ROOT}.partial")
            if foreign := [name for name in inside if name not in known and not BLOCK_NAME.fullmatch(name)]:
                raise InputError(
                    f"{self.path} holds '{foreign[0]}', which is no part of the store; move it away, or choose another "
                    "name."
                )

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
        """Take the lock, and find out whether there is something to continue."""
        self.work.mkdir(parents=True, exist_ok=True)
        self._stack.enter_context(locked(self.path, self.path.with_name(f".{self.path.name}.lock")))
        if self.append:
            self.ledger = Ledger.load(self.path)  # again, since another may have added to it before the lock was ours
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
        """The ledger of what the same command began; what cannot be continued is removed or refused."""
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
                    "it, or give --overwrite to begin again."
                )
        elif not there <= {ROOT + ".partial"}:
            raise InputError(f"{self.partial} exists but is not a graph store; move it elsewhere.")
        for name in there:
            lost = self.partial / name
            shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
        return None

    @property
    def cursor(self) -> Cursor:
        """Where reading begins or continues."""
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
        """Whether the same command can continue from what there is."""
        return bool(self.key) and bool(self.new_blocks)

    def _break_off(self, kind: type[BaseException]) -> None:
        """Keep the whole blocks where nothing was wrong with what was read; otherwise leave everything as it was."""
        if not (self.resumable and issubclass(kind, KeyboardInterrupt | Interrupted | BrokenRunError | OSError)):
            self._undo()

    def _complete(self) -> None:
        if not self.ledger.blocks:
            raise InputError(f"{self.path}: no frames were given to write.")
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
