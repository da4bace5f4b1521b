"""Long text outputs in bounded memory: they are cut into their frames, and ASE reads some frames at a time.

ASE's readers of these formats hold a whole file, and give up all of it at the first flaw. Here a splitter finds
where frames begin and end; the header of the file and the text of some frames make a small file that ASE reads.
"""

import io
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from rgnn.base.errors import first_line
from rgnn.data.formats.lines import Lines
from rgnn.data.formats.selection import Items, Selection
from rgnn.data.frames import Unusable

# Frames that ASE reads at once, and characters of them.
BATCH, BATCH_TEXT = 64, 1 << 21

CUT_SHORT, NOT_CONVERGED, UNREADABLE = "cut short", "not converged", "unreadable"


@dataclass(frozen=True)
class Chunk:
    """The text of one frame; `problem` is why it cannot be used, or empty."""

    text: str
    problem: str = ""


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


class ExtXYZ(Splitter):
    """Extended XYZ: the number of atoms, a comment, a line for each atom."""

    format = "extxyz"

    def split(self, lines: Iterable[str]) -> Iterator[Chunk]:
        """Cut the lines of a file into its frames."""
        reader = iter(lines)
        for count in reader:
            if not count.strip():
                continue
            if not count.strip().isdigit():
                yield Chunk(count, UNREADABLE)
                return
            wanted = int(count) + 1
            frame = [line for _, line in zip(range(wanted), reader, strict=False)]
            whole = len(frame) == wanted and (frame[-1].endswith("\n") or _like(frame[-1], frame[-2]))
            yield Chunk(count + "".join(frame), "" if whole else CUT_SHORT)


def _like(last: str, before: str) -> bool:
    """Whether a line without an end is whole: as many columns and decimals as the line before it."""
    ends = [line.split() for line in (last, before)]
    return len(ends[0]) == len(ends[1]) and len({end[-1].partition(".")[2].__len__() for end in ends if end}) == 1


class VaspXML(Splitter):
    """vasprun.xml: a header, and <calculation> for each ionic step."""

    format = "vasp-xml"
    _steps = re.compile(r'name="NELM"\s*>\s*(\d+)')

    def split(self, lines: Iterable[str]) -> Iterator[Chunk]:
        """Cut the lines of a file into its frames."""
        header: list[str] = []
        step: list[str] | None = None
        most = None
        for line in lines:
            if step is None:
                if "<calculation" in line:
                    self.header = self.header or "".join(header)
                    step = [line]
                elif not self.header:
                    header.append(line)
                    most = most or self._steps.search(line)
            else:
                step.append(line)
            if step is not None and "</calculation>" in line:
                text = "".join(step)
                exhausted = most is not None and text.count("<scstep") >= int(most[1])
                yield Chunk(text, NOT_CONVERGED if exhausted else "")
                step = None
        if step is not None:
            yield Chunk("", CUT_SHORT)

    def document(self, texts: list[str]) -> str:
        """A file that ASE reads, of the header and the texts of some frames."""
        return self.header + "".join(texts) + "</modeling>\n"


class Outcar(Splitter):
    """VASP's OUTCAR: a header, and from its first electronic iteration on, each ionic step."""

    format = "vasp-out"
    _first = re.compile(r"Iteration\s+\d+\(\s*1\)")

    def split(self, lines: Iterable[str]) -> Iterator[Chunk]:
        """Cut the lines of a file into its frames."""
        step: list[str] = []
        for line in lines:
            if "Iteration" in line and self._first.search(line):
                if self.header:
                    yield self._chunk(step, last=False)
                else:
                    self.header = "".join(step)
                step = []
            step.append(line)
        if self.header:
            yield self._chunk(step, last=True)

    @staticmethod
    def _chunk(step: list[str], last: bool) -> Chunk:
        text = "".join(step)
        if "TOTAL-FORCE" not in text or "energy  without entropy" not in text.partition("FREE ENERGIE OF THE ION")[2]:
            return Chunk("", CUT_SHORT if last else UNREADABLE)
        return Chunk(text, "" if "EDIFF is reached" in text else NOT_CONVERGED)


