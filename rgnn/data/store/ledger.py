"""The ledger of a graph store: what has been written, kept as the attributes of its zarr group.

A block counts once the ledger names it, and the ledger is always replaced as a whole; so a store that was killed
while it grew opens at its last whole block.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from rgnn.base.errors import InputError, first_line
from rgnn.base.files import write_atomic

# Version 3 has time and stress of frames, and `nearest_spread` of blocks; stores of version 2 are read without them.
FORMAT, VERSION, READABLE = "rgnn graph store", 3, (2, 3)
ROOT = "zarr.json"  # zarr's own name for what describes a group
UNITS = {
    "length": "Angstrom",
    "energy": "eV",
    "force": "eV/Angstrom",
    "temperature": "K",
    "time": "fs",
    "stress": "eV/Angstrom^3",
}


@dataclass(frozen=True)
class BlockRecord:
    """What the ledger says of a block.

    Attributes:
        name: of its folder.
        frames, atoms, edges: their numbers.
        crc32: of each array.
        elements: atoms of each atomic number.
        force_squares: sum of the squared force components, (eV/Angstrom)^2.
        neighbours: atoms with 0, 1, 2, ... neighbours.
        spacing: median over atoms of the distance to the nearest neighbour over the sum of the covalent radii.
        nearest_spread: standard deviation of that distance for atoms with neighbours of one element, Angstrom.
    """

    name: str
    frames: int
    atoms: int
    edges: int
    crc32: dict[str, int]
    elements: dict[int, int]
    force_squares: float
    neighbours: list[int]
    spacing: float
    nearest_spread: float = float("nan")

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """From what `asdict` gave, after JSON has made text of its whole-number keys."""
        return cls(**{**data, "elements": {int(z): int(n) for z, n in data["elements"].items()}})


@dataclass
class Source:
    """A file that frames came from.

    Attributes:
        name, sha256: of the file.
        frames: taken from it.
        skipped: frames that were not taken, by reason.
        labels: the calculator whose forces they carry, where it is not the file's own.
    """

    name: str
    sha256: str = ""
    frames: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    labels: str = ""


@dataclass(frozen=True)
class Cursor:
    """Where reading continues: the source, by its place in the command, and the frame in it."""

    source: int = 0
    frame: int = 0


@dataclass
class Pending:
    """A command that has begun and not ended.

    Attributes:
        key: what the same command will present to continue.
        before: blocks, and `sources_before`: sources, that were there when it began.
        cursor: all before it is in the blocks or was skipped.
    """

    key: str
    before: int = 0
    sources_before: int = 0
    cursor: Cursor = Cursor()


@dataclass
class Ledger:
    """All that is known of a store besides its arrays.

    Attributes:
        cutoff: Angstrom.
        blocks: in the order of their frames.
        sources: in the order of their frames.
        key: of the command that made the store or added to it last.
        pending: the command that is at work, or was when it was killed.
    """

    cutoff: float
    blocks: list[BlockRecord] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    key: str = ""
    pending: Pending | None = None

    @property
    def frames(self) -> int:
        """The number of frames in all blocks."""
        return sum(block.frames for block in self.blocks)

    @property
    def elements(self) -> Counter[int]:
        """Atoms of each atomic number."""
        return sum((Counter(block.elements) for block in self.blocks), Counter())

    @property
    def force_rms(self) -> float:
        """Root mean square of a force component, eV/Angstrom."""
        components = 3 * sum(block.atoms for block in self.blocks)
        return (sum(block.force_squares for block in self.blocks) / components) ** 0.5 if components else 0.0

    def _is_sane(self) -> bool:
        """Whether counts are whole numbers that add up, and the cutoff is a length."""
        if not isinstance(self.cutoff, int | float) or not 0 < self.cutoff < 100:
            return False
        for block in self.blocks:
            counts = (block.frames, block.atoms, block.edges, *block.elements.values(), *block.neighbours)
            if not all(isinstance(n, int) and n >= 0 for n in counts) or not 0 < block.frames <= block.atoms:
                return False
            if sum(block.elements.values()) != block.atoms or not all(0 < z < 119 for z in block.elements):
                return False
        return True

    def require_cutoff(self, path: str | Path, cutoff: float) -> None:
        """Raise InputError where the store at `path` was made with another cutoff than this one, in Angstrom."""
        if abs(self.cutoff - cutoff) > 1e-9:
            raise InputError(
                f"{path}: was made with cutoff {self.cutoff:g} Angstrom, but {cutoff:g} is needed; "
                f"rgnn convert {path} --cutoff {cutoff:g} --out another.zarr makes one."
            )

    def save(self, path: str | Path) -> None:
        """Replace the ledger of the store at `path`.

        Raises:
            OSError: as the system gives it; the ledger is then as it was.
        """
        content = json.loads(json.dumps(asdict(self)))
        attributes = {"format": FORMAT, "version": VERSION, "units": UNITS, "sha256": _checksum(content), **content}
        group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        write_atomic(Path(path) / ROOT, json.dumps(group))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The ledger of the store at `path`.

        Raises:
            InputError: no store there, of another version, or damaged.
        """
        path = Path(path)
        if not path.exists():
            raise InputError(f"{path}: there is no such store; make it with rgnn convert or rgnn fetch-data sample.")
        if not (path / ROOT).is_file():
            raise InputError(f"{path}: is not a graph store; make one from a trajectory with rgnn convert.")
        try:
            data = dict(json.loads((path / ROOT).read_text())["attributes"])
        except KeyError:
            data = {}
        except (ValueError, TypeError, OSError, RecursionError) as error:
            raise damaged(path, first_line(error)) from None
        if data.pop("format", None) != FORMAT:
            raise InputError(f"{path}: is a zarr group of another program; make a store with rgnn convert.")
        version = data.pop("version", None)
        if version not in READABLE:
            raise InputError(
                f"{path}: has version {version}, but this rgnn reads {READABLE[0]} and {VERSION}; convert its "
                "trajectory again."
            )
        stated = data.pop("sha256", None)
        try:
            del data["units"]
            if (version > 2 or stated is not None) and stated != _checksum(data):
                raise damaged(path, "its ledger does not agree with its checksum")
            data["blocks"] = [BlockRecord.from_json(block) for block in data["blocks"]]
            data["sources"] = [Source(**source) for source in data["sources"]]
            if data["pending"] is not None:
                data["pending"] = Pending(**{**data["pending"], "cursor": Cursor(**data["pending"]["cursor"])})
            ledger = cls(**data)
            if not ledger._is_sane():
                raise damaged(path, "its ledger holds impossible numbers")
            return ledger
        except (KeyError, TypeError, ValueError, AttributeError):
            raise damaged(path, "its attributes are incomplete") from None


def _checksum(content: Mapping[str, Any]) -> str:
    """SHA-256 of a ledger as JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def damaged(path: str | Path, why: str) -> InputError:
    """The error of a store that cannot be read."""
    return InputError(f"{path}: is damaged or cut short ({why}); convert its trajectory again.")
