"""What a run folder says of its run: config.yaml before the first step, and the summary after the last."""

from pathlib import Path
from typing import Any

import numpy as np

from rgnn.base.files import write_atomic
from rgnn.base.settings import dump_yaml
from rgnn.md.contacts import ContactLimits, pair_name, pairs_of
from rgnn.md.drift import Drift, drift
from rgnn.md.heating import heating
from rgnn.md.outputs import distance_column, read_log
from rgnn.md.settings import ClosestAtoms, MDRecord, MDResult, MDSettings, MDVersions, RunOrigin
from rgnn.md.state import State
from rgnn.md.thermometry import half_of, second_half, thermometer
from rgnn.models.base import ForceField
from rgnn.models.checkpoints import fingerprint

# Means of a result, and the columns of the log that they are taken of, where the model has an energy.
MEANS = {
    "potential_energy": "potential_eV",
    "pressure": "pressure_GPa",
    "volume": "volume_A3",
    "density": "density_g_cm3",
}


def write_record(
    out: Path,
    model: ForceField,
    config: MDSettings,
    origin: RunOrigin | None,
    resume: bool,
    versions: MDVersions | None = None,
    slow: ForceField | None = None,
) -> None:
    """Write config.yaml; a resumed run keeps the origin it had, unless another is given.

    Args:
        out: run folder, which exists.
        model: of the run, for its fingerprint.
        config: settings of the run.
        origin: where its structure and model come from.
        resume: the run continues.
        versions: None are those of this process.
        slow: model of multiple time stepping; None without.
    """
    if resume and origin is None and (out / "config.yaml").is_file():
        origin = MDRecord.read(out).origin
    record = MDRecord(
        md=config.resolved(),
        origin=origin or RunOrigin(),
        model_fingerprint=fingerprint(model),
        seen=model.provenance.seen,
        slow_model_fingerprint="" if slow is None else fingerprint(slow),
        versions=versions or MDVersions.here(),
    )
    write_atomic(out / "config.yaml", dump_yaml(record.to_mapping()))


def closest_atoms(
    log: dict[str, np.ndarray], numbers: np.ndarray, limits: ContactLimits | None = None
) -> dict[str, ClosestAtoms]:
    """The closest atoms of each pair of elements in a log, of those pairs that were near in any row.

    Args:
        log: of the run.
        numbers: atomic numbers of the elements.
        limits: what is too close.
    """
    limits, found = limits or ContactLimits(), {}
    for pair in pairs_of(numbers):
        distances = log.get(distance_column(pair), np.zeros(0))
        if np.isfinite(distances).any():
            row = int(np.nanargmin(distances))
            distance, time = float(distances[row]), float(log["time_fs"][row]) / 1000
            close = distance < limits.limit(pair)
            found[pair_name(pair)] = ClosestAtoms(distance, time, limits.trained.get(pair), close)
    return found


def _uncertainty(log: dict[str, np.ndarray]) -> dict[str, Any]:
    """How often forces were looked at, how often an atom was outside of training, and the worst."""
    ratio = log.get("uncertainty_ratio", np.zeros(0))
    looked = ~np.isnan(ratio)
    found: dict[str, Any] = {
        "uncertainty_checks": int(looked.sum()),
        "uncertainty_outside": int((ratio > 1).sum()),
    }
    if looked.any():
        row = int(np.nanargmax(ratio))
        largest = float(ratio[row])
        found |= {"uncertainty_ratio": largest if np.isfinite(largest) else None}
        found |= {"uncertainty_time": float(log["time_fs"][row]) / 1000}
    return found


def summarise(
    out: Path, state: State, config: MDSettings, seconds: float, first: int, limits: ContactLimits | None = None
) -> MDResult:
    """The result of a run, from its log; this process has taken `seconds` for the steps after `first`."""
    log = read_log(out)
    half = second_half(log, config)
    rate = (state.step - first) / max(seconds, 1e-9)
    warming = heating(log, config, len(state.atoms), state.atoms.get_number_of_degrees_of_freedom())
    # Not `state.energy`: a slow model gives one at its own steps only, and the last step may be none of them.
    has_energy = "conserved_eV" in log
    conserved = drift(log, config, len(state.atoms)) if has_energy else Drift()
    measured = thermometer(log, config)
    means: dict[str, Any] = {key: float(log[name][half].mean()) for key, name in MEANS.items() if name in log}
    densities = log["density_g_cm3"][half] if "density_g_cm3" in log else None
    return MDResult(
        steps=state.step,
        temperature=float(log["temperature_K"][half].mean()),
        element_temperature={n.removeprefix("T_"): float(log[n][half].mean()) for n in log if n.startswith("T_")},
        net_force=float(log["net_force"][half].mean()),
        work=warming.work,
        seconds=seconds,
        steps_per_second=rate,
        ns_per_day=rate * config.timestep * 86_400e-6,
        warning="" if has_energy else config.warning,
        heat=warming.heat,
        temperature_shift=warming.shift,
        temperature_shift_error=warming.error,
        heating=warming.verdict,
        temperature_error=half_of(measured.temperature),
        thermostat=measured.verdict,
        element_temperature_error={n: half_of(e) for n, e in measured.equipartition.elements.items()},
        equipartition=measured.equipartition.verdict,
        closest=closest_atoms(log, state.atoms.numbers, limits),
        # Means round, so that equal numbers have a deviation.
        density_fluctuation=None if densities is None else float(densities.std()) if np.ptp(densities) else 0.0,
        **_uncertainty(log),
        **means,
        drift=conserved.slope,
        drift_error=conserved.error,
        conservation=conserved.verdict,
    )
