"""What `rgnn info` shows of what lies at a path, in words; and what the commands that make a store say of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rgnn_cli.show import learn

if TYPE_CHECKING:
    from rgnn.data.store.summary import MotionSummary, StoreSummary
    from rgnn.reports.contents import (
        ChipContents,
        Contents,
        DynamicsContents,
        LearningContents,
        ModelContents,
        RelaxationContents,
        TrainingContents,
    )
    from rgnn_cli.session.console import Reporter

# More temperatures than these are shown as a range.
LISTED = 12


def contents(report: Reporter, path: Path, found: Contents, verified: bool = False) -> None:
    """A table of what lies at the path, and for a store whether its checksums were verified."""
    from rgnn.data.store.summary import StoreSummary
    from rgnn.reports.contents import (
        ChipContents,
        LearningContents,
        ModelContents,
        RelaxationContents,
        TrainingContents,
    )
    from rgnn.reports.dynamics import closest_table

    if isinstance(found, StoreSummary):
        if verified:
            report.say("Every array agrees with its checksum.")
        report.facts(f"Graph store {path}", store_facts(found))
    elif isinstance(found, ChipContents):
        report.facts(f"Chip {path}", _chip(found))
    elif isinstance(found, ModelContents):
        report.facts(f"Model {path}", _model(found))
    elif isinstance(found, TrainingContents):
        report.facts(f"Training run {path}", _training(found))
    elif isinstance(found, RelaxationContents):
        report.facts(f"Relaxation {path}", _relaxation(found))
    elif isinstance(found, LearningContents):
        report.facts(f"Active learning {path}", _learning(found))
        if found.rounds:
            report.table("Force errors, meV/Å", *learn.rows_of(found.rounds))
    else:
        report.facts(f"Molecular dynamics run {path}", _dynamics(found))
        if found.closest:
            table = closest_table(found.closest)
            report.table(table.title, table.columns, table.rows)


def presets(report: Reporter) -> dict[str, Any]:
    """A table of each hardware preset; returns the settings of all."""
    from rgnn.chip.presets import PRESETS

    for name, preset in PRESETS.items():
        words = {"hardware": preset.hardware.describe(), "stands for": preset.family, "source": preset.source}
        report.facts(f"--hardware {name}", words)
    return {name: preset.hardware.to_mapping() for name, preset in PRESETS.items()}


def store_facts(summary: StoreSummary) -> dict[str, str]:
    """Names and values of a table that describes a graph store."""
    s = summary
    few, many = s.smallest_frame_atoms, s.largest_frame_atoms
    facts = {
        "frames": f"{s.frames:,}",
        "atoms in a frame": f"{few}" if few == many else f"{few} to {many}",
        "elements": ", ".join(f"{symbol} {count:,}" for symbol, count in s.elements.items()),
        "cutoff": f"{s.cutoff_angstrom:g} Å",
        "neighbours": f"{s.mean_neighbours:.1f} of an atom on average, {s.fewest_neighbours} to {s.most_neighbours}",
        "force": f"{s.force_rms_ev_per_angstrom:.3f} eV/Å root mean square of a component",
        "temperatures": _temperatures(s.temperatures_kelvin, s.velocities),
        "sources": ", ".join(f"{source.name} ({source.frames})" for source in s.sources),
    }
    if labels := {source.labels for source in s.sources if source.labels}:
        facts["labels"] = ", ".join(sorted(labels))
    if s.left_out:
        facts["left out"] = ", ".join(f"{count} {reason}" for reason, count in s.left_out.most_common())
    if s.unfinished:
        facts["unfinished"] = "an append broke off; run the same command again to complete it"
    return facts


def _temperatures(frames: Mapping[float, int], velocities: MotionSummary | None) -> str:
    """Those that files name, and those of velocities where they name none."""
    said = []
    if len(frames) > LISTED:
        said.append(f"{min(frames):g} to {max(frames):g} K")
    elif frames:
        said.append(", ".join(f"{t:g} K: {count}" for t, count in frames.items()))
    if (v := velocities) is not None:
        span = f"{v.lowest_kelvin:.0f} to {v.highest_kelvin:.0f} K, {v.mean_kelvin:.0f} K on average"
        said.append(f"{span}: {v.frames:,} by their velocities")
    return "; ".join(said) or "not recorded"


def _chip(found: ChipContents) -> dict[str, object]:
    s = found.statistics
    return {
        "source": found.source,
        "weights": s.weights,
        "mean": f"{s.mean:.4f}",
        "standard deviation": f"{s.deviation:.4f}",
        "range": f"{s.smallest:.3f} to {s.largest:.3f}",
        "made or measured": "measured" if found.measured else "made",
        "raw conductances": "kept" if found.keeps_conductances else "only their differences are known",
        "read noise": "measured of each weight" if found.knows_read_noise else "not measured",
    }


def _model(found: ModelContents) -> dict[str, object]:
    p, near = found.provenance, found.locality
    return {
        "layers": found.layers,
        "cutoff": f"{near.cutoff:g} Å, forces reach {near.reach:g} Å",
        "weights": f"{found.fixed_weights + found.trained_weights:,}, {found.trained_weights:,} of them trained",
        "hardware": found.hardware.describe(),
        "elements": " ".join(found.elements) or "not recorded",
        "chip": p.chip,
        "data": p.data,
        **_domain(found),
        **_uncertainty(found),
        "rgnn": p.rgnn,
        "fingerprint": found.fingerprint[:16],
    }


def _domain(found: ModelContents) -> dict[str, str]:
    """What the training set spans; nothing where it is not recorded."""
    seen = found.provenance.seen
    if not seen.frames:
        return {}
    said = {"trained up to": f"{seen.largest_force:.3g} eV/Å (in {seen.frames} frames of the training set)"}
    if seen.density:
        low, high = seen.density
        said["densities"] = f"{low:.3f} g/cm³" if f"{low:.3f}" == f"{high:.3f}" else f"{low:.3f} to {high:.3f} g/cm³"
    pairs = (f"{pair} {distance:.2f}" for pair, distance in found.smallest_distances.items())
    return said | {"smallest distances": ", ".join(pairs) + " Å"}


def _uncertainty(found: ModelContents) -> dict[str, str]:
    """By what the uncertainty of forces is known, and from where on an atom is outside of training."""
    said = {}
    for method, limits in found.limits.items():
        words = ", ".join(f"{symbol} {limit:.2g}" for symbol, limit in limits.items())
        said[f"uncertainty by {method}"] = f"outside of training beyond {words} eV/Å"
    return said


def _training(found: TrainingContents) -> dict[str, object]:
    run, best = found.settings, found.best
    epochs = "one pass" if run.model.is_solved else f"{len(found.history)} of {run.training.epochs}"
    facts: dict[str, object] = {
        "data": run.store,
        "chip": run.chip or f"synthetic, seed {run.training.seed}",
        "hardware": run.hardware.describe() if run.model.uses_chip else "all digital",
        "epochs": epochs,
    }
    if run.chips > 1:
        facts["chips"] = f"{run.chips}, forces are the mean"
    if best is not None:
        facts |= {"best epoch": best.epoch, "relative force error": f"{100 * best.relative_error:.2f}%"}
        facts |= {"MAE": f"{best.mae:.4f} eV/Å", "time": f"{found.seconds / 60:.1f} min"}
    return facts


def _dynamics(found: DynamicsContents) -> dict[str, object]:
    """Each setting, with the part of the record that it belongs to, and what the watches have seen."""
    from rgnn.reports.dynamics import closest_words

    flat: dict[str, object] = {}
    for part, value in found.record.to_mapping().items():
        if part == "seen":  # the table of closest atoms shows it beside what the run has seen
            continue
        inner = value if isinstance(value, dict) else {"": value}
        flat |= {f"{part} {name}".strip(): setting for name, setting in inner.items()}
    flat["state"] = "broke off" if found.broke_off else "ended" if found.summary else "has not ended"
    if found.measured is not None:
        flat["temperature"] = found.measured.verdict
        flat |= {"equipartition": words} if (words := found.measured.equipartition.verdict) else {}
    if heating := found.summary.get("heating"):
        flat["heating by the model"] = heating
    if checks := found.summary.get("uncertainty_checks"):
        flat["outside of training"] = f"at {found.summary['uncertainty_outside']} of {checks} looks"
    if words := closest_words(found.closest):
        flat["closest atoms"] = words
    return flat


def _relaxation(found: RelaxationContents) -> dict[str, object]:
    """Of a structure on its way to a minimum."""
    asked, origin, summary = found.record["relax"], found.record["origin"], found.summary
    facts: dict[str, object] = {
        "structure": origin.get("structure", "not known"),
        "model": origin.get("model", "not known"),
        "cell": asked["cell"],
    }
    if not summary:
        return {**facts, "result": "has not ended"}
    before, after = summary["before"], summary["after"]
    reached = "reached" if summary["converged"] else "not reached"
    facts["result"] = f"{summary['steps']} steps; {asked['fmax']:g} eV/Å {reached}"
    for name, unit in (("energy", "eV"), ("max_force", "eV/Å"), ("pressure", "GPa"), ("volume", "Å³")):
        if after[name] is not None:
            digits = ".3f" if name == "energy" else ".4g"
            facts[name.replace("max_", "largest ")] = f"{before[name]:{digits}} to {after[name]:{digits}} {unit}"
    return facts


def _learning(found: LearningContents) -> dict[str, object]:
    """What is learned, from what, and how far it has come."""
    record, s, rounds = found.record, found.record.learn, found.rounds
    start = f"{s.start} distorted copies" if s.frames is None else s.frames
    facts: dict[str, object] = {
        "structure": record.structure,
        "labels": s.label or f"{s.inputs}, with the files of {s.template}",
        "started from": f"{start}, labelled again" if s.relabel else start,
        "training": s.config or (f"begins with {s.from_model}" if s.from_model is not None else f"--preset {s.preset}"),
        "dynamics": f"{s.steps} steps of {s.timestep:g} fs at {s.temperature:g} K",
        "finished rounds": f"{len(rounds)} of {s.rounds + 1} at most, the last without dynamics",
    }
    if rounds and rounds[-1].inside:
        facts["ended"] = "the last dynamics stayed inside of what was learned"
    return facts
