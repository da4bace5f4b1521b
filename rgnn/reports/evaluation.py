"""What an evaluation writes: eval.json, eval.csv, the figures and one report with all of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ase.data import chemical_symbols

from rgnn.base.estimate import evenly
from rgnn.base.files import write_atomic
from rgnn.evaluation import Evaluation, EvaluationPlan, HardwareErrors, csv_rows
from rgnn.evaluation.diagnosis import Diagnosis, diagnose
from rgnn.models.base import ForceField
from rgnn.plots import evaluation as plots
from rgnn.plots.evaluation import NOTHING, Sweep
from rgnn.reports import uncertainty
from rgnn.reports.html import Picture, Table, write_report
from rgnn.reports.tradeoff import Tradeoff

# Settings whose layers are looked at one by one.
DIAGNOSED = 6


def write_evaluation(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write eval.json, eval.csv, the figures and report.html into `folder`; these files."""
    plan, results = evaluation.plan, evaluation.rows
    model, config, diagnoses = plan.model, plan.settings, list[Diagnosis]()
    if model.uses_chip:
        real = [r.hardware for r in results if r.hardware != model.hardware.ideal()]
        diagnoses = [diagnose(model, plan.store, config.frames, h, config.seed) for h in evenly(real, DIAGNOSED)]
    found = evaluation.to_mapping()
    record = {
        "model": config.model,
        "store": config.store,
        "frames": list(config.frames),
        "settings": found["settings"],
        "layers": [_diagnosis(d) for d in diagnoses],
        "uncertainty": found["uncertainty"],
    }
    if (tradeoff := Tradeoff.of(evaluation)) is not None:
        record["costs"] = tradeoff.to_mapping()
    write_atomic(folder / "eval.json", json.dumps(record, indent=2))
    write_atomic(folder / "eval.csv", "\n".join(csv_rows(results)) + "\n")
    pictures = _pictures(folder, plan, results, diagnoses) + uncertainty.picture(evaluation.uncertainty, folder)
    pictures += [] if tradeoff is None else [tradeoff.picture(folder)]
    shown = [*evaluation_tables(evaluation), *_layer_tables(diagnoses)]
    page = write_report(folder / "report.html", f"Force errors of {config.model}", _facts(plan), shown, pictures)
    return [page, folder / "eval.json", folder / "eval.csv", *(picture.file for picture in pictures)]


def evaluation_tables(evaluation: Evaluation) -> list[Table]:
    """Errors by hardware, element and temperature, and how well uncertainties tell them."""
    plan = evaluation.plan
    certain = uncertainty.tables(evaluation.uncertainty, plan.groups, plan.held_out)
    tradeoff = Tradeoff.of(evaluation)
    costs = [] if tradeoff is None else [tradeoff.table()]
    return [*tables(evaluation.rows, plan.groups, plan.model), *costs, *certain]


def _facts(plan: EvaluationPlan) -> dict[str, object]:
    model, config = plan.model, plan.settings
    made = f"rgnn {version('rgnn')}, {config.repeats} draws of the noise, {config.chips} of chips, seed {config.seed}"
    facts = {"Model": config.model, "Frames": f"{len(config.frames)} of {config.store}", "Chip": model.provenance.chip}
    if model.uses_chip:
        facts["As trained"] = model.hardware.describe()
    if config.calibration:
        facts["Calibration"] = f"converters that training did not see, from {len(config.calibration)} frames"
    return {
        **facts,
        "Made by": made,
        "Intervals": "95%, bootstrap over frames, draws and chips (1,000 times)",
        "Error": "sum|dF| / sum|F| over force components; angle: mean over atoms",
    }


def _sweep(results: Sequence[HardwareErrors], model: ForceField) -> Sweep | None:
    """What differs among the settings that were swept."""
    swept = [r for r in results if r.hardware != model.hardware.ideal()]
    varied: dict[str, tuple[Any, ...]] = {}
    for name in vars(model.hardware):
        values = dict.fromkeys(getattr(r.hardware, name) for r in swept)
        plain = [0.0 if v is None and name in NOTHING else v for v in values]
        if len(plain) > 1 and name != "offset":
            numbers = sorted(v for v in plain if isinstance(v, int | float))
            varied[name] = tuple(numbers) + tuple(v for v in plain if not isinstance(v, int | float))
    return Sweep(swept, varied) if varied else None


def _pictures(
    folder: Path, plan: EvaluationPlan, results: Sequence[HardwareErrors], diagnoses: Sequence[Diagnosis]
) -> list[Picture]:
    model, pictures = plan.model, []
    sweep = _sweep(results, model) if model.uses_chip else None
    if sweep is not None and len(results) > 3:
        ideal = next((r for r in results if r.hardware == model.hardware.ideal()), None)
        curves = plots.error_curves(sweep, ideal, folder / "curves.png")
        pictures.append(Picture("Error against hardware", curves, "Shaded: 95% intervals."))
        if sweep.lines[1] is not None:
            heat = plots.heat_map(sweep, folder / "heatmap.png")
            pictures.append(Picture("Error for every combination", heat, "sum|dF| / sum|F| in per cent."))
    parity = plots.parity(model, plan.store, plan.frames, folder / "parity.png")
    pictures.append(Picture("Predicted against labelled force components", parity, "One draw of the noise."))
    if diagnoses:
        ratio = plots.signal_to_noise(diagnoses, folder / "layers.png")
        words = "Against the same model on the ideal chip; an infinite ratio is not drawn."
        pictures.append(Picture("Signal to noise, layer by layer", ratio, words))
    return pictures


