"""What files of readings say of a technology: laws, and what was found on the way."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rgnn.base.estimate import Estimate
from rgnn.chip.hardware import Hardware
from rgnn.chip.laws import fits
from rgnn.chip.laws.spectrum import SpectrumLaw


@dataclass
class FittedLaws:
    """What files of readings say of a technology.

    Attributes:
        hardware: that uses the laws.
        read_noise, spectrum, programming, relaxation, activation: the laws that the files allowed.
        notes: what was taken for what, and what could not be fitted, in words.
        sources: names of the files.
        figures: files of figures, by the name of the law.
    """

    hardware: Hardware
    read_noise: fits.ReadNoiseFit | None = None
    spectrum: SpectrumLaw | None = None
    programming: fits.ChangeFit | None = None
    relaxation: fits.ChangeFit | None = None
    activation: fits.Activation | None = None
    notes: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    figures: dict[str, Path] = field(default_factory=dict)

    def to_mapping(self) -> dict[str, Any]:
        """Plain numbers in SI units, Celsius and eV."""
        found: dict[str, Any] = {"sources": self.sources, "notes": self.notes}
        found["figures"] = {name: str(path) for name, path in self.figures.items()}
        if (noise := self.read_noise) is not None:
            found["read_noise"] = {
                **noise.law.to_mapping(),
                "intervals": {name: _ends(e) for name, e in noise.intervals.items()},
                "cells": len(noise.mean),
                "residual_log": noise.residual,
                "held_out": [asdict(c) for c in noise.held_out],
            }
        if (law := self.spectrum) is not None:
            found["spectrum"] = {
                "exponent": {"value": law.exponent.value, "interval": _ends(law.exponent)},
                "corner_hertz": None
                if law.corner is None
                else {"value": law.corner.value, "interval": _ends(law.corner)},
                "band_hertz": list(law.band),
                "cells": [
                    asdict(cell)
                    | {"log_corner": _or_none(cell.log_corner), "log_corner_error": _or_none(cell.log_corner_error)}
                    for cell in law.cells
                ],
            }
        for name in ("programming", "relaxation"):
            if (fit := getattr(self, name)) is not None:
                found[name] = _change(fit)
        if (bake := self.activation) is not None:
            found["activation"] = {
                "energy_ev": {"value": bake.energy.value, "interval": _ends(bake.energy)},
                "temperature_celsius": bake.celsius.tolist(),
                "deviation_siemens": bake.deviation.tolist(),
                "residual_log": bake.residual,
            }
        return found


def _ends(estimate: Estimate) -> list[float]:
    return [estimate.low, estimate.high]


def _or_none(x: float) -> float | None:
    return x if np.isfinite(x) else None


def _change(fit: fits.ChangeFit) -> dict[str, Any]:
    def part(p: Any) -> dict[str, Any]:
        error = np.sqrt(np.diag(p.covariance))
        wide = fits.NORMAL * error
        return {
            "degrees": list(p.degrees),
            "values": p.values.tolist(),
            "intervals": np.stack([p.values - wide, p.values + wide], 1).tolist(),
        }

    return {
        "conductance_siemens": list(fit.law.conductance),
        "time_seconds": None if fit.law.time is None else list(fit.law.time),
        "temperature_celsius": None if fit.law.temperature is None else list(fit.law.temperature),
        "mean_siemens": part(fit.regression.mean),
        "log_deviation": part(fit.regression.log_deviation),
        "mean_misfit_deviations": fit.mean_misfit,
        "deviation_misfit_log": fit.deviation_misfit,
        "cells": fit.cells,
        "kurtosis": fit.kurtosis,
        "bins": [asdict(b) for b in fit.bins],
        "held_out": [asdict(c) for c in fit.held_out],
    }
