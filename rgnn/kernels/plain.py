"""The kernels in plain torch: what every other form is tested against. Runs on any device, in any precision."""

import math

import torch
from torch import Tensor
from torch.nn.functional import linear, pad

from rgnn.chip.product import EVERY, AnalogProduct
from rgnn.graphs.topology import Part
from rgnn.graphs.triplets import TripletPlan, triplet_extremes, triplet_sum
from rgnn.kernels.interface import Kernels, Radial
from rgnn.kernels.repeatable import add_rows

# Signs of the harmonics of rank 0, 1 and 2 in the opposite direction.
PARITY = (1, -1, -1, -1, 1, 1, 1, 1, 1)
# Rows, whatever their width, that fill whole vectors of any processor.
WHOLE_VECTORS = 32


def gate(x: Tensor) -> Tensor:
    """sigmoid(a) tanh(b) of the two halves (a, b) of the features [rows, 2 F]."""
    # Contiguous halves vectorise, three times as fast. torch rounds what is left after the last whole vector
    # otherwise, so rows are added: a row is then the same among any others.
    a, b = pad(x.unflatten(-1, (2, -1)).movedim(-2, 0), (0, 0, 0, -len(x) % WHOLE_VECTORS)).contiguous()
    return (torch.sigmoid(a) * torch.tanh(b))[: len(x)]


