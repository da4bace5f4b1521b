"""rgnn info: what a store, chip, model or run is."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rgnn_cli.session import options

if TYPE_CHECKING:
    from rgnn.base.provenance import TrainingDomain
    from rgnn.models.base import ForceField
    from rgnn_cli.session.console import Reporter


def info(
    path: Annotated[
        Path,
        typer.Argument(help="A store, chip, model folder, training or dynamics run; or 'hardware' for the presets."),
    ],
    verify: Annotated[bool, typer.Option("--verify", help="Read a store whole and check its checksums.")] = False,
    as_json: options.Json = False,
) -> None:
    """Say what lies at PATH.

    Example: rgnn info runs/latest
    """
    from rgnn.base.errors import InputError
    from rgnn_cli.session.console import Reporter

    report = Reporter(as_json=as_json)
    if str(path) == "hardware" and not path.exists():
        report.result(_presets(report))
        return
    if not path.exists():
        raise InputError(f"{path}: there is nothing of this name.")
    if (path / "zarr.json").is_file() or path.suffix == ".zarr":
        facts = _store(report, path, verify)
    elif (path / "chip.safetensors").is_file():
        facts = _chip(report, path)
    elif (path / "model.safetensors").is_file():
        facts = _model(report, path)
    elif (path / "restart.safetensors").is_file():
        facts = _rows(report, "Molecular dynamics run", path, path / "config.yaml")
    elif (path / "config.yaml").is_file():
        facts = _run(report, path)
    else:
        raise InputError(
            f"{path}: is neither a store, chip, model nor run of rgnn; convert a trajectory to look into it."
        )
    report.result(facts)


def _presets(report: Reporter) -> dict[str, Any]:
    from rgnn.chip.presets import PRESETS

    for name, preset in PRESETS.items():
        words = {"hardware": preset.hardware.describe(), "stands for": preset.family, "source": preset.source}
        report.facts(f"--hardware {name}", words)
    return {name: preset.hardware.to_mapping() for name, preset in PRESETS.items()}


def _show(report: Reporter, title: str, facts: dict[str, Any]) -> dict[str, Any]:
    report.facts(title, facts)
    return facts


def _store(report: Reporter, path: Path, verify: bool) -> dict[str, Any]:
    from rgnn.data.store.reader import GraphStore
    from rgnn_cli.show.info import store_facts

    store = GraphStore(path)
    if verify:
        store.verify()
        report.say("Every array agrees with its checksum.")
    summary = store.summary()
    report.facts(f"Graph store {path}", store_facts(summary))
    return asdict(summary)


def _chip(report: Reporter, path: Path) -> dict[str, Any]:
    from rgnn.chip.chip import Chip

    chip = Chip.load(path)
    s = chip.statistics
    facts = {
        "source": chip.source,
        "weights": s.weights,
        "mean": f"{s.mean:.4f}",
        "standard deviation": f"{s.deviation:.4f}",
        "range": f"{s.smallest:.3f} to {s.largest:.3f}",
        "made or measured": "measured" if chip.measured else "made",
        "raw conductances": "kept" if chip.conductances is not None else "only their differences are known",
        "read noise": "measured of each weight" if chip.read_deviation is not None else "not measured",
    }
    return _show(report, f"Chip {path}", facts)


def _model(report: Reporter, path: Path) -> dict[str, Any]:
    from ase.data import chemical_symbols

    from rgnn.models.checkpoints import fingerprint, load_model

    model = load_model(path)
    p, near = model.provenance, model.locality
    facts = {
        "layers": model.kind,
        "cutoff": f"{near.cutoff:g} Å, forces reach {near.reach:g} Å",
        "weights": f"{model.n_fixed + model.n_trained:,}, {model.n_trained:,} of them trained",
        "hardware": model.hardware.describe(),
        "elements": " ".join(chemical_symbols[z] for z in p.elements) or "not recorded",
        "chip": p.chip,
        "data": p.data,
        **_seen(p.seen),
        **_uncertainty(path, model),
        "rgnn": p.rgnn,
        "fingerprint": fingerprint(model)[:16],
    }
    return _show(report, f"Model {path}", facts)


def _seen(seen: TrainingDomain) -> dict[str, str]:
    """What the training set spans, in words; nothing where it is not recorded."""
    from ase.data import chemical_symbols

    if not seen.frames:
        return {}
    said = {"trained up to": f"{seen.largest_force:.3g} eV/Å (in {seen.frames} frames of the training set)"}
    if seen.density:
        low, high = seen.density
        said["densities"] = f"{low:.3f} g/cm³" if f"{low:.3f}" == f"{high:.3f}" else f"{low:.3f} to {high:.3f} g/cm³"
    pairs = (f"{chemical_symbols[c.first]}-{chemical_symbols[c.second]} {c.distance:.2f}" for c in seen.closest)
    return said | {"smallest distances": ", ".join(pairs) + " Å"}


def _uncertainty(path: Path, model: ForceField) -> dict[str, str]:
    """By what the uncertainty of forces is known, and from where on it says that an atom is outside of training."""
    from ase.data import chemical_symbols

    from rgnn.models.uncertainty import load_uncertainties

    said = {}
    for method, known in load_uncertainties(path, model).items():
        limits = ", ".join(f"{chemical_symbols[s.element]} {s.limit:.2g}" for s in known.calibration.scales)
        said[f"uncertainty by {method}"] = f"outside of training beyond {limits} eV/Å"
    return said


def _run(report: Reporter, path: Path) -> dict[str, Any]:
    from rgnn.training.log import read_epochs
    from rgnn.training.run import RunSettings

    run = RunSettings.read(path / "config.yaml")
    history = read_epochs(path)
    facts: dict[str, Any] = {
        "data": run.store,
        "chip": run.chip or f"synthetic, seed {run.training.seed}",
        "hardware": run.hardware.describe() if run.model.uses_chip else "all digital",
        "epochs": "one pass" if run.model.is_solved else f"{len(history)} of {run.training.epochs}",
    }
    if run.chips > 1:
        facts["chips"] = f"{run.chips}, forces are the mean"
    if history:
        best = min(history, key=lambda row: row.relative_error)
        facts |= {"best epoch": best.epoch, "validation error": f"{100 * best.relative_error:.2f}%"}
        facts |= {"MAE": f"{best.mae:.4f} eV/Å", "time": f"{sum(row.seconds for row in history) / 60:.1f} min"}
    return _show(report, f"Training run {path}", facts)


def _rows(report: Reporter, title: str, path: Path, file: Path) -> dict[str, Any]:
    from rgnn.base.settings import read_yaml

    flat: dict[str, Any] = {}
    for key, value in read_yaml(file).items():
        inner = value if isinstance(value, dict) else {"": value}
        flat |= {f"{key} {name}".strip(): v for name, v in inner.items()}
    return _show(report, f"{title} {path}", flat)
