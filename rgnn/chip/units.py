"""Units of measured maps: conductances and resistances, and how files name them."""

import re
from collections.abc import Iterable
from typing import get_args

import numpy as np

from rgnn.base.choices import ConductanceUnit

SIEMENS: dict[str, float] = {"S": 1.0, "mS": 1e-3, "uS": 1e-6, "nS": 1e-9, "pS": 1e-12}
OHMS: dict[str, float] = {"Ohm": 1.0, "kOhm": 1e3, "MOhm": 1e6, "GOhm": 1e9}
UNITS: tuple[ConductanceUnit, ...] = get_args(ConductanceUnit)

_MICRO = "[uµμ]"
_OHM = "(?:[Oo]hms?|Ω|Ω)"
_SPELLINGS: dict[ConductanceUnit, str] = {
    "mS": "mS|[Mm]illi[Ss]iemens",
    "uS": f"{_MICRO}S|[Mm]icro[Ss]iemens",
    "nS": "nS|[Nn]ano[Ss]iemens",
    "pS": "pS|[Pp]ico[Ss]iemens",
    "kOhm": f"[kK]{_OHM}|[Kk]ilo{_OHM}",
    "MOhm": f"M{_OHM}|[Mm]ega?{_OHM}",
    "GOhm": f"G{_OHM}|[Gg]iga{_OHM}",
    "Ohm": f"(?<![A-Za-zµμ]){_OHM}",
    # A lone S is a unit only where it is set off as one: [S], (S), G_S, G/S, in S.
    "S": r"(?<=[\[(_/])S(?=$|[\])\s,;_])|(?<=\bin )S\b|[Ss]iemens",
}
# No letter and no number stands directly before a unit: "50 nS" is the value of something else, mA/mS is not a unit.
_STATED = {
    unit: re.compile(rf"(?<![A-Za-zµμ])(?<!\d)(?<!\d )(?:{spelling})(?![A-Za-z])")
    for unit, spelling in _SPELLINGS.items()
}
# One over ohms is a conductance: 1/Ohm, Ohm^-1, kΩ⁻¹.
_INVERSE = re.compile(rf"1\s*/\s*([kKMG]?){_OHM}(?![A-Za-z])|([kKMG]?){_OHM}\s*(?:\^?\s*[-−]1|⁻¹)")
_OVER: dict[str, ConductanceUnit] = {"": "S", "k": "mS", "K": "mS", "M": "uS", "G": "nS"}
# Words of numbers that are no conductances; a lone R or I only as a name.
_OTHERS = {
    "resistances": (r"resistance", r"R([\s_(\[/].*)?"),
    "currents": (r"[\[(]\s*[pnuµμm]?A\s*[\])]", r"I([\s_(\[/].*)?|[Cc]urrents?([\s_(\[/].*)?"),
}


def units_in(texts: Iterable[str]) -> tuple[ConductanceUnit, ...]:
    """The units that headings or comments state, such as "G (uS)", "R [kOhm]" or "conductance_nS"."""
    texts = [_INVERSE.sub(lambda found: f"[{_OVER[found[1] or found[2] or '']}]", text) for text in texts]
    return tuple(unit for unit, pattern in _STATED.items() if any(pattern.search(text) for text in texts))


def other_quantity(names: Iterable[str], comments: Iterable[str] = ()) -> str | None:
    """What numbers are, "resistances" or "currents", by their names or comments; None where nothing says so."""
    names = [name.strip() for name in names]
    for quantity, (anywhere, name) in _OTHERS.items():
        said = any(re.search(anywhere, text, re.IGNORECASE) for text in (*names, *comments))
        if said or any(re.fullmatch(name, text) for text in names):
            return None if any(re.search("conductance", t, re.IGNORECASE) for t in (*names, *comments)) else quantity
    return None


def to_siemens(values: np.ndarray, unit: ConductanceUnit) -> np.ndarray:
    """Conductances in siemens; of resistances the inverse, and NaN where one is not above zero."""
    if unit in SIEMENS:
        return SIEMENS[unit] * values
    ohms = OHMS[unit] * values
    conductances: np.ndarray = np.divide(1.0, ohms, out=np.full(ohms.shape, np.nan), where=ohms > 0)
    return conductances
