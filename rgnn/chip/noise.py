"""How the cells of a crossbar fluctuate from read to read, and what the fluctuations do to its products.

Closed forms replace the sum over bit planes where there are any (see `rgnn.chip.product`): one class for each form.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from rgnn.base.rng import normal
from rgnn.chip.cells import Cells
from rgnn.chip.hardware import Hardware

# What decides on the numbers that a kernel prepares from a noise.
CacheKey = tuple[str | float | int | None, ...]


class Noise(Protocol):
    """How the fluctuations of one call enter its products.

    Attributes:
        weight: [out, in] without fluctuations that change from row to row.
        strength: relative deviation of a cell.
        bits: planes of a code that are read one by one; None where a code counts as a whole.
        draws_rows: whether each row of a product has its own draws, from a key and the number of the row.
        has_closed_form: whether mean, `variance` and `fluctuations` are all there is to know; output converters,
            for instance, see each plane for itself.
    """

    weight: Tensor
    strength: float
    bits: int | None
    draws_rows: bool
    has_closed_form: bool

    @property
    def variance(self) -> Tensor | None:
        """[out, in] variance of a cell at strength 1, where rows have their own draws; None otherwise."""

    @property
    def fluctuations(self) -> Tensor | None:
        """[planes, out, in] draws that all rows of the call share; None where there are none."""

    def cache_key(self) -> CacheKey | None:
        """What decides on prepared numbers beside the weight; None where another call has other numbers."""

    def product(self, q: Tensor, columns: Tensor | slice, key: int, first: int) -> Tensor:
        """[rows, k] codes on these columns of W -> [rows, out] in code units, noise included.

        The noise of a row depends on the key and on its number alone; the first is number `first`.
        """


class NoNoise:
    """y = q W^T; also where one fluctuation is shared by all rows and planes of a call (or by all calls)."""

    strength = 0.0
    bits: int | None = None
    draws_rows, has_closed_form = False, True
    variance: Tensor | None = None
    fluctuations: Tensor | None = None

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight

    def cache_key(self) -> CacheKey | None:
        """Nothing beside the weight."""
        return ()

    def product(self, q: Tensor, columns: Tensor | slice, key: int, first: int) -> Tensor:
        """See `Noise`."""
        return q @ self.weight[:, columns].T


class RowNoise:
    """Fluctuations independent from row to row: y ~ N(q W^T, V (s R)^2^T), V from the codes.

    "read":    every bit plane is another read of the cells, V = sum_b 4^b x_b.
    "product": one fluctuation per product, V = q^2; `bits` is None.
    """

    draws_rows, has_closed_form = True, True
    fluctuations: Tensor | None = None

    def __init__(self, cells: Cells, hardware: Hardware) -> None:
        assert hardware.noise is not None
        self.weight, self.strength = cells.weight, hardware.noise
        self.bits = hardware.bits if hardware.noise_sharing == "read" else None
        self._cells, self._reference, self._law = cells, hardware.noise_reference, hardware.noise_law

    @cached_property
    def variance(self) -> Tensor:
        """[out, in] R^2, of a fluctuation of strength 1."""
        return self._cells.reference(self._reference, self._law).square()

    def cache_key(self) -> CacheKey | None:
        """What a fluctuation is relative to, and the planes."""
        return (self._reference, self.bits) if self._law is None else (self._reference, self.bits, hash(self._law))

    def product(self, q: Tensor, columns: Tensor | slice, key: int, first: int) -> Tensor:
        """See `Noise`."""
        squares = q.square() if self.bits is None else sum_of_squared_planes(q, self.bits)
        deviation = (squares @ self.variance[:, columns].T).sqrt_().mul_(self.strength)
        numbers = torch.arange(first, first + len(q), device=q.device)
        noise = normal(key, numbers, len(self.weight)).to(q.dtype)
        return noise.mul_(deviation).addmm_(q, self.weight[:, columns].T)


def difference_of_rows(noise: Noise, q: Tensor, p: Tensor, key: int, first: int) -> Tensor:
    """[rows, out] of codes q less those of p [rows, in], for a noise whose rows have draws and a closed form.

    y ~ N((q - p) W^T, (V(q) + V(p)) (s R)^2^T).
    """
    assert noise.variance is not None
    squares = [c.square() if noise.bits is None else sum_of_squared_planes(c, noise.bits) for c in (q, p)]
    deviation = ((squares[0] + squares[1]) @ noise.variance.T).sqrt_().mul_(noise.strength)
    numbers = torch.arange(first, first + len(q), device=q.device)
    return normal(key, numbers, len(noise.weight)).to(q.dtype).mul_(deviation).addmm_(q - p, noise.weight.T)


class PlaneNoise:
    """Fluctuations drawn once per bit plane and shared by all rows of the call, as published.

    `fluctuations` [n, out, in] are the N_b, so y = sum_b x_b (2^b (W + N_b))^T.
    """

    draws_rows, has_closed_form = False, True
    variance: Tensor | None = None

    def __init__(self, cells: Cells, hardware: Hardware, key: int) -> None:
        assert hardware.bits is not None and hardware.noise is not None
        self.weight, self.strength = cells.weight, hardware.noise
        self.bits: int | None = hardware.bits
        self.fluctuations = fluctuations(cells, hardware, key, hardware.bits)

    def cache_key(self) -> CacheKey | None:
        """None: each call has other draws."""
        return None

    def product(self, q: Tensor, columns: Tensor | slice, key: int, first: int) -> Tensor:
        """See `Noise`."""
        cells = self.weight + self.fluctuations
        planes = torch.cat(list(bit_planes(q, len(cells))), dim=1)
        powers = 2.0 ** torch.arange(len(cells), dtype=q.dtype, device=q.device)
        stacked = (powers.view(-1, 1, 1) * cells[:, :, columns]).permute(1, 0, 2).flatten(1)
        return planes @ stacked.T


def fluctuations(cells: Cells, hardware: Hardware, key: int, n: int) -> Tensor:
    """[n, out, in] draws of s R z."""
    reference = cells.reference(hardware.noise_reference, hardware.noise_law)
    numbers = torch.arange(n * len(reference), device=reference.device)
    draws = normal(key, numbers, reference.shape[1]).view(n, *reference.shape)
    return (hardware.noise or 0.0) * reference * draws.to(reference.dtype)


def bit_planes(q: Tensor, n: int) -> Iterator[Tensor]:
    """The n bits of whole numbers q, the lowest first, each in q's float type."""
    codes = q.int()
    for b in range(n):
        yield (codes >> b & 1).to(q.dtype)


def sum_of_squared_planes(q: Tensor, bits: int) -> Tensor:
    """V(q) = sum_b 4^b x_b for whole numbers q of at most 16 bits, where x_b is bit b of q.

    4^b moves bit b to bit 2b: a zero is interleaved before every bit, by halves of halves.
    """
    v = q.to(torch.int16 if bits <= 8 else torch.int32)  # the narrowest type that holds 4^bits / 3
    for shift, mask in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555)):
        if bits > shift:
            v |= v << shift
            v &= mask if bits > 8 else mask & 0x7FFF
    return v.to(q.dtype)
