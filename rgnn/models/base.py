"""What a force field is: the classes that every family of models derives from."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from rgnn.base.errors import InputError
from rgnn.base.provenance import Provenance
from rgnn.base.rng import draw_key
from rgnn.chip.board.tap import Tap
from rgnn.chip.cells import Cells
from rgnn.chip.crossbar import Crossbar
from rgnn.chip.hardware import Hardware
from rgnn.chip.product import Gradient
from rgnn.chip.slow import Moment
from rgnn.graphs.graph import Graph
from rgnn.graphs.topology import Part
from rgnn.kernels import choose
from rgnn.models.operations import Operations, Workload
from rgnn.models.parts.elements import ElementAxis
from rgnn.models.parts.repulsion import Repulsion
from rgnn.models.reading import ChipReading, Monitor
from rgnn.models.settings import ModelSettings

Output = Literal["energy", "forces", "stress"]
# The matrices of a chip, layer by layer.
ChipCells = Sequence[Sequence[Cells | Tensor]]


@dataclass(frozen=True)
class Prediction:
    """What a model says of a frame or a batch of frames.

    Where processes share a frame (`Graph.topology.halo`), forces are those on the own atoms, or on all of which the
    first are own; energy and stress are the share of this process: of the energies of its own atoms, over the volume
    of the whole cell. The sum over processes is that of the frame.

    Attributes:
        forces: [N, 3], eV/Angstrom.
        energy: [frames], eV; None from models without an energy.
        stress: [frames, 3, 3], eV/Angstrom^3, of ASE's sign; None without an energy or where a frame is not periodic.
    """

    forces: Tensor
    energy: Tensor | None = None
    stress: Tensor | None = None


@dataclass(frozen=True)
class Locality:
    """How far a model looks, and what processes that share a structure must exchange.

    Attributes:
        cutoff: longest edge, Angstrom.
        reach: distance beyond which no atom changes a force, Angstrom.
        exchanges_features: ghosts need features that their owners have computed.
        returns_forces: forces on ghosts belong to their owners, to which the family gives them by
            `Graph.return_nodes`.
    """

    cutoff: float
    reach: float
    exchanges_features: bool = True
    returns_forces: bool = False


class LinearReadout(Protocol):
    """The weights of a model whose forces are linear in them: what solving for them needs.

    Attributes:
        weight: [S, n] a row for each of the S elements that the atom of a force may have.
        elements: atomic numbers of the rows.
    """

    @property
    def weight(self) -> Tensor:
        """[S, n] a row for each of the S elements that the atom of a force may have."""

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers of the rows."""

    @property
    def ready(self) -> bool:
        """Whether statistics and ranges have been set, after which `design` stays the same."""

    def element_index(self, g: Graph) -> Tensor:
        """[N] the row of each atom."""

    def design(self, g: Graph, reading: ChipReading) -> Tensor:
        """[N, 3, n] force components for a weight of 1 each: F_i = design_i weight[element of i]."""

    def spread(self, g: Graph, reading: ChipReading, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Forces [N, 3], and their mean square [N] over draws [S, n, K] of weights, from one read of the chip."""


class ForceField(nn.Module, ABC):
    """A model of atomic forces, most of whose weights may be conductances of a chip.

    A family derives from this class or one below it, and is registered in `rgnn.models.families`. Its constructor takes
    (settings, hardware, cells, seed, member): the matrices of the chip, the seed of the trained weights, and the number
    among several models that share a training.

    Args:
        settings: the shape of the model.
        hardware: the hardware that the model is trained for, and reads with unless a reading says otherwise.

    Attributes:
        provenance: where the model comes from.
        repulsion: of nuclei at distances that no training frame has; None without.
        tap: takes the place of the simulated chip in every reading, such as a board; None simulates it. Not saved.
    """

    family: ClassVar[str]
    outputs: ClassVar[frozenset[Output]]
    settings_class: ClassVar[type[ModelSettings]]

    def __init__(self, settings: ModelSettings, hardware: Hardware) -> None:
        super().__init__()
        self.settings, self.hardware, self.provenance = settings, hardware, Provenance()
        self.repulsion = Repulsion() if settings.repulsion == "zbl" else None
        self.tap: Tap | None = None

    # What a family states

    @classmethod
    def matrices(cls, settings: Any) -> list[list[tuple[int, int]]]:
        """(outputs, inputs) of each matrix on the chip, layer by layer, of a model with these settings."""
        raise NotImplementedError

    @classmethod
    def operations(cls, settings: Any, workload: Workload, *, split: bool = True) -> Operations:
        """Exact counts of a forward pass of a model with these settings.

        Args:
            settings: of this family.
            workload: mean numbers of atoms, edges and triplets of a frame.
            split: products of concatenations are formed in parts and added, as here; False forms each as a whole.
        """
        raise NotImplementedError

    @property
    @abstractmethod
    def locality(self) -> Locality:
        """How far the model looks."""

    @abstractmethod
    def predict(self, g: Graph, reading: ChipReading) -> Prediction:
        """The prediction for a graph with at least one edge."""

    @abstractmethod
    def layer_features(self, g: Graph, reading: ChipReading) -> Iterator[tuple[Tensor, Tensor]]:
        """Features of nodes [N, ...] and of edges [E, ...] at the input and after each layer, for diagnosis."""

    def atom_features(self, g: Graph, reading: ChipReading) -> Tensor:
        """[N, F] what the model knows of each atom's surroundings, the same however a frame is turned.

        By default the node features of the last layer.
        """
        *_, (nodes, _) = self.layer_features(g, reading)
        return nodes.detach().reshape(g.n_atoms, -1)

    @property
    def linear(self) -> LinearReadout | None:
        """The weights of the model where forces are linear in all that is trained; None otherwise."""
        return None

    @property
    def element_axes(self) -> Mapping[str, ElementAxis]:
        """The axis of elements in each tensor that has one, by its name; tensors of no element are not named."""
        return {}

    def mixture_inputs(self, g: Graph, reading: ChipReading) -> list[Tensor]:
        """[rows, channels] what each set of trained linear mixtures of channels of the chip meets; none by default.

        A model that moves to other cells matches these sets (`rgnn.models.transfer`).
        """
        return []

    def change_mixtures(self, number: int, change: Tensor) -> None:
        """Let a set of mixtures take channels of other cells: new weights are `change` [channels, channels] @ old."""

    # What all families share

    def finish_crossbars(self, member: int) -> None:
        """Tell the crossbars, once they are all made, which member they belong to and whether they convert outputs."""
        converts = self.hardware.adc_bits is not None and self.hardware.adc_range == "calibrated"
        for crossbar in self.crossbars:
            crossbar.member = member
            if converts:
                crossbar.expect_output_converters()

    @property
    def reference(self) -> Tensor | None:
        """[120] reference energies by atomic number, eV, of a model with an energy; they may be changed in place."""
        return None

    @property
    def members(self) -> "Sequence[ForceField]":
        """The models whose mean this one is: itself, unless it is a committee."""
        return (self,)

    @property
    def crossbars(self) -> list[Crossbar]:
        """The matrices on the chip, layer by layer."""
        return [module for module in self.modules() if isinstance(module, Crossbar)]

    @property
    def uses_chip(self) -> bool:
        """Whether some of the weights are on a chip."""
        return bool(self.crossbars)

    @property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers the model was trained on; empty where that is not known."""
        return self.provenance.elements

    @property
    def device(self) -> torch.device:
        """Where the tensors of the model are."""
        return self._a_tensor.device

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type that the model computes in."""
        return self._a_tensor.dtype

    @property
    def _a_tensor(self) -> Tensor:
        tensors = itertools.chain(self.parameters(), self.buffers())
        return next((t for t in tensors if t.is_floating_point()), torch.empty(0))

    @property
    def n_trained(self) -> int:
        """Number of weights that training changes."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    @property
    def n_fixed(self) -> int:
        """Number of weights fixed on the chip."""
        return sum(crossbar.weight.numel() for crossbar in self.crossbars)

    def read(
        self,
        hardware: Hardware | None = None,
        generator: torch.Generator | None = None,
        monitor: Monitor | None = None,
        gradient: Gradient = "blocked",
        moment: Moment | None = None,
    ) -> ChipReading:
        """How one pass reads the chip.

        Args:
            hardware: None is that of the model.
            generator: stream of the pass's read noise; None reads without noise.
            monitor: counts of what each crossbar clips are added to it; None counts nothing and is faster.
            gradient: what training sees of the analog products.
            moment: when the pass is made among others, for slow noise; None with a generator is some moment that has
                nothing to do with any other pass.

        Raises:
            InputError: programming noise or slices on a chip that was measured, and so has its conductances.
        """
        hardware = hardware or self.hardware
        if hardware.programming_noise is not None and self.provenance.chip_is_measured:
            raise InputError(
                f"programming_noise is {hardware.programming_noise:g}, but the chip ({self.provenance.chip}) was "
                "measured: what programming did to it is in its conductances; leave programming_noise out."
            )
        if self.provenance.cells_are_reused and (hardware.is_frozen_random or hardware.follows_calls):
            raise InputError(
                "the cells of this model serve several matrices, and what is frozen or slow in a cell would have to be "
                "the same in all; leave stuck cells, programming, retention, frozen and slow noise and errors of "
                "output converters out, or train without --reuse-cells."
            )
        hardware = hardware if self.tap is None else self.tap.hardware(hardware)
        if hardware.slices is not None and self.provenance.chip_is_measured:
            raise InputError(
                f"slices is {hardware.slices}, but the chip ({self.provenance.chip}) was measured: its weights are its "
                "conductances, whole; leave slices out."
            )
        if not hardware.follows_calls or generator is None:
            moment = None
        elif moment is None:
            moment = Moment(draw_key(generator), 0)
        return ChipReading(hardware, generator, choose(self.device, self.dtype), monitor, gradient, self.tap, moment)

    def forward(self, g: Graph, reading: ChipReading | None = None) -> Prediction:
        """Predict for one frame or a batch with the model's cutoff; without a reading as trained, without noise."""
        if g.n_edges == 0:
            return self.without_edges(g)
        return self.repelled(self.predict(g, self.read() if reading is None else reading), g)

    def repelled(self, found: Prediction, g: Graph) -> Prediction:
        """A prediction of the family with the repulsion of nuclei added, where the model has one."""
        if self.repulsion is None:
            return found
        forces, energy, strain = self.repulsion(g)
        return Prediction(
            found.forces + forces[: len(found.forces)].to(found.forces),  # own atoms have all of theirs
            None if found.energy is None else found.energy + energy,
            None if found.stress is None or g.volume is None else found.stress + strain / g.volume[:, None, None],
        )

    def without_edges(self, g: Graph) -> Prediction:
        """What isolated atoms feel: nothing."""
        return Prediction(torch.zeros(g.n_atoms, 3, device=self.device, dtype=self.dtype))

    @property
    def kind(self) -> str:
        """What the model is, in words."""
        return self.settings.describe()

    def __repr__(self) -> str:
        weights = f"{self.n_trained} trained weights, {self.n_fixed} on the chip"
        return f"{type(self).__name__}({self.kind}, {self.settings.cutoff:g} Å; {weights})"


class DirectForces(ForceField):
    """Forces without an energy: the force on an atom is a sum over the edges out of it."""

    outputs = frozenset({"forces"})

    @abstractmethod
    def edge_forces(self, g: Graph, reading: ChipReading) -> Iterator[tuple[Part, Tensor]]:
        """Part by part, [out, 3] what each edge i -> j brings to the force on i, eV/Angstrom."""

    def predict(self, g: Graph, reading: ChipReading) -> Prediction:
        """The forces."""
        return Prediction(torch.cat([part.sum_over_neighbours(f) for part, f in self.edge_forces(g, reading)]))


def require_shapes(cells: ChipCells, expected: list[list[tuple[int, int]]]) -> None:
    """Raise InputError where matrices do not have the shapes that a model needs."""
    found = [[tuple(w.shape) for w in layer] for layer in cells]
    if found != expected:
        raise InputError(f"the chip gives matrices of shapes {found}, but the model needs {expected}.")
