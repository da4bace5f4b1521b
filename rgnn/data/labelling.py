"""Forces from any ASE calculator, named by its import path: so that a potential can be distilled into a chip."""

import importlib
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from rgnn.base.errors import InputError, first_line


@dataclass(frozen=True)
class Label:
    """A calculator that gives frames their forces.

    Args:
        path: "module:name" of a calculator class, or of a function that returns a calculator; it is called without
            arguments, and may lie in the current folder.
    """

    path: str

    @cached_property
    def calculator(self) -> Any:
        """The calculator, made when it is first asked for.

        Raises:
            InputError: it cannot be imported or made.
        """
        module, colon, name = self.path.partition(":")
        if not (module and colon and name):
            raise InputError(f"'{self.path}' names no calculator; write it as chgnet.model.dynamics:CHGNetCalculator.")
        if "" not in sys.path:
            sys.path.insert(0, "")
        try:
            made = getattr(importlib.import_module(module), name)()
        except ImportError as error:
            raise InputError(
                f"'{self.path}' cannot be imported ({first_line(error)}); install its package here."
            ) from None
        except Exception as error:  # what another package raises while it is set up
            raise InputError(f"'{self.path}' gives no calculator ({first_line(error)}).") from None
        if not hasattr(made, "get_forces"):
            raise InputError(f"'{self.path}' is a {type(made).__name__}, which has no get_forces; name a calculator.")
        return made

    def label(self, atoms: Atoms) -> Atoms:
        """The same atoms with the calculator's forces, and its energy and stress where it has them."""
        fresh = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, info=dict(atoms.info))
        fresh.calc = self.calculator
        results: dict[str, Any] = {"forces": fresh.get_forces()}
        if "energy" in self.calculator.implemented_properties:
            results["energy"] = float(fresh.get_potential_energy())
        if "stress" in self.calculator.implemented_properties and fresh.pbc.all():
            results["stress"] = fresh.get_stress()
        fresh.calc = SinglePointCalculator(fresh, **results)
        return fresh
