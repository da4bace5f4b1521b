"""VASP's OUTCAR and vasprun.xml: ionic steps, whether their electrons converged, time and temperature of a run.

Whether a step converged is held against NELM and EDIFF. The words "EDIFF is reached" are no proof: VASP 5 prints them
too where it stopped because NELM iterations were done.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from rgnn.data.formats.text import CUT_SHORT, FORCE_FIELD, NOT_CONVERGED, UNREADABLE, Chunk, Splitter

DYNAMICS = 0  # the value of IBRION
COLDEST = 1.0  # K; VASP writes 0.0001 where no temperature was given


def _run_info(settings: Mapping[str, float], step: int) -> dict[str, float]:
    """Time in fs and temperature in K of a step of dynamics; nothing for other runs."""
    if settings.get("IBRION") != DYNAMICS or not settings.get("POTIM"):
        return {}
    found = {"time_fs": step * settings["POTIM"]}
    begin, end = settings.get("TEBEG"), settings.get("TEEND")
    if begin and begin == end and begin > COLDEST:
        found["temperature"] = begin
    return found


class VaspXML(Splitter):
    """vasprun.xml: a header, and <calculation> for each ionic step."""

    format = "vasp-xml"
    _setting = re.compile(r'name="(NELM|EDIFF|POTIM|IBRION|TEBEG|TEEND)"\s*>\s*([-+.\deE]+)\s*<')
    _learned = re.compile(r'name="ML_(?:LMLFF|FF_LMLFF)"\s*>\s*T')
    _energy = re.compile(r'<i name="e_fr_energy">\s*([-+.\deE]+)\s*</i>')

    def __init__(self) -> None:
        self.settings: dict[str, float] = {}
        self.learns = False

    def split(self, lines: Iterable[str]) -> Iterator[Chunk]:
        """Cut the lines of a file into its frames."""
        header: list[str] = []
        step: list[str] | None = None
        number = 0
        for line in lines:
            if step is None:
                if "<calculation" in line:
                    self.header = self.header or "".join(header)
                    step = [line]
                elif not self.header:
                    header.append(line)
                    if found := self._setting.search(line):
                        self.settings.setdefault(found[1], float(found[2]))
                    self.learns = self.learns or bool(self._learned.search(line))
            else:
                step.append(line)
            if step is not None and "</calculation>" in line:
                number += 1
                yield self._chunk("".join(step), number)
                step = None
        if step is not None:
            yield Chunk("", CUT_SHORT)

    def _chunk(self, text: str, number: int) -> Chunk:
        info = _run_info(self.settings, number)
        if self.learns and "<scstep" not in text:
            return Chunk(text, FORCE_FIELD, info)
        return Chunk(text, "" if self._converged(text) else NOT_CONVERGED, info)

    def _converged(self, text: str) -> bool:
        iterations = text.split("<scstep")[1:]
        most = self.settings.get("NELM")
        if most is None or len(iterations) < most:
            return True
        energies = [float(found[1]) for each in iterations if (found := self._energy.search(each))]
        within = self.settings.get("EDIFF")
        if within is None or len(energies) < 2:
            return False
        return abs(energies[-1] - energies[-2]) < within

    def document(self, texts: list[str]) -> str:
        """A file that ASE reads, of the header and the texts of some frames."""
        return self.header + "".join(texts) + "</modeling>\n"


class Outcar(Splitter):
    """VASP's OUTCAR: a header, and from its first electronic iteration on, each ionic step.

    Tables of other forces than the total ones (without van der Waals terms, of a machine-learned force field) are left
    out, since ASE would take them for the forces.
    """

    format = "vasp-out"
    _iteration = re.compile(r"Iteration\s+(\d+)\(\s*(\d+)\)")
    _setting = re.compile(r"\b(NELM|EDIFF|POTIM|IBRION|TEBEG|TEEND)\s*=\s*([-+.\dEeDd]+)")
    _change = re.compile(r"total energy-change \(2\. order\)\s*:\s*([-+.\dEeDd]+)")
    _table = re.compile(r"^\s*POSITION\s+(.*FORCE.*)$")

    def __init__(self) -> None:
        self.settings: dict[str, float] = {}

    def split(self, lines: Iterable[str]) -> Iterator[Chunk]:
        """Cut the lines of a file into its frames."""
        step: list[str] = []
        learned, number = 0, 0
        rules = -1  # lines of dashes met in a table that is left out, which has two of them
        of_force_field = False
        for line in lines:
            if "ML FORCE on cell" in line:
                of_force_field = True
                learned += 1
            if of_force_field:
                # Stress, cell, forces and energy by the force field; an iteration is ab initio again.
                of_force_field = "enthalpy is ML" not in line and "Iteration" not in line
                if "Iteration" not in line:
                    continue
            if rules >= 0:
                rules += line.lstrip().startswith("-----")
                rules = -1 if rules == 2 else rules
                continue
            if table := self._table.match(line):
                if table[1].strip() != "TOTAL-FORCE (eV/Angst)":
                    rules = 0
                    continue
            elif "Iteration" in line and (found := self._iteration.search(line)) and int(found[2]) == 1:
                if self.header:
                    yield self._chunk(step, number, last=False)
                else:
                    self._begin("".join(step))
                yield from self._learned(learned)
                step, learned, number = [], 0, int(found[1])
            step.append(line)
        if self.header:
            yield self._chunk(step, number, last=True)
        yield from self._learned(learned)

    def _begin(self, header: str) -> None:
        self.header = header
        for name, value in self._setting.findall(header):
            # What the user wrote comes first, and what VASP made of it later.
            self.settings[name] = float(value.lower().replace("d", "e"))

    @staticmethod
    def _learned(tables: int) -> Iterator[Chunk]:
        yield from (Chunk("", FORCE_FIELD) for _ in range(tables))

    def _chunk(self, step: list[str], number: int, last: bool) -> Chunk:
        text, info = "".join(step), _run_info(self.settings, number)
        if "TOTAL-FORCE" not in text or "energy  without entropy" not in text.partition("FREE ENERGIE OF THE ION")[2]:
            return Chunk("", CUT_SHORT if last else UNREADABLE)
        return Chunk(text, "" if self._converged(text) else NOT_CONVERGED, info)

    def _converged(self, text: str) -> bool:
        iterations = [int(found[1]) for found in re.finditer(r"Iteration\s+\d+\(\s*(\d+)\)", text)]
        most, within = self.settings.get("NELM"), self.settings.get("EDIFF")
        if most is None or within is None or not iterations or iterations[-1] < most:
            return "EDIFF is reached" in text
        changes = self._change.findall(text)
        return bool(changes) and abs(float(changes[-1].lower().replace("d", "e"))) < within
