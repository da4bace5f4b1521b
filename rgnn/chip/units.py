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


def units_in(texts: Iterable[str]) -> tuple[ConductanceUnit, ...]:
    """The units that headings or comments state, such as "G (uS)", "R [kOhm]" or "conductance_nS"."""
    texts = list(texts)
    return tuple(unit for unit, pattern in _STATED.items() if any(pattern.search(text) for text in texts))


def to_siemens(values: np.ndarray, unit: ConductanceUnit) -> np.ndarray:
    """Conductances in siemens; of resistances the inverse, and NaN where one is not above zero."""
    if unit in SIEMENS:
        return SIEMENS[unit] * values
    ohms = OHMS[unit] * values
    conductances: np.ndarray = np.divide(1.0, ohms, out=np.full(ohms.shape, np.nan), where=ohms > 0)
    return conductances
