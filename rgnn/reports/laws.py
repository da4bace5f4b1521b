"""rgnn chip fit: laws of a chip from files of readings, as hardware, numbers and figures."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rgnn.base.errors import InputError
from rgnn.base.files import write_atomic
from rgnn.base.settings import dump_yaml
from rgnn.chip.hardware import Hardware
from rgnn.chip.laws import fits
from rgnn.chip.laws.readings import Readings, Series, read
from rgnn.chip.laws.spectrum import SpectrumLaw, spectra
from rgnn.chip.measurement import Measurement
from rgnn.plots import laws as plots
from rgnn.reports.fitted_laws import FittedLaws
from rgnn.reports.laws_page import write_page

HARDWARE, NUMBERS = "hardware.yaml", "laws.json"


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
