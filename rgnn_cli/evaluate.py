"""rgnn eval: force errors of a model under hardware settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rgnn_cli import options
from rgnn_cli.options import HARDWARE, RUNNING

if TYPE_CHECKING:
    from rgnn.hardware import Hardware
    from rgnn.evaluation import Setting
    from rgnn.model import RGNN
    from rgnn.store import GraphStore
    from rgnn_cli.console import Reporter


def evaluate(
    model: Annotated[
        Path | None, typer.Argument(help="Model folder or training run; default: the newest here.")
    ] = None,
    store: Annotated[Path | None, typer.Argument(help="Graph store; default: the one it was trained on.")] = None,
    bits: Annotated[
        str | None, typer.Option(help="Input bits to sweep: 4 or 2:8 or 2,4,8.", rich_help_panel=HARDWARE)
    ] = None,
    noise: Annotated[
        str | None, typer.Option(help="Fluctuations to sweep: 0,0.02,0.05,0.1.", rich_help_panel=HARDWARE)
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Fresh noise draws of each frame.", rich_help_panel=HARDWARE)] = 5,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Evaluate on so many frames, evenly chosen.", rich_help_panel=RUNNING)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for results; default: eval/NAME-001 and so on.")] = None,
    device: options.DeviceOption = options.Device.AUTO,
    threads: options.Threads = None,
    seed: options.Seed = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Force errors in total, per element and per temperature, for the ideal chip and for hardware settings.

    Example: rgnn eval runs/latest data/test.zarr --bits 2:8 --noise 0,0.05,0.1

    On the store that the model was trained on, only the frames held out of training count. Writes
    eval.json, eval.csv, a parity plot and, for a sweep, a heat map.
    """
    from rgnn.checkpoints import find_model, load_model
    from rgnn.evaluation import evaluate as run_evaluation
    from rgnn.store import GraphStore, require_cutoff
    from rgnn_cli import workspace
    from rgnn_cli.console import Reporter
    from rgnn_cli.device import choose_device

    report = Reporter(quiet, as_json)
    path = _find(report, "model", model, "train one with rgnn train, or name a model folder")
    loaded = load_model(path, choose_device(report, device, threads))
    store = store or (Path(loaded.provenance.data) if Path(loaded.provenance.data).exists() else None)
    data = GraphStore(_find(report, "store", store, "make one with rgnn convert, or name one"))
    require_cutoff(data, loaded.config.cutoff)
    _warn_of_elements(report, loaded, data)
    held_out, why = _frames(loaded, data, frames)
    settings = _settings(loaded, bits, noise)
    if out is not None:
        workspace.refuse_existing(out, overwrite)
    folder = out or workspace.new_folder("eval", _name(path))
    workspace.clear_run(folder)
    report.say(f"Model: {find_model(path)}; frames: {data.path}, {why}")

    with report.progress("Evaluating", None, "passes") as meter:

        def show(done: int, total: int) -> None:
            meter.total = total
            meter.update(done)

        results = run_evaluation(loaded, data, held_out, settings, repeats, seed or 0, show)
    groups = _temperatures(data, held_out)
    files = _write(folder, loaded, data, held_out, results, groups, path)
    _tables(report, results, groups, loaded)
    report.say(f"Results: {', '.join(str(file) for file in files)}")
    report.result({"out": str(folder), "settings": [r.to_mapping(groups) for r in results]})


def _settings(model: RGNN, bits: str | None, noise: str | None) -> list[Hardware]:
    """The ideal chip, the hardware as trained, and every combination that was asked for."""
    from rgnn.errors import InputError
    from rgnn.evaluation import grid

    own = model.hardware
    if not model.config.reservoir_layers:
        if bits is not None or noise is not None:
            raise InputError("the model is all digital, so --bits and --noise mean nothing to it; leave them out.")
        return [own]
    sweep: list[Hardware] = []
    if bits is not None or noise is not None:
        all_bits: Sequence[int | None] = [own.bits] if bits is None else _whole_numbers(bits)
        sweep = grid(own, all_bits, [own.noise or 0.0] if noise is None else _numbers(noise))
    return list(dict.fromkeys([own.ideal(), own, *sweep]))


def _find(report: Reporter, kind: str, given: Path | None, way_out: str) -> Path:
    from rgnn.errors import InputError
    from rgnn_cli import workspace

    if given is not None:
        return given
    found = workspace.last(kind)
    if found is None:
        raise InputError(f"there is no {kind} here yet; {way_out}.")
    report.say(f"{kind.capitalize()}: {found} (the one made last here)")
    return found


def _warn_of_elements(report: Reporter, model: RGNN, data: GraphStore) -> None:
    from ase.data import chemical_symbols

    strange = [chemical_symbols[z] for z in data.elements if model.elements and z not in model.elements]
    if strange:
        report.warn(f"the model was not trained on {', '.join(strange)}, so errors there tell nothing of it.")


