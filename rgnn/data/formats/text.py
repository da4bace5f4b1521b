"""Long text outputs in bounded memory: they are cut into their frames, and ASE reads some frames at a time.

ASE's readers of these formats hold a whole file, and give up all of it at the first flaw. Here a splitter finds
where frames begin and end; the header of the file and the text of some frames make a small file that ASE reads.
"""

import io
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ase import Atoms

from rgnn.base.errors import InputError, first_line
from rgnn.data.formats.lines import Lines
from rgnn.data.formats.selection import Items, Selection
from rgnn.data.frames import Unusable

# Frames that ASE reads at once, and characters of them.
BATCH, BATCH_TEXT = 64, 1 << 21

CUT_SHORT, NOT_CONVERGED, UNREADABLE = "cut short", "not converged", "unreadable"
FORCE_FIELD = "steps of a machine-learned force field"


@dataclass(frozen=True)
class Chunk:
    """The text of one frame.

    Attributes:
        text: as the file has it.
        problem: why the frame cannot be used, or empty.
        info: what the frame's surroundings say of it, such as its time; added to the `info` of its atoms.
    """

    text: str
    problem: str = ""
    info: Mapping[str, float] = field(default_factory=dict)


class Splitter(ABC):
    """How one format is cut into frames.

    Attributes:
        format: ASE's name of it.
        batch: frames that ASE reads at once.
        header: what comes before the first frame, once `split` has met it.
    """

    format: str
    batch = BATCH
    header = ""

    @abstractmethod
    def split(self, lines: Iterable[str]) -> Iterator[Chunk]:
        """The frames of a file."""

    def document(self, texts: list[str]) -> str:
        """A small file of some frames."""
        return self.header + "".join(texts)

    def read(self, texts: list[str], path: Path) -> list[Atoms]:
        """What ASE reads from the text of some frames."""
        import ase.io

        file = io.StringIO(self.document(texts))
        # ASE looks for more files beside this one, and there is nothing "in" a file.
        file.name = str(path / "frame")
        images = ase.io.read(file, index=":", format=self.format)
        return images[-len(texts) :]


# The number of a frame in its file, and its structure or why it cannot be used.
Structures = Iterator[tuple[int, Atoms | Unusable]]


def read_text(path: Path, splitter: Splitter, wanted: Selection) -> Items:
    """The wanted frames of a text file, cut by a new splitter."""
    for index, atoms in structures_of(path, splitter, wanted):
        yield index, atoms if isinstance(atoms, Unusable) else wanted.frame(atoms, f"{path}: frame {index}")


def structures_of(path: Path, splitter: Splitter, wanted: Selection) -> Structures:
    """The wanted structures of a text file, whether or not they have forces."""
    lines = Lines(path)
    waiting: list[tuple[int, Chunk]] = []
    size, index = 0, -1
    for index, chunk in enumerate(splitter.split(lines)):
        if wanted.past(index):
            break
        if index not in wanted:
            continue
        if chunk.problem and not (chunk.problem == NOT_CONVERGED and wanted.unconverged):
            yield from _read(splitter, path, waiting)
            waiting, size = [], 0
            yield index, _problem(path, index, chunk.problem)
            continue
        waiting.append((index, chunk))
        size += len(chunk.text)
        if len(waiting) >= splitter.batch or size >= BATCH_TEXT:
            yield from _read(splitter, path, waiting)
            waiting, size = [], 0
    yield from _read(splitter, path, waiting)
    if lines.cut and not wanted.past(index + 1):
        yield index + 1, _problem(path, index + 1, CUT_SHORT)


def _read(splitter: Splitter, path: Path, waiting: list[tuple[int, Chunk]]) -> Structures:
    """Frames of one small file; where it cannot be read, each frame by itself."""
    if not waiting:
        return
    try:
        images = splitter.read([chunk.text for _, chunk in waiting], path)
        if len(images) != len(waiting):
            raise ValueError(f"{len(images)} structures where {len(waiting)} were expected")
    except InputError:
        raise
    except Exception as error:  # ASE's readers raise whatever their parsing runs into
        if len(waiting) > 1:
            for one in waiting:
                yield from _read(splitter, path, [one])
            return
        index = waiting[0][0]
        yield index, _problem(path, index, UNREADABLE, first_line(error))
        return
    for (index, chunk), atoms in zip(waiting, images, strict=True):
        atoms.info.update(chunk.info)
        yield index, atoms


def _problem(path: Path, index: int, reason: str, why: str = "") -> Unusable:
    says = {
        CUT_SHORT: "the file ends in the middle of it",
        NOT_CONVERGED: "its electronic structure did not converge; --unconverged takes it nevertheless",
        FORCE_FIELD: "a machine-learned force field made it, not an ab initio calculation",
        UNREADABLE: f"cannot be read ({why})" if why else "cannot be read",
    }
    return Unusable(f"{path}: frame {index}: {says[reason]}.", reason)