def tables(results: Sequence[HardwareErrors], groups: dict[str, list[int]], model: ForceField) -> list[Table]:
    """Errors of each hardware setting, in total, by element and, as trained, by temperature."""
    own, digital = model.hardware, not model.uses_chip
    elements = results[0].elements
    symbols = [chemical_symbols[z] for z in elements]
    ideal = next((s for s in results if s.hardware == own.ideal() and not digital), None)
    rows, measures = [], []
    for setting in results:
        e, r, name = setting.errors(), setting.relative_error(), _title(setting, model)
        against = None if ideal is None else setting.ratio_to(ideal)
        ratio = [] if against is None else [f"{against.value:.3f} ± {(against.high - against.low) / 2:.3f}"]
        rows.append([name, f"{100 * r.value:.2f} ± {50 * (r.high - r.low):.2f}%", *ratio])
        measures.append([name, f"{e.mae:.4f}", f"{e.rmse:.4f}", f"{e.angle:.1f}°", f"{e.correlation:.4f}"])
    ratio = [] if ideal is None else ["times the ideal chip's"]
    tables = [
        Table("Force errors, sum|dF| / sum|F| (± half of the 95% interval)", ["hardware", "error", *ratio], rows),
        Table("MAE and RMSE in eV/Å, mean angle", ["hardware", "MAE", "RMSE", "angle", "correlation"], measures),
    ]
    by_element = [[f"{100 * s.errors(z).relative_error:.2f}%" for z in elements] for s in results]
    named = [[_title(s, model), *row] for s, row in zip(results, by_element, strict=True)]
    tables.append(Table("By element", ["hardware", *symbols], named))
    if any(s.spread.chip is not None for s in results):
        tables.append(_spread_table(results, model))
    setting = next((r for r in results if r.hardware == own), results[0])
    rows = []
    for group, members in groups.items():
        e = setting.errors(frames=members)
        inner = [f"{100 * setting.errors(z, members).relative_error:.2f}%" for z in elements]
        rows.append([group, f"{100 * e.relative_error:.2f}%", *inner, f"{e.mae:.4f}", f"{e.correlation:.4f}"])
    if rows:
        title = "By temperature" if digital else "By temperature, as trained"
        tables.append(Table(title, ["", "all", *symbols, "MAE", "correlation"], rows))
    return tables


def _spread_table(results: Sequence[HardwareErrors], model: ForceField) -> Table:
    def per_cent(value: float | None) -> str:
        return "" if value is None else f"{100 * value:.3f}%"

    rows = [[_title(s, model), per_cent(s.spread.read), per_cent(s.spread.chip)] for s in results]
    return Table("Standard deviation of the error from draw to draw", ["hardware", "reads", "chips"], rows)


def _title(setting: HardwareErrors, model: ForceField) -> str:
    if setting.hardware == model.hardware:
        return "as trained" if model.uses_chip else "all digital"
    return "ideal chip" if setting.hardware == model.hardware.ideal() else setting.hardware.describe()


def _layer_tables(diagnoses: Sequence[Diagnosis]) -> list[Table]:
    if not diagnoses:
        return []
    layers = range(1, len(diagnoses[0].node) + 1)
    columns = ["hardware", *(f"n{k}" for k in layers), *(f"e{k}" for k in layers), "forces", "clipped", "saturated"]
    rows = []
    for d in diagnoses:
        saturated = "" if d.saturated is None else f"{100 * d.saturated:.3f}%"
        numbers = [f"{x:.1f}" for x in (*d.node, *d.edge, d.force)]
        rows.append([d.hardware.describe(), *numbers, f"{100 * d.clipped:.3f}%", saturated])
    title = "Signal to noise in dB of node (n) and edge (e) features, and what lies outside the converters' ranges"
    return [Table(title, columns, rows)]


def _diagnosis(d: Diagnosis) -> dict[str, Any]:
    def finite(values: Sequence[float]) -> list[float | None]:
        return [x if abs(x) < float("inf") else None for x in values]

    arrays = {f"layer {layer + 1} W{matrix}": vars(c) for (layer, matrix), c in d.counts.items()}
    return {
        "hardware": d.hardware.to_mapping(),
        "node_db": finite(d.node),
        "edge_db": finite(d.edge),
        "force_db": finite([d.force])[0],
        "clipped": d.clipped,
        "saturated": d.saturated,
        "arrays": arrays,
    }
