"""Noise."""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from rgnn.base.rng import normal
from rgnn.chip.cells import Cells
from rgnn.chip.hardware import Hardware


class Noise(Protocol):
    """How the fluctuations of one call enter its products.

    Attributes:
        weight: [out, in] without fluctuations that change from row to row.
        strength: relative deviation of a cell.
        settings: what else decides on the numbers of a call, for those who prepare them.
    """

    weight: Tensor
    strength: float
    settings: tuple[str | float | int | None, ...]

    def product(self, q: Tensor, columns: Tensor | slice, key: int, first: int) -> Tensor:
        """[rows, k] codes on these columns of W -> [rows, out] in code units, noise included.

        The noise of a row depends on the key and on its number alone; the first is number `first`.
        """


class NoNoise:
    """y = q W^T; also where one fluctuation is shared by all rows and planes of a call (or by all calls)."""

    strength = 0.0
    settings: tuple[str | float | int | None, ...] = ()

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight

    def product(self, q: Tensor, columns: Tensor | slice, key: int, first: int) -> Tensor:
        return q @ self.weight[:, columns].T


class RowNoise:
    """Fluctuations independent from row to row: y ~ N(q W^T, V (s R)^2^T), V from the codes.

    "read":    every bit plane reads the cells anew, V = sum_b 4^b x_b.
    "product": one fluctuation per product, V = q^2; `bits` is None.
    """

    def __init__(self, cells: Cells, hardware: Hardware) -> None:
        assert hardware.noise is not None
        self.weight, self.strength = cells.weight, hardware.noise
        self.bits = hardware.bits if hardware.noise_sharing == "read" else None
        self.settings: tuple[str | float | int | None, ...] = (hardware.noise_reference, self.bits)
        self._cells = cells

    @property
    def variance(self) -> Tensor:
        """[out, in] R^2, of a fluctuation of strength 1."""
        return self._cells.reference(str(self.settings[0])).square()

    def product(self, q: Tensor, columns: Tensor | slice, key: int, first: int) -> Tensor:
        squares = q.square() if self.bits is None else sum_of_squared_planes(q, self.bits)
        deviation = (squares @ self.variance[:, columns].T).sqrt_().mul_(self.strength)
        numbers = torch.arange(first, first + len(q), device=q.device)
        noise = normal(key, numbers, len(self.weight)).to(q.dtype)
        return noise.mul_(deviation).addmm_(q, self.weight[:, columns].T)


class PlaneNoise:
    """Fluctuations drawn once per bit plane and shared by all rows of the call, as published.

    `fluctuations` [n, out, in] are the N_b, so y = sum_b x_b (2^b (W + N_b))^T.
    """

    settings: tuple[str | float | int | None, ...] = ()

    def __init__(self, cells: Cells, hardware: Hardware, key: int) -> None:
        assert hardware.bits is not None and hardware.noise is not None
        self.weight, self.strength = cells.weight, hardware.noise
        self.fluctuations = fluctuations(cells, hardware, key, hardware.bits)

    def product(self, q: Tensor, columns: Tensor | slice, key: int, first: int) -> Tensor:
        cells = self.weight + self.fluctuations
        planes = torch.cat(list(bit_planes(q, len(cells))), dim=1)
        powers = 2.0 ** torch.arange(len(cells), dtype=q.dtype, device=q.device)
        stacked = (powers.view(-1, 1, 1) * cells[:, :, columns]).permute(1, 0, 2).flatten(1)
        return planes @ stacked.T


def fluctuations(cells: Cells, hardware: Hardware, key: int, n: int) -> Tensor:
    """[n, out, in] draws of s R z."""
    reference = cells.reference(hardware.noise_reference)
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
