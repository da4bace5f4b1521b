"""Units that files of structures state, as factors to Angstrom, eV and fs."""

import re
from dataclasses import dataclass

from ase import units

from rgnn.base.choices import UnitStyle
from rgnn.base.errors import InputError

_LENGTHS = {
    **dict.fromkeys(("a", "ang", "angs", "angstrom", "angstroms", "å", "å"), 1.0),
    **dict.fromkeys(("bohr", "bohrs", "a0", "a_0"), units.Bohr),
    "nm": 10.0, "nanometer": 10.0, "pm": 0.01, "m": 1e10,
}  # fmt: skip
_ENERGIES = {
    **dict.fromkeys(("ev", "electronvolt", "electronvolts"), 1.0),
    **dict.fromkeys(("ha", "hartree", "hartrees", "eh", "e_h"), units.Hartree),
    **dict.fromkeys(("ry", "rydberg", "rydbergs"), units.Rydberg),
    "mev": 1e-3, "kev": 1e3, "j": units.J, "joule": units.J,
    # Without "per mole" these are never energies of atoms, but some files leave it out.
    "kcal/mol": units.kcal / units.mol, "kj/mol": units.kJ / units.mol,
    "kcal": units.kcal / units.mol, "kj": units.kJ / units.mol,
}  # fmt: skip
_PRESSURES = {
    "pa": units.Pascal, "mpa": 1e6 * units.Pascal, "gpa": units.GPa, "bar": units.bar, "kbar": 1e3 * units.bar,
    "kb": 1e3 * units.bar,
}  # fmt: skip
# LAMMPS' own names of its systems of units, with factors of length, energy and time.
_STYLES: dict[str, tuple[float, float, float]] = {
    "metal": (1.0, 1.0, 1e3),
    "real": (1.0, units.kcal / units.mol, 1.0),
    "electron": (units.Bohr, units.Hartree, 1.0),
    "si": (1e10, units.J, 1e15),
}
_STYLES["atomic"] = _STYLES["au"] = _STYLES["a.u."] = _STYLES["electron"]


@dataclass(frozen=True)
class Units:
    """Factors that take what a file holds to Angstrom, eV, eV/Angstrom and fs."""

    length: float = 1.0
    energy: float = 1.0
    force: float = 1.0
    time: float = 1.0


EV_ANGSTROM = Units()


def style_units(style: UnitStyle | str, where: str) -> Units:
    """The units of one of LAMMPS' styles: metal, real, electron (also called atomic) or si.

    Raises:
        InputError: another style, which has no absolute units.
    """
    if style.lower() not in _STYLES:
        raise InputError(f"{where}: its units are '{style}', which rgnn does not know; write it in Angstrom and eV.")
    length, energy, time = _STYLES[style.lower()]
    return Units(length, energy, energy / length, time)


def named_units(text: str, where: str) -> Units:
    """The units of a style, or of a list of units such as "eV, Angstrom" or "eV/Angstrom".

    Raises:
        InputError: a name that is neither.
    """
    if text.strip().lower() in _STYLES:
        return style_units(text.strip(), where)
    length, energy, force = 1.0, None, None
    for name in re.split(r"[,;\s]+", text.strip()):
        plain = _plain(name)
        if plain in _LENGTHS:
            length = _LENGTHS[plain]
        elif plain in _ENERGIES:
            energy = _ENERGIES[plain]
        else:
            force = force_unit(name, where)
    if energy is None and force not in (None, 1.0):
        raise InputError(
            f"{where}: its units are '{text}', which says nothing of energy and length; name them as well."
        )
    energy = 1.0 if energy is None else energy
    return Units(length, energy, energy / length if force is None else force)


def length_unit(text: str, where: str) -> float:
    """How many Angstrom a unit of length is.

    Raises:
        InputError: no such unit.
    """
    name = _plain(text)
    return _STYLES["au"][0] if name in ("au", "a.u.") else _factor(name, _LENGTHS, "length", text, where)


def energy_unit(text: str, where: str) -> float:
    """How many eV a unit of energy is.

    Raises:
        InputError: no such unit.
    """
    name = _plain(text)
    return _STYLES["au"][1] if name in ("au", "a.u.") else _factor(name, _ENERGIES, "energy", text, where)


def force_unit(text: str, where: str) -> float:
    """How many eV/Angstrom a unit of force is, such as eV/Angstrom, Hartree/Bohr, kcal/mol/A or mRy/au.

    Raises:
        InputError: no such unit.
    """
    name = _plain(text)
    if name in ("au", "a.u."):
        return _STYLES["au"][1] / _STYLES["au"][0]
    energy, _, length = name.rpartition("/")
    if not energy:
        return _factor(name, {"n": units.J / 1e10, "nn": units.J * 1e-9 / 1e10}, "force", text, where)
    below = _STYLES["au"][0] if length in ("au", "a.u.") else _factor(length, _LENGTHS, "force", text, where)
    return _factor(energy, _ENERGIES, "force", text, where) / below


def pressure_unit(text: str, where: str) -> float:
    """How many eV/Angstrom^3 a unit of stress is, such as GPa, kbar or eV/A^3.

    Raises:
        InputError: no such unit.
    """
    name = text.strip().strip("'\"[]() ").lower()
    if name in _PRESSURES:
        return _PRESSURES[name]
    energy, _, volume = name.rpartition("/")
    length = re.fullmatch(r"\s*(\S+?)\s*(?:\^|\*\*)?\s*3", volume)
    if not energy or length is None:
        raise InputError(f"{where}: its unit of stress is '{text}', which rgnn does not know; write it in eV/A^3.")
    return energy_unit(energy, where) / length_unit(length[1], where) ** 3


def _plain(text: str) -> str:
    """A unit in lower case, its division by a slash: "eV Å^-1", "eV*Ang**-1" and "eV per Angstrom" are "ev/å"."""
    name = text.strip().strip("'\"[]() ").replace("µ", "u").lower()
    name = re.sub(r"\s+per\s+", "/", name)
    name = re.sub(r"[\s*·]*([a-zå_0.]+?)\s*(?:\^|\*\*)?\s*\{?-1\}?", r"/\1", name)
    return re.sub(r"\s*([/*])\s*", r"\1", name).replace("*", "/").strip("/")


def _factor(name: str, known: dict[str, float], kind: str, text: str, where: str) -> float:
    for prefix, size in (("", 1.0), ("m", 1e-3)):
        if name.startswith(prefix) and name[len(prefix) :] in known and (not prefix or known is _ENERGIES):
            return size * known[name[len(prefix) :]]
    raise InputError(f"{where}: its unit of {kind} is '{text}', which rgnn does not know; write it in eV and Angstrom.")
