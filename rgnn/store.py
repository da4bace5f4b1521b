"""The graph store: labelled frames with their edges as flat zarr arrays and offsets.

A store is written in a hidden folder beside it and put in place only when it is whole, so what lies under its
own name is never half a store; a checksum of each array notices what is lost or altered later.
"""

import hashlib
import shutil
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from rgnn.config import check_cutoff
from rgnn.errors import InputError, first_line
from rgnn.files import sha256
from rgnn.graphs import Graph
from rgnn.neighbours import CLOSEST, edge_vectors, neighbour_list
from rgnn.streams import numpy_stream
from rgnn.trajectories import Frame, read_frames

FORMAT, VERSION = "rgnn graph store", 1
# Frames that are written together, and elements in a chunk of an array: a few megabytes.
BLOCK, CHUNK = 64, 1 << 20
# A store up to this size is read as a whole when it is first used; a larger one frame by frame.
IN_MEMORY = 2 << 30


class Field(NamedTuple):
    """One array: its element type, what it has a row for, and the shape of a row."""

    dtype: str
    per: str  # "atom", "edge" or "frame"
    row: tuple[int, ...] = ()


FIELDS = {
    "numbers": Field("uint8", "atom"),
    "positions": Field("float64", "atom", (3,)),
    "forces": Field("float32", "atom", (3,)),
    "edge_index": Field("int32", "edge", (2,)),  # within its frame, sorted by (i, j, shift)
    "edge_shift": Field("int8", "edge", (3,)),
    "cell": Field("float64", "frame", (3, 3)),
    "pbc": Field("bool", "frame", (3,)),
    "energy": Field("float64", "frame"),  # NaN where unknown
    "temperature": Field("float64", "frame"),  # NaN where unknown
    "n_atoms": Field("int32", "frame"),
    "n_edges": Field("int32", "frame"),
}


@dataclass(frozen=True)
class FrameInfo:
    """What is known of a frame besides its atoms: energy in eV, temperature in K."""

    energy: float | None
    temperature: float | None


