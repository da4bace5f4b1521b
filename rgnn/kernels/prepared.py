"""The matrices of crossbars as loops take them, and which calls loops can form."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from rgnn.chip.product import AnalogProduct
from rgnn.kernels.converted import ConvertedArrays, can_convert
from rgnn.kernels.operands import COARSE_NOISE, Prepared


class PreparedMatrices:
    """The matrices of crossbars as loops take them, kept while their weights live."""

    def __init__(self) -> None:
        self._kept: Any = WeakTensorKeyDictionary()
        self._columns: dict[tuple[int, int], Tensor] = {}

    def of(
        self, call: AnalogProduct, columns: Tensor | None = None, *, smooth: bool = False, whole: bool = False
    ) -> Prepared | ConvertedArrays:
        """Those of a call, on some columns.

        Args:
            call: one that `fits`.
            columns: of the matrix; None takes all.
            smooth: the sums pass a gate and a sum, so that fewer digits do.
            whole: the matrix is read as a whole with the other columns not driven, which output converters notice.
        """
        noise = call.noise
        if not noise.has_closed_form:
            return ConvertedArrays.of(call, columns, whole=whole)
        noise_key = noise.cache_key()
        if noise_key is None:
            return Prepared.of(call, columns, smooth=smooth)
        kept = self._kept.setdefault(noise.weight, {})
        part = None if columns is None else columns.data_ptr()
        fewer = smooth or noise.strength >= COARSE_NOISE
        key = (noise.weight._version, part, call.converter.levels, call.converter.nearest, fewer, noise_key)
        if key not in kept:
            kept[key] = Prepared.of(call, columns, smooth=smooth)
        return kept[key]

    def columns(self, block: int, width: int) -> Tensor:
        """The columns of a block, always the same tensor."""
        return self._columns.setdefault((block, width), torch.arange(block * width, (block + 1) * width))


def fits(call: AnalogProduct, x: Tensor) -> bool:
    """Whether the compiled loops can form a product: with codes of 8 bits or less, in float32, uncounted."""
    levels = call.converter.levels
    known = call.counts is None and (call.noise.has_closed_form or can_convert(call.noise))
    return known and levels is not None and levels <= 255 and x.dtype == torch.float32
