"""Measured column sums against simulated ones: gain and offset of each column by least squares, with intervals."""

from dataclasses import dataclass

import numpy as np

from rgnn.base.errors import InputError

# Standard errors of a 95% interval of many values.
SIGMAS = 1.96
# A column is drifted where its gain differs from the median by more than this and by more than its interval.
DRIFT = 0.02


@dataclass(frozen=True)
class ColumnFit:
    """measured = gain * simulated + offset for each column of an array.

    Attributes:
        array: name of the array.
        gain, offset: [out]; the offset in counts of a column sum.
        gain_error, offset_error: [out] half widths of their 95% intervals.
        residual: [out] root mean square of what the line leaves.
        correlation: [out] of the two; NaN where one of them is constant.
        sums: number of sums of each column.
    """

    array: str
    gain: np.ndarray
    offset: np.ndarray
    gain_error: np.ndarray
    offset_error: np.ndarray
    residual: np.ndarray
    correlation: np.ndarray
    sums: int

    @classmethod
    def of(cls, array: str, measured: np.ndarray, simulated: np.ndarray) -> "ColumnFit":
        """Fit each column.

        Args:
            array: its name.
            measured: [..., out] of some products.
            simulated: of the same products.

        Raises:
            InputError: other shapes, or fewer than three sums.
        """
        if measured.shape != simulated.shape:
            raise InputError(
                f"{array}: {list(measured.shape)} sums were measured, but {list(simulated.shape)} were sent; import "
                "the result of these golden vectors."
            )
        y, x = (a.reshape(-1, a.shape[-1]).astype(np.float64) for a in (measured, simulated))
        n = len(x)
        if n < 3:
            raise InputError(f"{array}: {n} sums of each column are too few for gain and offset; measure 3 or more.")
        mx, my = x.mean(0), y.mean(0)
        dx, dy = x - mx, y - my
        sxx, syy, sxy = (dx * dx).sum(0), (dy * dy).sum(0), (dx * dy).sum(0)
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = sxy / sxx  # NaN where nothing varies
            rest = np.maximum(0.0, syy - np.where(sxx > 0, sxy**2 / sxx, 0.0))
            deviation = np.sqrt(rest / (n - 2))
            gain_error = SIGMAS * deviation / np.sqrt(sxx)
            offset_error = SIGMAS * deviation * np.sqrt(1 / n + mx**2 / sxx)
            correlation = sxy / np.sqrt(sxx * syy)
        return cls(array, gain, my - gain * mx, gain_error, offset_error, np.sqrt(rest / n), correlation, n)

    @property
    def unit(self) -> float:
        """The median gain: counts of one unit of weight, which all columns share."""
        known = self.gain[np.isfinite(self.gain)]
        return float(np.median(known)) if len(known) and np.median(known) else 1.0

    @property
    def drifted(self) -> np.ndarray:
        """[out] columns whose gain is not the median's within its interval and `DRIFT`, or that do not answer."""
        unit = self.unit
        off = np.abs(self.gain / unit - 1) > np.maximum(self.gain_error / abs(unit), DRIFT)
        return np.asarray(off | ~np.isfinite(self.gain))

    def csv_rows(self) -> list[str]:
        """A line for each column."""
        names = (self.gain, self.gain_error, self.offset, self.offset_error, self.residual, self.correlation)
        return [
            f"{self.array},{k},{self.sums}," + ",".join(f"{float(a[k]):.7g}" for a in names)
            for k in range(len(self.gain))
        ]


CSV_HEADING = "array,column,sums,gain,gain_95,offset,offset_95,residual,correlation"