def _name(path: Path) -> str:
    resolved = path.resolve()
    return resolved.parent.name if resolved.name in ("best", "last") else resolved.name


def _frames(model: RGNN, data: GraphStore, limit: int | None) -> tuple[list[int], str]:
    """The frames to evaluate on, and in words which they are."""
    import numpy as np

    from rgnn.runs import held_out_frames

    chosen, why = list(range(len(data))), f"all {len(data)}"
    held_out = held_out_frames(model, data)
    if held_out is not None:
        chosen, why = held_out, f"the {len(held_out)} held out of its training"
    if limit is not None and limit < len(chosen):
        chosen = [chosen[k] for k in np.linspace(0, len(chosen) - 1, limit).round().astype(int)]
        why = f"{limit} of {why}"
    return chosen, why


def _temperatures(data: GraphStore, frames: Sequence[int]) -> dict[str, list[int]]:
    """Positions in `frames` of each temperature, where the store knows it."""
    import numpy as np

    groups: dict[float, list[int]] = {}
    for position, temperature in enumerate(data.column("temperature")[list(frames)].tolist()):
        if not np.isnan(temperature):
            groups.setdefault(temperature, []).append(position)
    return {f"{t:g} K": groups[t] for t in sorted(groups)}


def _whole_numbers(text: str) -> list[int]:
    """'2:8' (both ends included), '2,4,8' or '4'."""
    from rgnn.errors import InputError

    numbers: list[int] = []
    try:
        for part in text.split(","):
            first, _, last = part.partition(":")
            numbers += range(int(first), int(last or first) + 1)
    except ValueError:
        numbers = []
    if not numbers:
        raise InputError(f"--bits is {text!r}; write it as 4, as 2:8 or as 2,4,8.")
    return numbers


def _numbers(text: str) -> list[float]:
    from rgnn.errors import InputError

    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--noise is {text!r}; write it as 0.05 or as 0,0.02,0.05.") from None


def _write(
    folder: Path,
    model: RGNN,
    data: GraphStore,
    frames: Sequence[int],
    results: Sequence[Setting],
    groups: dict[str, list[int]],
    path: Path,
) -> list[Path]:
    import json

    from rgnn.evaluation import csv_rows
    from rgnn.files import write_aside
    from rgnn.plots.learning import noise_map, parity

    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "model": str(path),
        "store": str(data.path),
        "frames": [int(index) for index in frames],
        "settings": [setting.to_mapping(groups) for setting in results],
    }
    write_aside(folder / "eval.json", json.dumps(record, indent=2))
    write_aside(folder / "eval.csv", "\n".join(csv_rows(results)) + "\n")
    files = [folder / "eval.json", folder / "eval.csv", parity(model, data, frames, folder / "parity.png")]
    if len({r.hardware.bits for r in results}) > 2 or len({r.hardware.noise for r in results}) > 2:
        files.append(noise_map(results, folder / "heatmap.png"))
    return files


def _tables(report: Reporter, results: Sequence[Setting], groups: dict[str, list[int]], model: RGNN) -> None:
    from ase.data import chemical_symbols

    own, digital = model.hardware, not model.config.reservoir_layers

    def name(setting: Setting) -> str:
        if setting.hardware == own:
            return "all digital" if digital else "as trained"
        return "ideal chip" if setting.hardware == own.ideal() else setting.hardware.describe()

    elements = results[0].elements
    symbols = [chemical_symbols[z] for z in elements]
    rows = []
    for setting in results:
        e, r = setting.errors(), setting.relative_error()
        spread = f"{100 * r.value:.2f} ± {50 * (r.high - r.low):.2f}%"
        rows.append([name(setting), spread, f"{e.mae:.4f}", f"{e.rmse:.4f}", f"{e.correlation:.4f}"])
    if not digital:
        report.say(f"As trained: {own.describe()}")
    report.table(
        "Force errors: sum|dF| / sum|F| (± half of the 95% interval), MAE and RMSE in eV/Å",
        ["hardware", "error", "MAE", "RMSE", "correlation"],
        rows,
    )
    by_element = [[f"{100 * s.errors(z).relative_error:.2f}%" for z in elements] for s in results]
    report.table(
        "By element", ["hardware", *symbols], [[name(s), *row] for s, row in zip(results, by_element, strict=True)]
    )
    if not groups:
        return
    setting = next(r for r in results if r.hardware == own)
    rows = []
    for group, members in groups.items():
        e = setting.errors(frames=members)
        inner = [f"{100 * setting.errors(z, members).relative_error:.2f}%" for z in elements]
        rows.append([group, f"{100 * e.relative_error:.2f}%", *inner, f"{e.mae:.4f}", f"{e.correlation:.4f}"])
    report.table(
        "By temperature" if digital else "By temperature, as trained", ["", "all", *symbols, "MAE", "correlation"], rows
    )
