"""What an evaluation writes: eval.json, eval.csv, the figures and one report with all of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ase.data import chemical_symbols

from rgnn.base.errors import InputError
from rgnn.base.estimate import evenly
from rgnn.base.events import SILENT, Listener
from rgnn.base.files import write_atomic
from rgnn.evaluation import Evaluation, EvaluationPlan, HardwareErrors, csv_rows
from rgnn.evaluation.diagnosis import Diagnosis, diagnose
from rgnn.evaluation.frame_errors import COMPONENTS, GPA, FrameErrors
from rgnn.evaluation.predicted import SHOWN_FRAMES, Pairs, gather, has_positions
from rgnn.evaluation.temperatures import OF_VELOCITIES
from rgnn.models.base import ForceField
from rgnn.plots import evaluation as plots
from rgnn.plots.evaluation import NOTHING, Sweep
from rgnn.reports import uncertainty
from rgnn.reports.html import Picture, Table, write_report
from rgnn.reports.text import half_interval, plus_minus
from rgnn.reports.tradeoff import Tradeoff

# Settings whose layers are looked at one by one.
DIAGNOSED = 6
# Predictions beside their labels, and atoms of all frames up to which they are written unasked (about 30 MB).
PREDICTIONS, PREDICTED_ATOMS = "predictions.xyz", 200_000


def write_evaluation(
    evaluation: Evaluation, folder: Path, predictions: bool | None = None, listener: Listener = SILENT
) -> list[Path]:
    """Write eval.json, eval.csv, the figures and report.html into `folder`; these files.

    Args:
        evaluation: what was found.
        folder: where.
        predictions: whether predictions.xyz is written too; None leaves it out where it would be large.
        listener: is given the frames that are predicted once more, and may ask to stop.

    Raises:
        InputError: predictions are wanted of a store without positions.
        Interrupted: the listener asked to stop.
    """
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
    file = folder / PREDICTIONS if writes_predictions(plan, predictions) else None
    own = as_trained(results, model)
    pairs = gather(model, plan.store, config.frames, own.hardware, config.seed, file, listener)
    pictures = _pictures(folder, plan, results, diagnoses, pairs)
    pictures += uncertainty.picture(evaluation.uncertainty, folder)
    pictures += [] if tradeoff is None else [tradeoff.picture(folder)]
    shown = [*evaluation_tables(evaluation), *_layer_tables(diagnoses)]
    facts = _facts(plan) | label_facts(own)
    page = write_report(folder / "report.html", f"Errors of {config.model}", facts, shown, pictures)
    written = [] if file is None else [file]
    return [page, folder / "eval.json", folder / "eval.csv", *written, *(picture.file for picture in pictures)]


def writes_predictions(plan: EvaluationPlan, wanted: bool | None) -> bool:
    """Whether predictions are written: as wanted, and where nothing is said if positions are known and atoms few.

    Raises:
        InputError: they are wanted of a store without positions.
    """
    if wanted is False:
        return False
    if not has_positions(plan.store):
        if wanted:
            raise InputError(f"{plan.store.path}: has edges but no positions, so predictions cannot be written; "
                             "leave out --predictions.")  # fmt: skip
        return False
    return bool(wanted) or int(plan.store.column("n_atoms")[list(plan.frames)].sum()) <= PREDICTED_ATOMS


def as_trained(results: Sequence[HardwareErrors], model: ForceField) -> HardwareErrors:
    """The setting of the training, which is among those evaluated unless they were chosen otherwise."""
    return next((r for r in results if r.hardware == model.hardware), results[0])


def label_facts(setting: HardwareErrors) -> dict[str, str]:
    """How many frames have the energy and the stress that a model with an energy is compared with."""
    whole = setting.whole
    if whole is None:
        return {}

    def counted(what: str, known: int) -> str:
        total = len(whole.n_atoms)
        if known == total:
            return f"{what} in all {total} frames"
        return f"{what} in {known} of {total} frames, the others do not count" if known else f"no {what} in any frame"

    return {"Labels": f"{counted('energy', len(whole.with_energy))}; {counted('stress', len(whole.with_stress))}"}


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
        "Intervals": "95%, bootstrap over blocks of frames, draws and chips (1,000 times); blocks are twice as long as "
        "errors of frames of one file and temperature stay correlated, and fewer than ten bound nothing",
        "Relative force error": "sum|dF| / sum|F| over force components; angle: mean over atoms",
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
    folder: Path,
    plan: EvaluationPlan,
    results: Sequence[HardwareErrors],
    diagnoses: Sequence[Diagnosis],
    pairs: Pairs,
) -> list[Picture]:
    model, pictures = plan.model, []
    sweep = _sweep(results, model) if model.uses_chip else None
    if sweep is not None and len(results) > 3:
        ideal = next((r for r in results if r.hardware == model.hardware.ideal()), None)
        curves = plots.error_curves(sweep, ideal, folder / "curves.png")
        pictures.append(Picture("Error against hardware", curves, "Shaded: 95% intervals."))
        if sweep.lines[1] is not None:
            heat = plots.heat_map(sweep, folder / "heatmap.png")
            pictures.append(Picture("Error for every combination", heat, "Relative force error in per cent."))
    own = as_trained(results, model)
    name = "all digital" if not model.uses_chip else own.hardware.describe()
    parity = plots.parity(pairs, own, folder / "parity.png", name)
    points = f"Points: one draw, {min(pairs.frames, SHOWN_FRAMES)} of {pairs.frames} frames. "
    words = f"{points}Numbers: relative force error of all frames and draws, as in the table."
    pictures.append(Picture("Predicted against labelled force components", parity, words))
    if own.whole is not None and (len(own.whole.with_energy) or len(own.whole.with_stress)):
        parity = plots.whole_parity(pairs, own.whole, folder / "parity-energy-stress.png", name)
        words = "Points: one draw, all frames with the label. Numbers: of all frames and draws, as in the table."
        words += " Energies: less the mean of their composition."
        pictures.append(Picture("Predicted against labelled energies and stresses", parity, words))
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
        e, name = setting.errors(), _title(setting, model)
        ratio = [] if ideal is None else [plus_minus(setting.ratio_to(ideal), digits=3)]
        rows.append([name, plus_minus(setting.relative_error(), 100, unit="%"), *ratio])
        measures.append([name, f"{e.mae:.4f}", f"{e.rmse:.4f}", f"{e.angle:.1f}°", f"{e.correlation:.4f}"])
    ratio = [] if ideal is None else ["times the ideal chip's"]
    title = "Relative force error, sum|dF| / sum|F| (± half of the 95% interval)"
    tables = [
        Table(title, ["hardware", "error", *ratio], rows),
        Table("Force components, eV/Å, and mean angle", ["hardware", "MAE", "RMSE", "angle", "correlation"], measures),
    ]
    by_element = [[f"{100 * s.errors(z).relative_error:.2f}%" for z in elements] for s in results]
    named = [[_title(s, model), *row] for s, row in zip(results, by_element, strict=True)]
    tables.append(Table("Relative force error by element", ["hardware", *symbols], named))
    tables += whole_tables([(_title(s, model), s.whole) for s in results if s.whole is not None])
    if any(s.spread.chip is not None for s in results):
        tables.append(_spread_table(results, model))
    setting, rows = as_trained(results, model), []
    for group, members in groups.items():
        e = setting.errors(frames=members)
        half = half_interval(setting.relative_error(frames=members), 100, unit="%")
        inner = [f"{100 * setting.errors(z, members).relative_error:.2f}%" for z in elements]
        short = group.replace(OF_VELOCITIES, "*").removesuffix(" K").replace(" K*", "*")
        rows.append([short, str(len(members)), f"{100 * e.relative_error:.2f}%", half, *inner, f"{e.mae:.4f}"])
    if rows:
        title = f"Relative force error by temperature{'' if digital else ', as trained'}; MAE in eV/Å"
        if any(row[0].endswith("*") for row in rows):
            title += "; *: by the velocities of the frames"
        if any(row[3] == "too few" for row in rows):
            title += " (too few: fewer than ten independent blocks of frames)"
        tables.append(Table(title, ["K", "frames", "all", "±", *symbols, "MAE"], rows))
    return tables


def whole_tables(settings: Sequence[tuple[str, FrameErrors]]) -> list[Table]:
    """Errors of energies and of stresses of each setting, as far as frames have labels."""
    energies, differences, stresses, components = [], [], [], []
    for name, whole in settings:
        e, d, s = whole.energies, whole.differences, whole.stresses
        energies.append([name, plus_minus(e.mae), plus_minus(e.rmse), f"{whole.offset:+.2f}"])
        differences.append([name, plus_minus(d.mae), plus_minus(d.rmse)])
        offset = f"{whole.pressure_offset / GPA:+.3f}"
        both = [plus_minus(s.mae, 1 / GPA, 3), plus_minus(s.rmse, 1 / GPA, 3)]
        stresses.append([name, *both, f"{s.mae.value:.5f}", offset])
        components.append([name, *(f"{m.mae.value / GPA:.3f}" for m in whole.components.values())])
    known = [whole for _, whole in settings[:1]]
    found = []
    if any(len(whole.with_energy) for whole in known):
        title = "Energy as labelled, meV/atom (another reference shows as mean error)"
        found.append(Table(title, ["hardware", "MAE", "RMSE", "mean error"], energies))
    if any(whole.differences.frames for whole in known):
        title = "Energy differences, meV/atom (mean error of each composition removed)"
        found.append(Table(title, ["hardware", "MAE", "RMSE"], differences))
    if any(len(whole.with_stress) for whole in known):
        columns = ["hardware", "MAE", "RMSE", "MAE, eV/Å³", "pressure"]
        found.append(Table("Stress, all components, GPa; pressure: its mean error", columns, stresses))
        found.append(Table("MAE of each component of the stress, GPa", ["hardware", *COMPONENTS], components))
    return found


def _spread_table(results: Sequence[HardwareErrors], model: ForceField) -> Table:
    def per_cent(value: float | None) -> str:
        return "" if value is None else f"{100 * value:.3f}%"

    rows = [[_title(s, model), per_cent(s.spread.read), per_cent(s.spread.chip)] for s in results]
    return Table(
        "Standard deviation of the relative force error from draw to draw", ["hardware", "reads", "chips"], rows
    )


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