class PlainProducts:
    """Analog products as they are defined."""

    def product(self, call: AnalogProduct, x: Tensor, *, relu: bool = False) -> Tensor:
        """See `Products`."""
        y = call(x)
        return y.relu_() if relu else y

    def accumulate(self, call: AnalogProduct, x: Tensor, columns: Tensor) -> Tensor:
        """See `Products`."""
        return call.accumulate(x, columns)

    def of_gaussians(
        self, call: AnalogProduct, mu: Tensor, s: Tensor, d: Tensor, block: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `Products`."""
        e, steepest = torch.exp(-0.5 * ((d[:, None] - mu) / s).square()), steepest_slope(s)
        slope = (mu - d[:, None]) / s.square() * e / steepest
        x = torch.stack([e, slope.relu(), (-slope).relu()])
        placed = x.new_zeros((3, len(d), call.noise.weight.shape[1] // len(mu), len(mu)))
        placed[:, torch.arange(len(d), device=d.device), block] = x
        value, rises, falls = placed.flatten(2)
        key = call.key()
        return call.finish(call.accumulate(value, EVERY, key)), call.difference(rises, falls, key, len(d)) * steepest


def steepest_slope(s: Tensor) -> float:
    """The largest slope of Gaussians of widths s: exp(-1/2) / s at a distance of s from the centre."""
    return math.exp(-0.5) / float(s.min())


class PlainTriplets:
    """Sums over triplets, block by block."""

    def extremes(self, plan: TripletPlan, p: Tensor, q: Tensor) -> Tensor:
        """See `TripletSums`."""
        return triplet_extremes(plan, p.detach(), q.detach())

    def three_body(
        self, plan: TripletPlan, p: Tensor, q: Tensor, fc: Tensor | None, first: AnalogProduct, second: AnalogProduct
    ) -> Tensor:
        """See `TripletSums`."""
        key = second.key()

        def message(h: Tensor, number: int) -> Tensor:
            def read(x: Tensor) -> Tensor:
                return second.finish(second.accumulate(x, EVERY, key, number))

            return gate(second.with_gradient(read, first.finish(h).relu_()))

        return triplet_sum(plan, p, q, fc, message)

    def trained_three_body(
        self, plan: TripletPlan, p: Tensor, q: Tensor, fc: Tensor | None, weight: Tensor, bias: Tensor
    ) -> Tensor:
        """See `TripletSums`."""
        return triplet_sum(plan, p, q, fc, lambda h, _: gate(linear(h.relu(), weight, bias)))


class PlainEdges:
    """Sums over edges by index."""

    def moments(self, part: Part, phi: Tensor, u: Tensor, fc: Tensor | None) -> Tensor:
        """See `EdgeSums`."""
        y = harmonics(u) if fc is None else harmonics(u) * fc[:, None]
        sums = phi.new_zeros((part.n_atoms, y.shape[1], phi.shape[1]))
        return add_rows(sums, part.centre, y[:, :, None] * phi[:, None, :])

    def along_edges(self, part: Part, y: Tensor, centre: Tensor, neighbour: Tensor) -> Tensor:
        """See `EdgeSums`."""
        (i, j), opposite = part.ends_out, y * y.new_tensor(PARITY)
        terms = [
            projected[:, m].index_select(0, atoms) * factor[:, m, None]
            for projected, atoms, factor in ((centre, i, y), (neighbour, j, opposite))
            for m in range(y.shape[1])
        ]
        return torch.stack(terms).sum(0)

    def gradients(
        self, part: Part, phi: Tensor, slope: Tensor, geometry: tuple[Tensor, Tensor, Tensor], b: Tensor
    ) -> Tensor:
        """See `EdgeSums`."""
        (d, u, (fc, dfc)), mine = geometry, b[part.centre]
        along, across = (torch.einsum("ek,emk->em", x, mine) for x in (slope, phi))
        radial = ((along * fc[:, None] + across * dfc[:, None]) * harmonics(u)).sum(1, keepdim=True)
        turn = torch.einsum("em,ema->ea", across * fc[:, None], harmonic_slopes(u))
        return radial * u + (turn - u * (turn * u).sum(1, keepdim=True)) / d[:, None]

    def radial(self, mu: Tensor, s: Tensor, weight: Tensor, reach: float) -> Tensor:
        """The weights; see `EdgeSums`."""
        return weight

    def pair_terms(self, radial: Radial, table: Tensor) -> tuple[Tensor, Tensor]:
        """See `EdgeSums`."""
        rows = torch.arange(len(radial.d), device=table.device)
        value, slope = (f[rows, radial.pair] for f in _functions(radial, table))
        return value, slope

    def messages(self, part: Part, radial: Radial, u: Tensor, table: Tensor, sent: Tensor) -> Tensor:
        """See `EdgeSums`."""
        (w, _), y = _functions(radial, table), harmonics(u)
        passed = w * torch.einsum("eh,ehf->ef", y, sent[part.ends_out[1]])
        return add_rows(sent.new_zeros((part.n_atoms, *sent.shape[1:])), part.centre, y[:, :, None] * passed[:, None])

    def message_gradients(
        self, part: Part, radial: Radial, u: Tensor, table: Tensor, sent: Tensor, b: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `EdgeSums`."""
        (w, slope), y, j = _functions(radial, table), harmonics(u), part.ends_out[1]
        theirs, mine = sent[j], b[part.centre]
        t, p = (torch.einsum("eh,ehf->ef", y, x) for x in (theirs, mine))
        along = (slope * t * p).sum(1, keepdim=True)
        across = torch.einsum("ef,ehf->eh", w * t, mine) + torch.einsum("ef,ehf->eh", w * p, theirs)
        turn = torch.einsum("eh,eha->ea", across, harmonic_slopes(u))
        gradient = along * u + (turn - u * (turn * u).sum(1, keepdim=True)) / radial.d[:, None]
        ends = part.arrivals
        back = (y[:, :, None] * (w * p)[:, None])[ends.order]
        return gradient, add_rows(sent.new_zeros((len(ends.atoms), *sent.shape[1:])), ends.place, back)


def gaussians(mu: Tensor, s: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """[E, k] Gaussians of distances d [E], and their derivative by d."""
    away = mu - d[:, None]
    e = torch.exp(-0.5 * (away / s).square())
    return e, away / s.square() * e


def _functions(radial: Radial, weight: Tensor) -> tuple[Tensor, Tensor]:
    """[E, F] G(d) . weight [k, F] fc(d), and its derivative by d."""
    value, slope = (term @ weight for term in gaussians(radial.mu, radial.s, radial.d))
    fc, dfc = radial.envelope[:, :, None]
    return value * fc, slope * fc + value * dfc


def harmonics(u: Tensor) -> Tensor:
    """[E, 9]: 1, u and Y(u) for unit vectors [E, 3]."""
    x, y, z = u.unbind(1)
    root = 2**0.5
    quadratic = [root * x * y, root * y * z, root * z * x, (x * x - y * y) / root, (3 * z * z - 1) / 6**0.5]
    return torch.stack([torch.ones_like(x), x, y, z, *quadratic], dim=1)


def harmonic_slopes(u: Tensor) -> Tensor:
    """[E, 9, 3] their derivatives by u."""
    x, y, z = (u * 2**0.5).unbind(1)
    one, o = torch.ones_like(x), torch.zeros_like(x)
    rows = [
        (o, o, o), (one, o, o), (o, one, o), (o, o, one),
        (y, x, o), (o, z, y), (z, o, x), (x, -y, o), (o, o, 3**0.5 * z),
    ]  # fmt: skip
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


PLAIN = Kernels("plain", PlainProducts(), PlainTriplets(), PlainEdges())