class StoreWriter:
    """Writes frames to a store; a context manager that puts the store in place when its block ends well.

    Args:
        path: of the store.
        cutoff: in Angstrom; None takes that of the store appended to.
        append: add to the store at `path`.
        overwrite: replace the store at `path`.

    Raises:
        InputError: something is at `path` already, or the store appended to has another cutoff.
    """

    def __init__(
        self, path: str | Path, cutoff: float | None = 3.8, append: bool = False, overwrite: bool = False
    ) -> None:
        self.path = Path(path)
        before = GraphStore(self.path) if append else None
        if before is None and self.path.exists():
            if not overwrite:
                raise InputError(
                    f"{self.path} already exists; --append adds to it, --overwrite replaces it, or choose another name."
                )
            if not (self.path / "zarr.json").is_file():
                raise InputError(f"{self.path} is no store, so it is not overwritten; choose another name.")
        if before is not None and cutoff is not None:
            require_cutoff(before, cutoff)
        self.before = before
        self.cutoff = before.cutoff if before is not None else check_cutoff(3.8 if cutoff is None else cutoff)
        self.sources: list[dict[str, Any]] = [] if before is None else list(before.sources)
        self.frames: list[Frame] = []
        self.edges: list[tuple[np.ndarray, np.ndarray]] = []
        self.n_frames = 0 if before is None else len(before)
        self.counts = Counter() if before is None else Counter(dict(before.element_counts))
        self.squares = 0.0 if before is None else before.force_rms**2 * 3 * sum(self.counts.values())
        self.checksums = dict.fromkeys(FIELDS, 0) if before is None else dict(before.checksums)

    def __enter__(self) -> Self:
        import zarr

        self.path.parent.mkdir(parents=True, exist_ok=True)
        # A folder of our own: a name that could be guessed could be a user's.
        self.scratch = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=self.path.parent))
        self.partial = self.scratch / "new"
        if self.before is not None:
            self.before.verify()
            shutil.copytree(self.path, self.partial)
            self.group = zarr.open_group(self.partial, mode="r+")
            return self
        self.group = zarr.create_group(self.partial)
        for name, field in FIELDS.items():
            rows = max(1, CHUNK // int(np.prod(field.row, initial=1)))
            self.group.create_array(
                name,
                shape=(0, *field.row),
                chunks=(rows, *field.row),
                dtype=field.dtype,
                compressors=zarr.codecs.BloscCodec(cname="zstd", clevel=5, shuffle="shuffle"),
            )
        return self

    def add(self, frame: Frame, where: str = "a frame") -> None:
        """Search the neighbours of a frame and write it; `where` names it in errors.

        Raises:
            InputError: no atom has a neighbour inside the cutoff.
        """
        edge_index, shift = neighbour_list(frame.positions, frame.cell, frame.pbc, self.cutoff)
        if not edge_index.shape[1]:
            raise InputError(
                f"{where}: no atom has a neighbour within {self.cutoff:g} Angstrom; give a larger --cutoff, "
                "or check the unit of its positions."
            )
        lengths = np.linalg.norm(edge_vectors(frame.positions, frame.cell, edge_index, shift), axis=1)
        if lengths.min() < CLOSEST:
            i, j = edge_index[:, lengths.argmin()]
            raise InputError(f"{where}: atoms {i} and {j} are {lengths.min():.3g} Angstrom apart; remove this frame.")
        if np.abs(shift).max() > 127:
            raise InputError(f"{where}: an atom lies over 127 cells away from its neighbours; wrap it into the cell.")
        self.frames.append(frame)
        self.edges.append((edge_index.T, shift))
        self.counts.update(int(z) for z in frame.numbers)
        self.squares += float(np.square(frame.forces).sum())
        self.n_frames += 1
        if len(self.frames) >= BLOCK:
            self._flush()

    def add_source(self, path: str | Path, frames: int) -> None:
        """Record where frames came from."""
        path = Path(path)
        self.sources.append({"name": path.name, "sha256": sha256(path) if path.is_file() else "", "frames": frames})

    def _flush(self) -> None:
        import zarr

        if not self.frames:
            return
        nan = float("nan")
        columns = {
            "numbers": np.concatenate([f.numbers for f in self.frames]),
            "positions": np.concatenate([f.positions for f in self.frames]),
            "forces": np.concatenate([f.forces for f in self.frames]),
            "edge_index": np.concatenate([index for index, _ in self.edges]),
            "edge_shift": np.concatenate([shift for _, shift in self.edges]),
            "cell": np.stack([f.cell for f in self.frames]),
            "pbc": np.stack([f.pbc for f in self.frames]),
            "energy": np.array([nan if f.energy is None else f.energy for f in self.frames]),
            "temperature": np.array([nan if f.temperature is None else f.temperature for f in self.frames]),
            "n_atoms": np.array([len(f.numbers) for f in self.frames]),
            "n_edges": np.array([len(index) for index, _ in self.edges]),
        }
        with zarr.config.set({"array.write_empty_chunks": True}):  # a chunk that is missing is then always damage
            for name, values in columns.items():
                rows = np.ascontiguousarray(values.astype(FIELDS[name].dtype))
                self.group[name].append(rows)
                self.checksums[name] = zlib.crc32(rows.tobytes(), self.checksums[name])
        self.frames, self.edges = [], []

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)

    def _finish(self) -> None:
        """Write what is left, and put the store in place."""
        self._flush()
        if self.n_frames == 0:
            raise InputError(f"{self.path}: there are no frames to write.")
        self.group.attrs.update(
            {
                "format": FORMAT,
                "version": VERSION,
                "cutoff": self.cutoff,
                "units": {"length": "Angstrom", "energy": "eV", "force": "eV/Angstrom", "temperature": "K"},
                "frames": self.n_frames,
                "elements": {str(z): self.counts[z] for z in sorted(self.counts)},
                "force_rms": (self.squares / (3 * sum(self.counts.values()))) ** 0.5,
                "sources": self.sources,
                "crc32": self.checksums,
            }
        )
        if self.path.exists():
            self.path.rename(self.scratch / "old")
        self.partial.rename(self.path)


