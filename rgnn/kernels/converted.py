"""Column sums that output converters see plane by plane: matrix products by torch, and one loop for the rest."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rgnn.base.rng import quantiles, stream_seed
from rgnn.chip.converters import Adc
from rgnn.chip.noise import Noise
from rgnn.chip.product import AnalogProduct, ConvertedPlanes
from rgnn.chip.slices import ConvertedSlices
from rgnn.kernels import converted_loops, loops, operands
from rgnn.kernels.operands import FEWER_LIMBS, LIMBS, NO_SQUARES, NO_SUMS, Operand

# Rows whose planes and sums are formed at once, so that they stay in cache.
AT_ONCE = 128
NOTHING = np.empty(0, np.float32)


def can_convert(noise: Noise) -> bool:
    """Whether the loops can form these products: every array has its range, and none of them still follows its sums."""
    if isinstance(noise, ConvertedSlices):
        return all(can_convert(each) for _, each in noise.slices)
    return isinstance(noise, ConvertedPlanes) and noise.adc is not None and noise.observe is None


@dataclass(frozen=True)
class Tile:
    """The columns of one array that lie in one tile.

    Attributes:
        columns: of the codes.
        matrices: [limbs * outputs of the weights, and perhaps those of the variances, k]; one, or one for each plane.
        limbs: of a weight; 1 where the matrices are of float32.
        scale: [matrices, outputs] of the sums of the weights.
        noise_scale: [outputs] of the sums of the variances.
        number: of the tile.
        converters: lsb, first, last, gain, offset, bow, slope and intercept, as `converted_sums` takes them.
    """

    columns: slice
    matrices: tuple[Tensor, ...]
    limbs: int
    scale: np.ndarray
    noise_scale: np.ndarray
    number: int
    converters: tuple[Any, ...]


@dataclass(frozen=True)
class ConvertedArray:
    """One array, read and converted apart.

    Attributes:
        factor: of its sums.
        purpose: keys of its row noise after that of the call; empty for an array that is alone.
        tiles: with columns that are driven.
        n_tiles: all of them.
        idle: [outputs] what tiles without driven columns add to every row.
    """

    factor: float
    purpose: tuple[int | str, ...]
    tiles: tuple[Tile, ...]
    n_tiles: int
    idle: Tensor | None

    @classmethod
    def of(
        cls,
        planes: ConvertedPlanes,
        columns: Tensor | None,
        *,
        whole: bool,
        factor: float,
        purpose: tuple[int | str, ...],
    ) -> "ConvertedArray":
        """See `ConvertedArrays.of`."""
        assert planes.adc is not None and planes.bits is not None
        width, inner = planes.weight.shape[1], planes.inner
        given = torch.arange(width) if columns is None else columns
        places = given if whole else torch.arange(len(given))  # which decide on the tile
        n_tiles = -(-(width if whole else len(given)) // planes.tile)
        tiles, idle = list[Tile](), None
        for t in range(n_tiles):
            inside = ((places >= t * planes.tile) & (places < (t + 1) * planes.tile)).nonzero()[:, 0]
            if not len(inside):
                undriven = planes.adc.convert(torch.zeros(1, len(planes.weight)), None, t)[0] * (2.0**planes.bits - 1)
                idle = undriven if idle is None else idle + undriven
                continue
            part, chosen = slice(int(inside[0]), int(inside[-1]) + 1), given[inside]
            cells = planes.weight[:, chosen]
            weights = (
                [cells] if inner.fluctuations is None else [cells + each[:, chosen] for each in inner.fluctuations]
            )
            variance = None if inner.variance is None else inner.variance[:, chosen]
            tiles.append(
                Tile(part, *_operands(weights, variance, planes.strength), t, _converters(planes.adc, t, planes.bits))
            )
        return cls(factor, purpose, tuple(tiles), n_tiles, idle)


def _operands(
    weights: list[Tensor], variance: Tensor | None, strength: float
) -> tuple[tuple[Tensor, ...], int, np.ndarray, np.ndarray]:
    """Matrices, limbs, scale and scale of the noise, see `Tile`."""
    # torch 2.13 takes a column of int8 for a row.
    limbs = LIMBS if operands.integers_are_exact_and_fast() and weights[0].shape[1] > 1 else 0
    found = [Operand.in_limbs(w, limbs) if limbs else Operand.exact(w) for w in weights]
    scale, noise_scale = np.stack([each.scale for each in found]), NOTHING
    if variance is None:
        return tuple(each.matrix for each in found), limbs or 1, scale, noise_scale
    # A quantiser follows at once, which one limb of a variance would move over a tie in every tenth place.
    other = Operand.in_limbs(variance, FEWER_LIMBS) if limbs else Operand.exact(variance)
    matrices = tuple(torch.cat([each.matrix, other.matrix]) for each in found)
    return matrices, limbs or 1, scale, np.float32(strength) ** 2 * other.scale


def _converters(adc: Adc, tile: int, planes: int) -> tuple[Any, ...]:
    """What `converted_sums` takes of them, once for each plane."""
    one, zero = torch.ones_like(adc.lsb), torch.zeros_like(adc.lsb)
    gain, offset, slope, intercept, bow = one, zero, one, zero, zero[:0, None]
    if adc.errors is not None:
        gain, offset = 1 + adc.errors.gain[tile], adc.errors.offset[tile]
        if adc.errors.bow is not None:
            bow = adc.errors.bow[tile]
        if adc.errors.calibrated:
            slope, intercept = adc.line(tile)
    lsb, first, *others = (
        x.repeat(*[1] * (x.dim() - 1), planes).numpy()
        for x in (adc.lsb, adc.first, gain, offset, bow, slope, intercept)
    )
    return lsb, first, np.float32(adc.last), *others


@dataclass(frozen=True)
class ConvertedArrays:
    """The arrays of one crossbar whose sums are converted, with the same part as `Prepared` has for all others.

    Attributes:
        arrays: slices of the weights; one where these are whole.
        planes: of a code.
        outputs: of the matrix.
    """

    arrays: tuple[ConvertedArray, ...]
    planes: int
    outputs: int

    @classmethod
    def of(cls, call: AnalogProduct, columns: Tensor | None, *, whole: bool) -> "ConvertedArrays":
        """Those of a call on some columns.

        Args:
            call: whose noise `can_convert`.
            columns: of the matrix; None takes all.
            whole: the array is read as a whole with the others not driven, rather than these columns by themselves.
        """
        noise, levels = call.noise, call.converter.levels
        assert levels is not None
        slices: list[tuple[float, Any, tuple[int | str, ...]]]
        if isinstance(noise, ConvertedSlices):
            slices = [(factor, each, ("slice", s)) for s, (factor, each) in enumerate(noise.slices)]
        else:
            slices = [(1.0, noise, ())]
        arrays = tuple(ConvertedArray.of(n, columns, whole=whole, factor=f, purpose=p) for f, n, p in slices)
        return cls(arrays, int(levels).bit_length(), len(noise.weight))

    def buffers(self, strength: float, rows: int, width: int, *, by_rows: bool) -> "ConvertedBuffers":
        """For blocks of at most so many rows; strengths are those of the arrays."""
        return ConvertedBuffers(self, rows, width, by_rows=by_rows)


@cache
def _unscaled(outputs: int) -> tuple[np.ndarray, np.ndarray]:
    return np.ones(outputs, np.float32), np.zeros(outputs, np.float32)


class ConvertedBuffers:
    """Codes of a block of rows, filled by a loop, their planes multiplied, and the sums converted."""

    def __init__(self, prepared: ConvertedArrays, rows: int, width: int, *, by_rows: bool) -> None:
        self.prepared, self.by_rows = prepared, by_rows
        self.codes, self.total = torch.empty((rows, width), dtype=torch.uint8), torch.empty(rows * prepared.outputs)
        self._space: dict[tuple[str, torch.dtype], Tensor] = {}

    def fill(
        self, loop: Callable[..., None], rows: int, key: int, numbers: Callable[[], np.ndarray], *arguments: Any
    ) -> tuple[Any, ...]:
        """Run a loop that writes codes; the converted sums of these, as the loops that follow take products.

        Args:
            loop: of the codes.
            rows: of this block.
            key: of the row noise.
            numbers: gives those of the rows, which their noise follows.
            arguments: of the loop.
        """
        r, by_rows = self.prepared, self.by_rows
        codes = self.codes[:rows]
        loop(*arguments, codes.numpy(), np.int32(0), NO_SQUARES, True, np.int32(1), np.int32(0), np.int32(0))
        shape = (rows, r.outputs) if by_rows else (r.outputs, rows)
        total, names = self.total[: rows * r.outputs].view(shape).zero_(), np.asarray(numbers(), np.int64)
        for array in r.arrays:
            if array.idle is not None:
                total.add_(array.idle if by_rows else array.idle[:, None], alpha=array.factor)
            own = np.uint64((stream_seed(key, *array.purpose) if array.purpose else key) & 0xFFFFFFFFFFFFFFFF)
            for start in range(0, rows, AT_ONCE):
                block = slice(start, min(start + AT_ONCE, rows))
                place = total[block] if by_rows else total[:, block]
                for tile in array.tiles:
                    self._add(array, tile, codes[block, tile.columns], names[block], own, place)
        return total.numpy(), *_unscaled(r.outputs), NO_SUMS, loops.NONE, NOTHING

    def _add(
        self, array: ConvertedArray, tile: Tile, codes: Tensor, numbers: np.ndarray, key: np.uint64, total: Tensor
    ) -> None:
        (rows, width), n, matrix = codes.shape, self.prepared.planes, tile.matrices[0]
        integers = matrix.dtype == torch.int8
        planes = self._room("planes", matrix.dtype, n, rows, width)
        sums = self._room("sums", torch.int32 if integers else torch.float32, n, rows, len(matrix))
        converted_loops.code_planes(codes.numpy(), planes.numpy())
        product = torch._int_mm if integers else torch.mm
        if len(tile.matrices) == 1:
            product(planes.view(-1, width), matrix.T, out=sums.view(-1, len(matrix)))
        else:
            for plane, each, out in zip(planes, tile.matrices, sums, strict=True):
                product(plane, each.T, out=out)
        converted_loops.converted_sums(
            sums.numpy(),
            tile.limbs,
            tile.scale,
            tile.noise_scale,
            numbers,
            n * array.n_tiles,
            tile.number,
            array.n_tiles,
            quantiles().numpy(),
            key,
            *tile.converters,
            np.float32(array.factor),
            self.by_rows,
            total.numpy(),
        )

    def _room(self, name: str, dtype: torch.dtype, *shape: int) -> Tensor:
        """An array that later blocks of the same or a smaller size use again."""
        size = math.prod(shape)
        kept = self._space.get((name, dtype))
        if kept is None or len(kept) < size:
            kept = self._space[name, dtype] = torch.empty(size, dtype=dtype)
        return kept[:size].view(shape)
