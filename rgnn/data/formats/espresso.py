"""Output of Quantum ESPRESSO's pw.x."""

import re
from collections.abc import Iterable, Iterator

from rgnn.data.formats.text import CUT_SHORT, NOT_CONVERGED, Chunk, Splitter

PICOSECONDS = re.compile(r"\btime\s*=\s*(\d+\.\d+)\s*pico-?seconds")


class Espresso(Splitter):
    """Output of Quantum ESPRESSO's pw.x: a header with the first structure, and others before their results."""

    format = "espresso-out"
    batch = 1  # its first structure stands in the header, which ASE takes for another frame

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
        time = PICOSECONDS.search(text)
        info = {"time_ps": float(time[1])} if time else {}
        if "convergence NOT achieved" in text:
            return Chunk(text, NOT_CONVERGED, info)
        return Chunk(text, "" if "Total force" in text else CUT_SHORT, info)
