"""The figure of a relaxation."""

from pathlib import Path

import numpy as np

from rgnn.base.files import read_csv
from rgnn.plots import style


def relax_figure(out: str | Path, path: str | Path, fmax: float) -> Path:
    """Largest force, and with an energy this and the volume, against the steps of a relaxation.

    Args:
        out: folder of the relaxation.
        path: PNG to write.
        fmax: largest force at which it was to end, eV/Å.
    """
    log = read_csv(Path(out) / "log.csv", "relax the structure again")
    shown = [("max_force", "largest force (eV/Å)")]
    names = {"energy_eV": "energy above the last (eV)", "volume_A3": "volume (Å³)"}
    shown += [(name, label) for name, label in names.items() if np.isfinite(log[name]).all()]
    drawing = style.figure(4 * len(shown), 3.4)
    for axes, (name, label) in zip(drawing.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        values = log[name] - log[name][-1] if name == "energy_eV" else log[name]
        axes.plot(log["step"], values, lw=1, color=style.ACCENT, marker="o", ms=2)
        axes.set(xlabel="step", ylabel=label)
        if name == "max_force":
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.axhline(fmax, color=style.SECOND, lw=1, ls="--", label=f"asked for: {fmax:g}")
            axes.legend(frameon=False, fontsize=8)
        axes.ticklabel_format(axis="y", useOffset=False) if name == "volume_A3" else None
        style.tidy(axes)
    return style.save(drawing, path)