class Espresso(Splitter):
    """Output of Quantum ESPRESSO's pw.x: a header with the first structure, and others before their results."""

    format = "espresso-out"
    batch = 1  # its first structure stands in the header, which ASE takes for a frame of its own

    def split(self, lines: Iterable[str]) -> Iterator[Chunk]:
        """Cut the lines of a file into its frames."""
        frame: list[str] = []
        first = results = False
        for line in lines:
            started = "Program PWSCF" in line
            if started or (results and ("CELL_PARAMETERS" in line or "ATOMIC_POSITIONS" in line)):
                if results:
                    yield self._chunk(frame)
                frame, results = [], False
                first = started
                self.header = "" if started else self.header
            if first and "Self-consistent Calculation" in line and not self.header:
                self.header = "".join(frame)
                frame = []
            frame.append(line)
            results = results or "Forces acting on atoms" in line
        # A run that has ended prints where its atoms would go next, and that it is done.
        if results or not any("JOB DONE" in line for line in frame):
            yield self._chunk(frame)

    @staticmethod
    def _chunk(frame: list[str]) -> Chunk:
        text = "".join(frame)
        if "convergence NOT achieved" in text:
            return Chunk(text, NOT_CONVERGED)
        return Chunk(text, "" if "Total force" in text else CUT_SHORT)


SPLITTERS: dict[str, type[Splitter]] = {kind.format: kind for kind in (ExtXYZ, VaspXML, Outcar, Espresso)}


def read_text(path: Path, format: str, wanted: Selection) -> Items:  # noqa: A002 (ASE's word)
    """The wanted frames of a text file in a format that there is a splitter for."""
    lines, splitter = Lines(path), SPLITTERS[format]()
    waiting: list[tuple[int, str]] = []
    size, index = 0, -1
    for index, chunk in enumerate(splitter.split(lines)):
        if wanted.past(index):
            break
        if index not in wanted:
            continue
        if chunk.problem and not (chunk.problem == NOT_CONVERGED and wanted.unconverged):
            yield from _read(splitter, path, waiting, wanted)
            waiting, size = [], 0
            yield index, _problem(path, index, chunk.problem)
            continue
        waiting.append((index, chunk.text))
        size += len(chunk.text)
        if len(waiting) >= splitter.batch or size >= BATCH_TEXT:
            yield from _read(splitter, path, waiting, wanted)
            waiting, size = [], 0
    yield from _read(splitter, path, waiting, wanted)
    if lines.cut and not wanted.past(index + 1):
        yield index + 1, _problem(path, index + 1, CUT_SHORT)


def _read(splitter: Splitter, path: Path, waiting: list[tuple[int, str]], wanted: Selection) -> Items:
    """Frames of one small file; where it cannot be read, each frame by itself."""
    if not waiting:
        return
    try:
        images = splitter.read([text for _, text in waiting], path)
        if len(images) != len(waiting):
            raise ValueError(f"{len(images)} structures where {len(waiting)} were expected")
    except Exception as error:  # ASE's readers raise whatever their parsing runs into
        if len(waiting) > 1:
            for one in waiting:
                yield from _read(splitter, path, [one], wanted)
            return
        index = waiting[0][0]
        yield index, _problem(path, index, UNREADABLE, first_line(error))
        return
    for (index, _), atoms in zip(waiting, images, strict=True):
        yield index, wanted.frame(atoms, f"{path}: frame {index}")


def _problem(path: Path, index: int, reason: str, why: str = "") -> Unusable:
    says = {
        CUT_SHORT: "the file ends in the middle of it",
        NOT_CONVERGED: "its electronic structure did not converge; --unconverged takes it nevertheless",
        UNREADABLE: f"cannot be read ({why})" if why else "cannot be read",
    }
    return Unusable(f"{path}: frame {index}: {says[reason]}.", reason)
