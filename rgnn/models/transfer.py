"""The start of a training from a trained model: on the same cells or on others, with the same elements or more.

Tensors that belong to elements are put into the rows of these elements in the new model; rows of elements that the old
model does not know keep what the new model was built with. With the same cells, everything that the old model predicts
for its elements is then predicted by the new one, to rounding.

On other cells the channels of a neighbourhood are other sums over the same distances. Where a family mixes them
linearly (`ForceField.mixture_inputs`), the mixtures that match best on some frames, as read with the noise of the
hardware, are found by least squares; statistics and ranges are taken from the same frames.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from rgnn.base.errors import InputError
from rgnn.base.rng import torch_stream
from rgnn.chip.cells import Cells
from rgnn.chip.crossbar import Crossbar
from rgnn.graphs.graph import Graph
from rgnn.models.base import ForceField
from rgnn.models.parts.standardise import PerElementNorm
from rgnn.models.settings import ModelSettings

# What a crossbar keeps of its cells, and what it, like norms, has learned from what is read.
CELLS, RANGES = ("weight", "pair", "read_deviation", "siemens"), ("low", "high", "adc_low", "adc_high")
BATCH_NORM = ("running_mean", "running_var", "num_batches_tracked")
# Share of the mean square of a channel that is added to all when mixtures are matched, for channels that are alike.
DAMPING = 1e-4
# Mean square of standardised channels below which nothing is there to match: one atom alone is its own mean.
NOTHING = 1e-6


@dataclass(frozen=True)
class Rows:
    """Where the elements of a model lie among those of another that has at least as many.

    Attributes:
        old, new: atomic numbers of either model, ascending.
    """

    old: tuple[int, ...]
    new: tuple[int, ...]

    def places(self, size: int, *, pairs: bool) -> Tensor:
        """[size] where the entries of an axis of the old model go, which has the same number for each element.

        Args:
            size: of the axis in the old model.
            pairs: whether the axis counts pairs of elements.
        """
        s, n = len(self.old), len(self.new)
        own = torch.tensor([self.new.index(z) for z in self.old])
        if pairs:
            own = (own[:, None] * n + own[None]).flatten()
            s = s * s
        each = size // s
        return (own[:, None] * each + torch.arange(each)).flatten()


def take_over(model: ForceField, old: ForceField, *, same_cells: bool) -> None:
    """Give a model the trained weights, statistics, ranges and reference energies of another of its shape.

    Args:
        model: of the same family and settings, with the same elements or more.
        old: the trained one.
        same_cells: whether the model was built on the cells of the old one; else what belongs to cells stays.

    Raises:
        InputError: the models are of other shapes, or one has elements that the other lacks.
    """
    rows = Rows(elements_of(old), elements_of(model))
    if old.settings.with_elements(rows.new) != model.settings:
        raise InputError(f"a model ({model.kind}) cannot begin from another ({old.kind}); keep its settings.")
    axes, before, on_cells = model.element_axes, old.state_dict(), set(_of_cells(model))
    fixed = {f"{name}.{part}" for name, m in model.named_modules() if isinstance(m, Crossbar) for part in CELLS}
    for name, tensor in model.state_dict().items():
        if name not in before or name in fixed or (name in on_cells and not same_cells):
            continue
        if name not in axes or rows.old == rows.new:
            tensor.copy_(before[name])
        else:
            axis, mine = axes[name], before[name].to(tensor)
            tensor.index_copy_(axis.number, rows.places(mine.shape[axis.number], pairs=axis.pairs), mine)


def elements_of(model: ForceField) -> tuple[int, ...]:
    """Atomic numbers that a model has rows for; empty where it takes any."""
    return tuple(getattr(model.settings, "elements", ()))


def _of_cells(model: ForceField) -> Iterator[str]:
    """Names of the ranges and statistics that what is read from the cells has set."""
    names = {Crossbar: RANGES, PerElementNorm: ("mean", "square", "batches"), nn.BatchNorm1d: BATCH_NORM}
    for place, module in model.named_modules():
        for kind, parts in names.items():
            if isinstance(module, kind):
                yield from (f"{place}.{part}" for part in parts)


def cells_of(old: ForceField, more: Sequence[Sequence[Cells]], shape: ModelSettings) -> list[list[Cells]]:
    """The cells of a model with more elements: those of the old one, and columns of others for what is new.

    Args:
        old: the trained model.
        more: cells of all matrices of the larger model, of which the new columns are taken.
        shape: settings of the larger model.
    """
    arrays, rows = iter(old.crossbars), Rows(elements_of(old), getattr(shape, "elements", ()))
    return [[_joined(next(arrays).cells, cells, rows) for cells in layer] for layer in more]


def _joined(old: Cells, more: Cells, rows: Rows) -> Cells:
    siemens = None if old.siemens is None else float(old.siemens)
    if old.shape == more.shape:
        return replace(old, siemens=siemens)
    places = rows.places(old.shape[1], pairs=False)

    def both(mine: Tensor | None, other: Tensor | None) -> Tensor | None:
        if mine is None or other is None:
            return None
        return other.clone().index_copy_(other.ndim - 1, places, mine.to(other))

    weight = both(old.weight, more.weight)
    assert weight is not None
    return Cells(weight, both(old.pair, more.pair), both(old.read_deviation, more.read_deviation), siemens)


@torch.no_grad()
def match_cells(model: ForceField, old: ForceField, graphs: Sequence[Graph], seed: int) -> None:
    """Let a model on other cells predict what the old one does, as far as linear mixtures of its channels can.

    Args:
        model: that has taken over the weights of the old one; its mixtures, statistics and ranges change.
        old: the trained model.
        graphs: frames with the elements of the old model.
        seed: of the noise.
    """
    graphs = [g.to(model.device) for g in graphs]
    model.train()
    for number, g in enumerate([*graphs, *graphs]):  # what a later layer meets depends on the statistics before it
        model(g, model.read(None, torch_stream(seed, "other cells", number)))
    model.eval()
    sums: list[tuple[Tensor, Tensor]] = []
    for number, g in enumerate(graphs):
        theirs = old.mixture_inputs(g, old.read())
        mine = model.mixture_inputs(g, model.read(None, torch_stream(seed, "matching", number)))
        found = [((x.T @ x).double(), (x.T @ y).double()) for x, y in zip(mine, theirs, strict=True)]
        sums = [(a + c, b + d) for (a, b), (c, d) in zip(sums, found, strict=True)] if sums else found
    for k, (square, product) in enumerate(sums):
        if float(square.diagonal().mean()) < NOTHING:
            continue
        damped = square + DAMPING * square.diagonal().mean() * torch.eye(len(square)).to(square)
        model.change_mixtures(k, torch.linalg.solve(damped, product))
