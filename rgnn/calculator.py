"""RGNN as an ASE calculator: forces, and energy and stress of models that have an energy."""

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
from rgnn.graphs.graph import Graph, cell_volume, voigt
from rgnn.graphs.skin import SkinList
from rgnn.models.base import ForceField
from rgnn.models.checkpoints import load_model
from rgnn.models.inference import Arrays, predict
from rgnn.models.uncertainty import Uncertainty


class NoEnergyError(PropertyNotImplementedError):
    """The model was asked for what it does not give, or the atoms for a stress that they do not have."""


class RGNNCalculator(Calculator):
    """Forces in eV/Angstrom from a model on its simulated chip, with an energy also that, in eV, and the stress.

    The stress is in eV/Angstrom^3, in ASE's order (xx, yy, zz, yz, xz, xy) and of its sign, positive under tension; it
    is there for atoms that are periodic in all three directions. The energy is free of smearing, so free_energy is the
    same number.

    Each evaluation reads the chip again. Asked again about atoms that have not changed, ASE gives the forces it
    has; `reset()` makes it evaluate them again.

    Args:
        model: a model, which is set to evaluation mode, or the path of a model folder or training run.
        bits, noise: hardware; None is as trained, noise 0 switches it off.
        seed: of the read noise; None is 0.
        device: None leaves a model where it is and reads a folder to the CPU.
        remove_net_force: subtract the mean force, so that the centre of mass is not accelerated. True forces on all
            atoms, held ones included, add up to zero, so this brings the forces nearer to them whatever is held.
            Forces of an energy add up to zero as they are, and are left so.
        any_element: accept elements that the model was not trained on.
        uncertainty: of this model, from `load_uncertainties`; None estimates nothing.

    Attributes:
        implemented_properties: what this model gives, by ASE's names.
        stream: name of the random stream of read noise.
        calls: force evaluations so far; it numbers the noise stream of the next, so setting it continues a run.
        net_force: [3] sum of the forces of the last call before any removal, in eV/Angstrom; it grades the model.
        neighbours: the kept neighbour list.
        isolated: [N] atoms that had no neighbour inside the cutoff in the last call.
        estimates: whether calls estimate the uncertainty; may be switched off for calls that are not looked at.
        sigma: [N] standard deviation of a force component in the last call, eV/Angstrom; None where not estimated.

    Raises:
        InputError: no model there; or, when called, an element that the model does not know, or a position
            that is not a number.
        NoEnergyError: asked for what the model does not give, or for the stress of atoms that are not periodic in
            three directions.
    """

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
        self.has_energy = "energy" in self.model.outputs
        self.implemented_properties = ["energy", "free_energy", "forces", "stress"] if self.has_energy else ["forces"]
        self.hardware = self.model.hardware.with_given(bits, noise)
        self.seed = 0 if seed is None else seed
        self.remove_net_force = remove_net_force
        self.any_element = any_element
        self.uncertainty, self.estimates = uncertainty, uncertainty is not None
        self.sigma: np.ndarray | None = None
        self.stream, self.calls = "md noise", 0
        self.neighbours = SkinList(self.model.settings.cutoff)
        self._last: Graph | None = None
        self.net_force = np.zeros(3)
        self.isolated = np.zeros(0, dtype=bool)

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """ASE's interface."""
        if name == "stress" and self.has_energy and not (self.atoms if atoms is None else atoms).pbc.all():
            raise NoEnergyError(
                "the atoms have no stress, since they are not periodic in all three directions; set pbc to True, or "
                "take energy and forces."
            )
        if name not in self.implemented_properties:
            what = name.replace("_", " ")
            if self.has_energy:
                raise NoEnergyError(f"the model gives energy, forces and stress, and no {what}; take one of these.")
            raise NoEnergyError(
                f"the model gives forces and no {what}; take forces, or a method that needs nothing else "
                "(rgnn md --minimise instead of an optimiser of ASE that asks for the energy)."
            )
        return super().get_property(name, atoms, allow_calculation)

    def calculate(
        self, atoms: Atoms | None = None, properties: list[str] | None = None, system_changes: list[str] = all_changes
    ) -> None:
        """ASE's interface; fills `results` with all that the model gives for these atoms."""
        super().calculate(atoms, properties or ["forces"], system_changes)
        if not self.any_element:
            require_elements(self.model, self.atoms)
        g = self._graph()
        found = self.evaluate(g)
        forces, self.sigma = found.forces, found.sigma
        self.calls += 1
        self.net_force = forces.sum(axis=0)
        self.isolated = np.bincount(g.edge_index[0].cpu().numpy(), minlength=g.n_atoms) == 0
        removes = self.remove_net_force and not self.has_energy
        if removes and np.isfinite(self.net_force).all():  # else the broken atom could not be found
            forces -= self.net_force / g.n_atoms
        self.results["forces"] = forces
        if found.energy is not None:
            self.results["energy"] = self.results["free_energy"] = float(found.energy[0])
        if found.stress is not None:
            self.results["stress"] = voigt(found.stress[0])

    def evaluate(self, g: Graph) -> Arrays:
        """All that the model gives for a frame and, where it is estimated, sigma, with the noise of this call."""
        noise, moment = torch_stream(self.seed, self.stream, self.calls), Moment(self.seed, self.calls)
        reading = self.model.read(self.hardware, noise, moment=moment)
        return predict(self.model, g, reading, self.uncertainty if self.estimates else None)

    def _graph(self) -> Graph:
        """The atoms as a graph; the last one with other vectors where no edge has come or gone."""
        a = self.atoms
        index, vector = self.neighbours.edges(a.positions, a.cell[:], a.pbc)
        volume, g = cell_volume(a.cell[:], a.pbc), self._last
        if g is None or not (np.array_equal(g.edge_index, index) and np.array_equal(g.atomic_numbers, a.numbers)):
            self._last = Graph.from_arrays(a.numbers, index, vector, volume=volume)
        else:
            self._last = g.moved(vector, volume)
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
