"""Sums over edges that moments need, and their gradients, by compiled loops."""

import math
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.weak import WeakTensorKeyDictionary

from rgnn.graphs.topology import Part
from rgnn.kernels import edge_loops
from rgnn.kernels.interface import Radial
from rgnn.kernels.plain import PARITY, PLAIN, gaussians

PARITIES = np.array(PARITY, np.float32)
NO_ENVELOPE = np.empty(0, np.float32)


def share_cores() -> None:
    """As many threads as torch has."""
    numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))


class CompiledEdges:
    """Sums over edges, one row of atoms after the other; tables of radial functions are kept while weights live."""

    def __init__(self) -> None:
        self._tables: Any = WeakTensorKeyDictionary()

    def moments(self, part: Part, phi: Tensor, u: Tensor, fc: Tensor | None) -> Tensor:
        """See `EdgeSums`."""
        if phi.dtype != torch.float32:
            return PLAIN.edges.moments(part, phi, u, fc)
        share_cores()
        sums = torch.empty((part.n_atoms, 9, phi.shape[1]))
        envelope = NO_ENVELOPE if fc is None else fc.contiguous().numpy()
        given = phi.contiguous().numpy(), u.contiguous().numpy(), envelope
        edge_loops.moments(*given, part.first_out.numpy(), sums.numpy())
        return sums

    def along_edges(self, part: Part, y: Tensor, centre: Tensor, neighbour: Tensor) -> Tensor:
        """See `EdgeSums`."""
        if y.dtype != torch.float32:
            return PLAIN.edges.along_edges(part, y, centre, neighbour)
        return AlongEdges.apply(part, y, centre, neighbour)

    def gradients(
        self, part: Part, phi: Tensor, slope: Tensor, geometry: tuple[Tensor, Tensor, Tensor], b: Tensor
    ) -> Tensor:
        """See `EdgeSums`."""
        if phi.dtype != torch.float32:
            return PLAIN.edges.gradients(part, phi, slope, geometry, b)
        d, u, (fc, dfc) = geometry
        edges = tuple(x.contiguous().numpy() for x in (phi, slope, d, u, fc, dfc))
        return EdgeGradients.apply(part, edges, b)

    def radial(self, mu: Tensor, s: Tensor, weight: Tensor, reach: float) -> Tensor:
        """[3 knots, F] values, slopes and curvatures, in turn, of the functions at knots; see `EdgeSums`.

        Cubics between knots follow them at a tenth of the cost of the Gaussians.
        """
        if weight.dtype != torch.float32:
            return PLAIN.edges.radial(mu, s, weight, reach)
        if torch.is_grad_enabled() and weight.requires_grad:
            return _table(mu, s, weight, reach)
        owner = weight if weight._base is None else weight._base
        # By what they hold: not every change of a tensor counts in its version.
        key = (*(x.tobytes() for x in _arrays(weight, mu, s)), reach)
        if self._tables.get(owner, (None, None))[0] != key:
            self._tables[owner] = key, _table(mu, s, weight, reach).detach()
        table: Tensor = self._tables[owner][1]
        return table

    def pair_terms(self, radial: Radial, table: Tensor) -> tuple[Tensor, Tensor]:
        """See `EdgeSums`."""
        if table.dtype != torch.float32:
            return PLAIN.edges.pair_terms(radial, table)
        edges = (*_arrays(radial.d, *radial.envelope, radial.pair), np.float32(_step(radial.s)))
        value, slope = PairTerms.apply(edges, table)
        return value, slope

    def messages(self, part: Part, radial: Radial, u: Tensor, table: Tensor, sent: Tensor) -> Tensor:
        """See `EdgeSums`."""
        if table.dtype != torch.float32:
            return PLAIN.edges.messages(part, radial, u, table, sent)
        return Messages.apply(part, _message_edges(part, radial, u), table, sent)

    def message_gradients(
        self, part: Part, radial: Radial, u: Tensor, table: Tensor, sent: Tensor, b: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `EdgeSums`."""
        if table.dtype != torch.float32:
            return PLAIN.edges.message_gradients(part, radial, u, table, sent, b)
        gradient, to_sent = MessageGradients.apply(part, _message_edges(part, radial, u), table, sent, b)
        return gradient, to_sent


# Least number of knots in the width of a Gaussian: cubics between them differ from it, and from its slope, by 3e-8.
KNOTS = 24
# Shares of the edges that cores take turns at; their number does not depend on that of the cores, nor do sums.
SHARES = 8


def _table(mu: Tensor, s: Tensor, weight: Tensor, reach: float) -> Tensor:
    """See `CompiledEdges.radial`."""
    step = _step(s)
    d = step * torch.arange(int(reach / step) + 3)
    value, slope = gaussians(mu, s, d)
    curvature = (mu - d[:, None]) / s.square() * slope - value / s.square()
    return torch.stack([value, slope, curvature], dim=1).flatten(0, 1) @ weight


def _step(s: Tensor) -> float:
    """Distance between knots, Angstrom: a power of two, so that the place between them loses no digit."""
    step: float = 2.0 ** math.floor(math.log2(float(s.min()) / KNOTS))
    return step


def _message_edges(part: Part, radial: Radial, u: Tensor) -> tuple[Any, ...]:
    """What the loops of messages begin with."""
    arrays = _arrays(radial.d, u, *radial.envelope, part.ends_out[1])
    return (*arrays, np.float32(_step(radial.s)))


class PairTerms(torch.autograd.Function):
    """Pair terms, linear in the table."""

    @staticmethod
    def forward(ctx: Any, edges: tuple[Any, ...], table: Tensor) -> tuple[Tensor, Tensor]:
        """See `EdgeSums.pair_terms`."""
        share_cores()
        ctx.edges, ctx.shape = edges, table.shape
        value, slope = torch.empty(len(edges[0])), torch.empty(len(edges[0]))
        edge_loops.pair_terms(*edges, *_arrays(table, value, slope))
        return value, slope

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_value: Tensor, of_slope: Tensor) -> tuple[Tensor | None, ...]:
        """Gradient to the table."""
        parts = torch.zeros((SHARES, *ctx.shape))
        edge_loops.to_pairs(*ctx.edges, *_arrays(of_value, of_slope, parts))
        return None, parts.sum(0)


class EdgeGradients(torch.autograd.Function):
    """Derivatives along edges, linear in what comes from the moments."""

    @staticmethod
    def forward(ctx: Any, part: Part, edges: tuple[np.ndarray, ...], b: Tensor) -> Tensor:
        """See `EdgeSums.gradients`."""
        share_cores()
        ctx.part, ctx.edges = part, edges
        result = torch.empty((len(edges[0]), 3))
        edge_loops.edge_gradients(*edges, b.contiguous().numpy(), part.first_out.numpy(), result.numpy())
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Gradient to b."""
        result = torch.empty((ctx.part.n_atoms, 9, ctx.edges[0].shape[1]))
        edge_loops.to_moments(*ctx.edges, gradient.contiguous().numpy(), ctx.part.first_out.numpy(), result.numpy())
        return None, None, result


class Messages(torch.autograd.Function):
    """Sums of messages, linear in the table and in what is sent."""

    @staticmethod
    def forward(ctx: Any, part: Part, edges: tuple[Any, ...], table: Tensor, sent: Tensor) -> Tensor:
        """See `EdgeSums.messages`."""
        share_cores()
        ctx.part, ctx.edges = part, edges
        ctx.save_for_backward(table, sent)
        sums = torch.empty((part.n_atoms, *sent.shape[1:]))
        edge_loops.messages(*edges, *_arrays(table, sent), part.first_out.numpy(), sums.numpy())
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients to the table and to what is sent."""
        table, sent = ctx.saved_tensors
        straight = torch.empty((len(ctx.edges[0]), sent.shape[2]))
        parts = torch.zeros((SHARES, *table.shape))
        first = ctx.part.first_out.numpy()
        edge_loops.to_sums(*ctx.edges, *_arrays(table, sent, gradient), first, straight.numpy(), parts.numpy())
        to_sent = _to_senders(ctx.part, ctx.edges[1], straight)
        return None, None, parts.sum(0), _of_all(ctx.part, to_sent, len(sent))


class MessageGradients(torch.autograd.Function):
    """Derivatives of messages, linear in the table, in what is sent and in what comes from the sums."""

    @staticmethod
    def forward(
        ctx: Any, part: Part, edges: tuple[Any, ...], table: Tensor, sent: Tensor, b: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `EdgeSums.message_gradients`."""
        share_cores()
        ctx.part, ctx.edges = part, edges
        ctx.save_for_backward(table, sent, b)
        result, back = torch.empty((len(edges[0]), 3)), torch.empty((len(edges[0]), sent.shape[2]))
        first = part.first_out.numpy()
        edge_loops.message_gradients(*edges, *_arrays(table, sent, b), first, result.numpy(), back.numpy())
        return result, _to_senders(part, edges[1], back)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, of_sent: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients to the table, to what is sent and to b."""
        table, sent, b = ctx.saved_tensors
        n, width = len(ctx.edges[0]), sent.shape[2]
        to_b, parts = torch.empty(b.shape), torch.zeros((SHARES, *table.shape))
        straight, turned, change = torch.empty((n, width)), torch.empty((n, width)), torch.empty((n, 9))
        edge_loops.to_messages(
            *ctx.edges,
            *_arrays(table, sent, b, gradient, _of_all(ctx.part, of_sent, len(sent))),
            ctx.part.first_out.numpy(),
            *_arrays(to_b, straight, turned, change, parts),
        )
        to_sent = _to_senders(ctx.part, ctx.edges[1], straight, change, turned)
        return None, None, parts.sum(0), _of_all(ctx.part, to_sent, len(sent)), to_b


def _arrays(*tensors: Tensor) -> tuple[np.ndarray, ...]:
    return tuple(x.detach().contiguous().numpy() for x in tensors)


def _to_senders(part: Part, u: np.ndarray, straight: Tensor, *turning: Tensor) -> Tensor:
    """[n, 9, F] for the atoms of `Part.arrivals`: see `edge_loops.to_senders`."""
    ends, nothing = part.arrivals, torch.empty((0, 9))
    sums = torch.empty((len(ends.atoms), 9, straight.shape[1]))
    edge_loops.to_senders(u, *_arrays(straight, *(turning or (nothing, nothing)), ends.order, ends.first, sums))
    return sums


def _of_all(part: Part, rows: Tensor, n_atoms: int) -> Tensor:
    """[N, 9, F] with these rows for the atoms of `Part.arrivals`, and zeros for others."""
    every = torch.zeros((n_atoms, *rows.shape[1:]))
    every[part.arrivals.atoms] = rows
    return every


def sums_over_edges(part: Part, x: Tensor, y: Tensor) -> Tensor:
    """[atoms, M, K] of x [out, K] times y [out, M]."""
    share_cores()
    sums = torch.empty((part.n_atoms, y.shape[1], x.shape[1]))
    edge_loops.to_centres(x.contiguous().numpy(), y.contiguous().numpy(), part.first_out.numpy(), sums.numpy())
    return sums


class AlongEdges(torch.autograd.Function):
    """Gradients return to both ends of the edges."""

    @staticmethod
    def forward(ctx: Any, part: Part, y: Tensor, centre: Tensor, neighbour: Tensor) -> Tensor:
        """See `EdgeSums`."""
        share_cores()
        y = y.contiguous()
        ctx.part, ctx.y, ctx.shape = part, y, centre.shape
        result = torch.empty((len(y), centre.shape[2]))
        shown = centre.contiguous().numpy(), neighbour.contiguous().numpy()
        edge_loops.along_edges(y.numpy(), PARITIES, *part.ends_out.numpy(), *shown, result.numpy())
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients to both projections."""
        part, gradient = ctx.part, gradients[0].contiguous()
        to_centre, to_neighbour = torch.zeros(ctx.shape), torch.zeros(ctx.shape)
        to_centre[part.atoms] = sums_over_edges(part, gradient, ctx.y)
        width = -(-ctx.shape[2] // torch.get_num_threads())
        ends = part.ends_out[1].numpy()
        edge_loops.to_neighbours(ctx.y.numpy(), PARITIES, ends, gradient.numpy(), width, to_neighbour.numpy())
        return None, None, to_centre, to_neighbour
