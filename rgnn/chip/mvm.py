"""A plain product of any matrix with any vectors on any hardware, without a model."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rgnn.base.errors import InputError
from rgnn.base.rng import stream_seed, torch_stream
from rgnn.chip.cells import Cells
from rgnn.chip.crossbar import Crossbar
from rgnn.chip.hardware import Hardware
from rgnn.chip.slow import Moment


@dataclass(frozen=True)
class MatrixProduct:
    """Products y = W x on some hardware, beside the exact ones.

    Attributes:
        hardware: that was read.
        outputs: [reads, rows, out] float64, of each read.
        exact: [rows, out] float64, without any quantisation or noise.
        codes: [rows, in] input codes; None where the hardware does not quantise.
        low, high: range of the input converters, in the unit of the vectors.
    """

    hardware: Hardware
    outputs: np.ndarray
    exact: np.ndarray
    codes: np.ndarray | None
    low: float
    high: float

    @property
    def mean(self) -> np.ndarray:
        """[rows, out] over the reads."""
        return np.asarray(self.outputs.mean(0))

    @property
    def errors(self) -> np.ndarray:
        """[reads, rows, out] outputs less the exact ones."""
        return np.asarray(self.outputs - self.exact)

    @property
    def relative_error(self) -> float:
        """Root mean square error over the root mean square of the exact outputs; NaN where these are all zero."""
        scale = float(np.sqrt(np.mean(self.exact**2)))
        return float(np.sqrt(np.mean(self.errors**2))) / scale if scale else float("nan")

    @property
    def read_deviation(self) -> float | None:
        """Standard deviation of an output from read to read; None of a single read, and without noise."""
        if len(self.outputs) < 2 or not self.hardware.varies_between_reads:
            return None
        return float(np.sqrt(self.outputs.var(0, ddof=1).mean()))

    def by_column(self) -> list[tuple[float, float]]:
        """For each output the mean error and the root mean square error."""
        e = self.errors
        return list(zip(e.mean((0, 1)).tolist(), np.sqrt((e**2).mean((0, 1))).tolist(), strict=True))

    def to_mapping(self) -> dict[str, Any]:
        """Plain numbers, in the unit of W times that of x."""
        return {
            "hardware": self.hardware.to_mapping(),
            "reads": len(self.outputs),
            "rows": self.exact.shape[0],
            "inputs": None if self.codes is None else self.codes.shape[1],
            "outputs": self.exact.shape[1],
            "input_low": self.low,
            "input_high": self.high,
            "relative_error": self.relative_error,
            "rms_error": float(np.sqrt(np.mean(self.errors**2))),
            "read_deviation": self.read_deviation,
        }


def mvm(
    matrix: Any,
    vectors: Any,
    hardware: Hardware | None = None,
    *,
    input_range: tuple[float, float] | None = None,
    reads: int = 1,
    seed: int = 0,
    siemens: float | None = None,
) -> MatrixProduct:
    """Multiply vectors with a matrix on simulated hardware, in float64.

    Args:
        matrix: [out, in] signed weights in any unit; or [2, out, in], G+ and G- in siemens, of which W is the
            difference: what happens to single cells needs both.
        vectors: [rows, in] or [in] inputs.
        hardware: converters, fluctuations and defects; None is the default hardware.
        input_range: lowest and highest input of the converters; None spans the vectors.
        reads: times that each product is read, with fresh noise.
        seed: of the noise.
        siemens: conductance of one unit of weight, where only the difference is given and an effect asks for it.

    Raises:
        InputError: shapes that do not fit, numbers that are not finite, or an effect that needs what is not known.
    """
    hardware = Hardware() if hardware is None else hardware
    cells, x = _cells(matrix, siemens), np.atleast_2d(np.asarray(vectors, dtype=np.float64))
    if x.ndim != 2 or x.shape[1] != cells.shape[1]:
        raise InputError(
            f"vectors of shape {list(x.shape)} do not fit a matrix of shape {list(cells.shape)}; the last axis of the "
            f"vectors must have {cells.shape[1]} entries."
        )
    if not x.size or not np.isfinite(x).all():
        raise InputError("the vectors are empty or have entries that are not finite numbers; mend them.")
    low, high = (float(x.min()), float(x.max())) if input_range is None else map(float, input_range)
    if not low <= high:
        raise InputError(f"the input range is {low:g} to {high:g}, but its second number must be the larger one.")
    crossbar = Crossbar(cells).double().eval()
    crossbar.low.fill_(low)
    crossbar.high.fill_(high)
    seen = torch.tensor([low], dtype=torch.float64)[0], torch.tensor([high], dtype=torch.float64)[0]
    set_output_ranges(crossbar, torch.from_numpy(x.copy()), hardware, seen, seed)
    outputs = []
    for read in range(reads):
        moment = Moment(stream_seed(seed, "mvm"), read)  # slow noise follows the reads
        call = crossbar.begin(hardware, torch_stream(seed, "mvm", read), seen, moment=moment)
        outputs.append(call(torch.from_numpy(x.copy())).numpy())
    codes = None if hardware.levels is None else call.converter.codes(torch.from_numpy(x.copy())).long().numpy()
    return MatrixProduct(hardware, np.stack(outputs), x @ cells.weight.double().numpy().T, codes, low, high)


def set_output_ranges(
    crossbar: Crossbar, x: torch.Tensor, hardware: Hardware, seen: tuple[torch.Tensor, torch.Tensor], seed: int
) -> None:
    """Let calibrated output converters of a crossbar span what these inputs bring about; no other hardware has any."""
    if hardware.adc_bits is None or hardware.adc_range == "full":
        return
    crossbar.follows_outputs = True
    for number in range(2):
        crossbar.begin(hardware, torch_stream(seed, "mvm calibration", number), seen)(x.clone())
    crossbar.follows_outputs = False


def _cells(matrix: Any, siemens: float | None) -> Cells:
    w = torch.from_numpy(np.array(matrix, dtype=np.float64))
    if w.ndim not in (2, 3) or (w.ndim == 3 and len(w) != 2) or not w.numel():
        raise InputError(
            f"the matrix has the shape {list(w.shape)}, but it must be [outputs, inputs], or [2, outputs, inputs] with "
            "G+ and G- in siemens."
        )
    if not torch.isfinite(w).all():
        raise InputError("the matrix has entries that are not finite numbers; mend them.")
    return Cells(w[0] - w[1], w, siemens=1.0) if w.ndim == 3 else Cells(w, siemens=siemens)
