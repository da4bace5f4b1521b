"""RGNN as an ASE calculator: forces only, since the model has no energy."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.data import chemical_symbols

from rgnn.base.errors import InputError
from rgnn.base.rng import torch_stream
from rgnn.chip.slow import Moment
from rgnn.graphs.graph import Graph
from rgnn.graphs.skin import SkinList
from rgnn.models.base import ForceField
from rgnn.models.checkpoints import load_model
from rgnn.models.inference import predict
from rgnn.models.uncertainty import Uncertainty


class NoEnergyError(PropertyNotImplementedError):
    """The model was asked for something else than forces."""


class RGNNCalculator(Calculator):
    """Forces in eV/Angstrom from a model on its simulated chip.

    Each evaluation reads the chip again. Asked again about atoms that have not changed, ASE gives the forces it
    has; `reset()` makes it evaluate them again.

    Args:
        model: a model, which is set to evaluation mode, or the path of a model folder or training run.
        bits, noise: hardware; None is as trained, noise 0 switches it off.
        seed: of the read noise; None is 0.
        device: None leaves a model where it is and reads a folder to the CPU.
        remove_net_force: subtract the mean force, so that the centre of mass is not accelerated. True forces on all
            atoms, held ones included, add up to zero, so this brings the forces nearer to them whatever is held.
        any_element: accept elements that the model was not trained on.
        uncertainty: of this model, from `load_uncertainties`; None estimates nothing.

    Attributes:
        calls: force evaluations so far; it numbers the noise stream of the next, so setting it continues a run.
        net_force: [3] sum of the forces of the last call before any removal, in eV/Angstrom; it grades the model.
        neighbours: the kept neighbour list.
        isolated: [N] atoms that had no neighbour inside the cutoff in the last call.
        estimates: whether calls estimate the uncertainty; may be switched off for calls that are not looked at.
        sigma: [N] standard deviation of a force component in the last call, eV/Angstrom; None where not estimated.

    Raises:
        InputError: no model there; or, when called, an element that the model does not know, or a position
            that is not a number.
        NoEnergyError: asked for an energy, stress or anything else but forces.
    """

    implemented_properties = ["forces"]  # noqa: RUF012 (ASE's interface)

    def __init__(
        self,
        model: ForceField | str | Path,
        bits: int | None = None,
        noise: float | None = None,
        seed: int | None = None,
        device: torch.device | str | None = None,
        *,
        remove_net_force: bool = False,
        any_element: bool = False,
        uncertainty: Uncertainty | None = None,
    ) -> None:
        super().__init__()
        self.model = (model if isinstance(model, ForceField) else load_model(model)).eval()
        if device is not None:
            self.model = self.model.to(device)
        self.hardware = self.model.hardware.with_given(bits, noise)
        self.seed = 0 if seed is None else seed
        self.remove_net_force = remove_net_force
        self.any_element = any_element
        self.uncertainty, self.estimates = uncertainty, uncertainty is not None
        self.sigma: np.ndarray | None = None
        self.calls = 0
        self.neighbours = SkinList(self.model.settings.cutoff)
        self._last: Graph | None = None
        self.net_force = np.zeros(3)
        self.isolated = np.zeros(0, dtype=bool)

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """ASE's interface."""
        if name not in self.implemented_properties:
            what = name.replace("_", " ")
            raise NoEnergyError(
                f"the model gives forces and no {what}; take forces, or a method that needs nothing else "
                "(rgnn md --minimise instead of an optimiser of ASE that asks for the energy)."
            )
        return super().get_property(name, atoms, allow_calculation)

    def calculate(
        self, atoms: Atoms | None = None, properties: list[str] | None = None, system_changes: list[str] = all_changes
    ) -> None:
        """ASE's interface; fills results['forces']."""
        super().calculate(atoms, properties or ["forces"], system_changes)
        if not self.any_element:
            require_elements(self.model, self.atoms)
        g = self._graph()
        forces, self.sigma = self.evaluate(g)
        self.calls += 1
        self.net_force = forces.sum(axis=0)
        self.isolated = np.bincount(g.edge_index[0].cpu().numpy(), minlength=g.n_atoms) == 0
        if self.remove_net_force and np.isfinite(self.net_force).all():  # else the broken atom could not be found
            forces -= self.net_force / g.n_atoms
        self.results["forces"] = forces

    def evaluate(self, g: Graph) -> tuple[np.ndarray, np.ndarray | None]:
        """[N, 3] float64 forces of the model and, where it is estimated, [N] sigma, with the noise of this call."""
        noise, moment = torch_stream(self.seed, "md noise", self.calls), Moment(self.seed, self.calls)
        reading = self.model.read(self.hardware, noise, moment=moment)
        found = predict(self.model, g, reading, self.uncertainty if self.estimates else None)
        return found.forces, found.sigma

    def _graph(self) -> Graph:
        """The atoms as a graph; the last one with other vectors where no edge has come or gone."""
        a = self.atoms
        index, vector = self.neighbours.edges(a.positions, a.cell[:], a.pbc)
        g = self._last
        if g is None or not (np.array_equal(g.edge_index, index) and np.array_equal(g.atomic_numbers, a.numbers)):
            self._last = Graph.from_arrays(a.numbers, index, vector)
        else:
            self._last = g.moved(vector)
        return self._last


def require_elements(model: ForceField, atoms: Atoms) -> None:
    """Raise InputError where the structure has an element that the model was not trained on."""
    if not model.elements:
        return  # not recorded, as in the published checkpoint
    strange = sorted(set(atoms.numbers.tolist()) - set(model.elements))
    if strange:
        new, known = (", ".join(chemical_symbols[z] for z in some) for some in (strange, model.elements))
        raise InputError(
            f"the structure has {new}, but the model was trained on {known} only; train on data with all elements, "
            "or allow any element (--any-element) if you know why."
        )