class GraphStore:
    """A store opened for reading; frames by number.

    Args:
        path: of the store.

    Attributes:
        path, cutoff (Angstrom), sources, element_counts, force_rms (eV/Angstrom): as written.

    Raises:
        InputError: no store there, of another version, or damaged.
    """

    def __init__(self, path: str | Path) -> None:
        import zarr

        self.path = Path(path)
        if not self.path.exists():
            raise InputError(f"{path}: there is no such store; make it with rgnn convert or rgnn fetch-data sample.")
        if not (self.path / "zarr.json").is_file():
            raise InputError(f"{path}: is no graph store; make one from a trajectory with rgnn convert.")
        try:
            self._group = zarr.open_group(self.path, mode="r")
            attributes = dict(self._group.attrs)
        except Exception as error:  # zarr raises whatever its parsing runs into
            raise self._damaged(first_line(error)) from None
        if attributes.get("format") != FORMAT:
            raise InputError(f"{path}: is a zarr group of another program; make a store with rgnn convert.")
        if attributes.get("version") != VERSION:
            raise InputError(
                f"{path}: has version {attributes.get('version')}, but this rgnn reads {VERSION}; convert it anew."
            )
        try:
            self.cutoff = float(attributes["cutoff"])
            self.sources: list[dict[str, Any]] = attributes["sources"]
            self.element_counts = {int(z): int(n) for z, n in attributes["elements"].items()}
            self.force_rms = float(attributes["force_rms"])
            self.checksums: dict[str, int] = attributes["crc32"]
            self._n_frames = int(attributes["frames"])
        except (KeyError, TypeError, ValueError, AttributeError):
            raise self._damaged("its attributes are incomplete") from None
        self._cache: dict[str, np.ndarray] = {}
        self._whole = sum(self._array(name).nbytes for name in FIELDS) <= IN_MEMORY
        if any(self._array(name).nchunks_initialized != self._array(name).nchunks for name in FIELDS):
            raise self._damaged("a part of it is missing")
        self._atom_offset = self._offsets("n_atoms", "numbers")
        self._edge_offset = self._offsets("n_edges", "edge_index")

    def __len__(self) -> int:
        return self._n_frames

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers in the store."""
        return tuple(sorted(self.element_counts))

    @property
    def checksum(self) -> str:
        """Of all that the store holds; equal for equal frames and cutoff."""
        return hashlib.sha256(repr((self.cutoff, sorted(self.checksums.items()))).encode()).hexdigest()

    def frame(self, index: int) -> Frame:
        """Atoms and labels of one frame."""
        atoms, info = slice(*self._atom_offset[index : index + 2]), self.info(index)
        read = self._rows
        return Frame(
            read("numbers", atoms).astype(np.int64),
            read("positions", atoms),
            read("cell", slice(index, index + 1))[0],
            read("pbc", slice(index, index + 1))[0],
            read("forces", atoms),
            info.energy,
            info.temperature,
        )

    def graph(self, index: int) -> Graph:
        """The labelled graph of one frame; edge vectors are computed anew from float64 positions."""
        frame, edges = self.frame(index), slice(*self._edge_offset[index : index + 2])
        edge_index = np.ascontiguousarray(self._rows("edge_index", edges).T)
        vector = edge_vectors(frame.positions, frame.cell, edge_index, self._rows("edge_shift", edges))
        return Graph.from_arrays(frame.numbers, edge_index, vector, frame.forces)

    def info(self, index: int) -> FrameInfo:
        """Energy and temperature of one frame, where known."""
        values = [float(self._column(name)[index]) for name in ("energy", "temperature")]
        return FrameInfo(*(None if np.isnan(value) else value for value in values))

    def summary(self) -> dict[str, Any]:
        """What a table shows of the store."""
        from ase.data import chemical_symbols

        temperatures = Counter(t for t in self._column("temperature").tolist() if not np.isnan(t))
        atoms = np.diff(self._atom_offset)
        size = f"{atoms.min()}" if atoms.min() == atoms.max() else f"{atoms.min()} to {atoms.max()}"
        return {
            "frames": len(self),
            "atoms in a frame": size,
            "elements": ", ".join(f"{chemical_symbols[z]} {n:,}" for z, n in self.element_counts.items()),
            "cutoff": f"{self.cutoff:g} Å",
            "neighbours": f"{self._edge_offset[-1] / self._atom_offset[-1]:.1f} of an atom on average",
            "force": f"{self.force_rms:.3f} eV/Å root mean square of a component",
            "temperatures": ", ".join(f"{t:g} K: {n}" for t, n in sorted(temperatures.items())) or "not recorded",
            "sources": ", ".join(f"{s['name']} ({s['frames']})" for s in self.sources),
        }

    def verify(self) -> None:
        """Read everything and compare with the checksums.

        Raises:
            InputError: something is lost or altered.
        """
        for name in FIELDS:
            self._checked(name, self._read(name, slice(None)))

    # Arrays, read as a whole or in part

    def _damaged(self, why: str) -> InputError:
        return InputError(f"{self.path}: is damaged or cut short ({why}); convert its trajectory anew.")

    def _array(self, name: str) -> Any:  # a zarr array; zarr is not imported at start-up
        try:
            return self._group[name]
        except Exception:
            raise self._damaged(f"array '{name}' is missing or unreadable") from None

    def _read(self, name: str, rows: slice) -> np.ndarray:
        try:
            return np.asarray(self._array(name)[rows])
        except InputError:
            raise
        except Exception as error:  # a decoder raises whatever it runs into
            raise self._damaged(f"array '{name}': {first_line(error)}") from None

    def _checked(self, name: str, values: np.ndarray) -> np.ndarray:
        if zlib.crc32(np.ascontiguousarray(values).tobytes()) != self.checksums.get(name):
            raise self._damaged(f"array '{name}' does not agree with its checksum")
        return values

    def _column(self, name: str) -> np.ndarray:
        if name not in self._cache:
            self._cache[name] = self._checked(name, self._read(name, slice(None)))
        return self._cache[name]

    def _rows(self, name: str, rows: slice) -> np.ndarray:
        return self._column(name)[rows] if self._whole else self._read(name, rows)

    def _offsets(self, counts: str, rows: str) -> np.ndarray:
        offsets = np.concatenate([[0], np.cumsum(self._column(counts), dtype=np.int64)])
        if len(offsets) != len(self) + 1 or offsets[-1] != self._array(rows).shape[0]:
            raise self._damaged(f"'{counts}' and '{rows}' do not fit together")
        return offsets


def convert(
    sources: Sequence[str | Path],
    out: str | Path,
    cutoff: float | None = 3.8,
    *,
    every: int = 1,
    first: int = 0,
    last: int | None = None,
    format: str | None = None,  # noqa: A002 (ASE's word)
    append: bool = False,
    overwrite: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> GraphStore:
    """Trajectories with forces -> a graph store.

    Args:
        sources: files that ASE reads.
        out: the store to write.
        cutoff: in Angstrom; None takes that of the store appended to.
        every, first, last, format: as in `read_frames`, for each file.
        append, overwrite: add to the store at `out`, or replace it.
        progress: told of the frames written.

    Raises:
        InputError: as `read_frames` and `StoreWriter`; nothing is then written or changed.
    """
    done = 0
    with StoreWriter(out, cutoff, append, overwrite) as writer:
        for source in sources:
            here = 0
            for frame in read_frames(source, every, first, last, format):
                writer.add(frame, f"{source}: frame {first + here * every}")
                here, done = here + 1, done + 1
                progress(done)
            writer.add_source(source, here)
    return GraphStore(out)


def write_store(frames: Iterable[Frame], out: str | Path, cutoff: float = 3.8, source: str = "memory") -> GraphStore:
    """Frames -> a graph store; `source` is recorded as where they come from."""
    with StoreWriter(out, cutoff) as writer:
        for index, frame in enumerate(frames):
            writer.add(frame, f"{source}: frame {index}")
        writer.sources.append({"name": source, "sha256": "", "frames": writer.n_frames})
    return GraphStore(out)


def require_cutoff(store: GraphStore, cutoff: float) -> None:
    """Raise InputError where the store was made with another cutoff."""
    if abs(store.cutoff - cutoff) > 1e-9:
        raise InputError(
            f"{store.path}: was made with cutoff {store.cutoff:g} Angstrom, but {cutoff:g} is needed; "
            f"convert its trajectory anew with --cutoff {cutoff:g}."
        )


def split_frames(n: int, validation: float, seed: int, block: int = 10) -> tuple[list[int], list[int]]:
    """Training and validation frames: contiguous blocks are held out, since neighbours in time are alike.

    Raises:
        InputError: fewer than two frames.
    """
    if n < 2:
        raise InputError(f"{n} frame(s) cannot be split into training and validation; at least two are needed.")
    block = max(1, min(block, n // 10))
    blocks = [list(range(first, min(first + block, n))) for first in range(0, n, block)]
    held = max(1, min(round(validation * len(blocks)), len(blocks) - 1))
    chosen = set(numpy_stream(seed, "split").permutation(len(blocks))[:held].tolist())
    train = [i for b, frames in enumerate(blocks) if b not in chosen for i in frames]
    return train, [i for b in sorted(chosen) for i in blocks[b]]
