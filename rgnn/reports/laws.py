"""rgnn chip fit: laws of a chip from files of readings, as hardware, numbers and figures."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from rgnn.base.errors import InputError
from rgnn.base.estimate import Estimate
from rgnn.base.files import write_atomic
from rgnn.base.settings import dump_yaml
from rgnn.chip.hardware import Hardware
from rgnn.chip.laws import fits
from rgnn.chip.laws.readings import Readings, Series, read
from rgnn.chip.laws.spectrum import SpectrumLaw, spectra
from rgnn.chip.measurement import Measurement
from rgnn.plots import laws as plots
from rgnn.reports.laws_page import write_page

HARDWARE, NUMBERS = "hardware.yaml", "laws.json"


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


def fit_laws(
    files: list[Path],
    out: str | Path,
    *,
    columns: str | None = None,
    rate: float | None = None,
    base: Hardware | None = None,
) -> FittedLaws:
    """Fit all laws that files of readings allow, and write hardware.yaml, laws.json, report.html and figures.

    Args:
        files: series of reads, tables of readings, or a folder of repeated maps of one array.
        out: folder.
        columns: what the columns of the tables are; None takes headings or recognises them.
        rate: reads per second of series without a clock.
        base: hardware whose other settings are kept.

    Raises:
        InputError: a file that is not understood, two files of one law, or nothing that a law can be fitted to.
    """
    found = FittedLaws(base or Hardware())
    series = None
    for path in files:
        name = path.name
        found.sources.append(name)
        try:
            if path.is_dir():
                _once(found, "read_noise", _of_maps(path), name)
                continue
            data = read(path, columns, rate)
            found.notes += [f"{name}: {note}" for note in data.notes]
            if isinstance(data, Series):
                _once(found, "read_noise", _of_series(data), name)
                found.spectrum, series = _spectrum(found, data), data
            else:
                _of_readings(found, data)
        except InputError as error:
            raise InputError(
                str(error) if str(path) in str(error) or name in str(error) else f"{path}: {error}"
            ) from None
    changes = _hardware(found)
    found.hardware = found.hardware.override(**changes)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    _draw(found, series, folder)
    text = "\n".join([*_comments(found), dump_yaml({"hardware": {**found.hardware.differences()}})])
    write_atomic(folder / HARDWARE, text)
    write_atomic(folder / NUMBERS, json.dumps(found.to_mapping(), indent=1, allow_nan=False) + "\n")
    write_page(found, folder)
    return found


def _once(found: FittedLaws, law: str, fit: Any, name: str) -> None:
    if getattr(found, law) is not None:
        raise InputError(f"{name}: is a second file for the law of {law.replace('_', ' ')}; fit it by itself.")
    setattr(found, law, fit)


def _of_maps(folder: Path) -> fits.ReadNoiseFit:
    measurement = Measurement.read(folder)
    if measurement.read_deviation is None or measurement.unit is None:
        raise InputError(f"{folder}: needs repeated reads of conductances in a known unit.")
    mean, deviation = measurement.mean.ravel(), measurement.read_deviation.ravel()
    return _with_held_out(mean, deviation, measurement.n_reads)


def _with_held_out(mean: np.ndarray, deviation: np.ndarray, reads: int) -> fits.ReadNoiseFit:
    """The law of all cells, tested on every second one by that of the others."""
    whole = fits.fit_read_noise(mean, deviation, reads)
    good = np.isfinite(mean) & np.isfinite(deviation) & (mean > 0) & (deviation > 0)
    seen = good & (np.arange(len(mean)) % 2 == 0)
    other = good & ~seen
    if min(seen.sum(), other.sum()) < 4:
        return whole
    first = fits.fit_read_noise(mean[seen], deviation[seen], reads)
    tested = fits.held_out_read_noise(first, mean[other], deviation[other], "single cells of the other half")
    return replace(whole, held_out=(tested,))


def _of_series(data: Series) -> fits.ReadNoiseFit:
    x, half = data.conductance, data.conductance.shape[1] // 2
    whole = fits.fit_read_noise(x.mean(1), x.std(1, ddof=1), x.shape[1])
    early, late = x[:, :half], x[:, half:]
    first = fits.fit_read_noise(early.mean(1), early.std(1, ddof=1), half)
    what = "cells in the second half of the record"
    return replace(whole, held_out=(fits.held_out_read_noise(first, late.mean(1), late.std(1, ddof=1), what),))


def _spectrum(found: FittedLaws, data: Series) -> SpectrumLaw | None:
    if data.rate is None:
        found.notes.append(
            f"{data.source}: has no clock, so spectra have no frequencies; say --rate 400 (reads a second)"
        )
        return None
    law = spectra(data.conductance, data.rate)
    if law is not None and law.corner is None:
        found.notes.append(
            f"{data.source}: most spectra have no floor below {law.band[1]:.3g} Hz, so there is no corner"
        )
    return law


def _of_readings(found: FittedLaws, data: Readings) -> None:
    before = found.programming, found.relaxation, found.read_noise
    if data.time is not None and data.initial is not None and (data.time > 0).any():
        _once(found, "relaxation", fits.relaxation(data), data.source)
        found.activation = fits.activation(data)
    if data.target is not None:
        _once(found, "programming", fits.programming(data), data.source)
    if data.time is None and data.target is None:
        _once(found, "read_noise", _of_repeats(data), data.source)
    if before == (found.programming, found.relaxation, found.read_noise):
        raise InputError(
            f"{data.source}: has neither targets, nor times with a conductance at time 0, nor repeated reads; name "
            "the columns with --columns."
        )


def _of_repeats(data: Readings) -> fits.ReadNoiseFit:
    counts = np.bincount(data.cell)
    if np.median(counts) < 2:
        raise InputError(f"{data.source}: cells were read once each; a law of read noise needs repeated reads.")
    often = counts >= 2
    mean = np.bincount(data.cell, data.conductance) / np.maximum(1, counts)
    squares = np.bincount(data.cell, (data.conductance - mean[data.cell]) ** 2)
    deviation = np.sqrt(squares / np.maximum(1, counts - 1))
    return _with_held_out(mean[often], deviation[often], int(np.median(counts)))


def _hardware(found: FittedLaws) -> dict[str, Any]:
    """Settings that use the laws; retention waits for a time."""
    changes: dict[str, Any] = {}
    if found.read_noise is not None:
        changes |= {"noise": 1.0, "noise_reference": "law", "noise_law": found.read_noise.law}
    if found.programming is not None:
        changes["programming_law"] = found.programming.law
    if found.relaxation is not None:
        changes["retention_law"] = found.relaxation.law
    if not changes:
        raise InputError("the files allow no law; see rgnn chip fit --help for what they may hold.")
    return changes


def _draw(found: FittedLaws, series: Series | None, folder: Path) -> None:
    if found.read_noise is not None:
        found.figures["read_noise"] = plots.read_noise(found.read_noise, folder / "read-noise.png")
    if found.spectrum is not None and series is not None and series.rate is not None:
        path = folder / "spectrum.png"
        found.figures["spectrum"] = plots.spectrum(series.conductance, series.rate, found.spectrum.cells, path)
    if found.programming is not None:
        found.figures["programming"] = plots.change(found.programming, folder / "programming.png", "target")
    if found.relaxation is not None:
        path = folder / "relaxation.png"
        found.figures["relaxation"] = plots.change(found.relaxation, path, "conductance at time 0")
    if found.activation is not None:
        found.figures["activation"] = plots.arrhenius(found.activation, folder / "activation.png")


def _comments(found: FittedLaws) -> list[str]:
    """Lines above the settings, for people."""
    lines = [f"# Laws fitted by rgnn chip fit to {', '.join(found.sources)}; numbers and intervals: {NUMBERS}."]
    if found.programming is not None:
        lines.append("# programming_law acts where programming_noise is given; 1 is as measured.")
    if (fit := found.relaxation) is not None and fit.law.time is not None:
        span = f"{fit.law.time[0]:.3g} to {fit.law.time[1]:.3g} s"
        heat = "" if fit.law.temperature is None else ", and retention_temperature, Celsius"
        lines.append(f"# retention_law acts where retention_time is given, {span}{heat}.")
    if found.spectrum is not None:
        lines.append(f"# Spectrum of reads: 1/f^{found.spectrum.exponent.value:.2f}; see slow_noise_exponent.")
    return lines
