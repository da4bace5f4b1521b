"""What a run without a thermostat gains: with an energy (ideal chip, codes, read noise) and by direct forces.

    python benchmarks/conservation.py start.xyz --energy runs/energy --direct runs/moments --out DIR

Each case is a run of `rgnn.run_md` in NVE, in a folder of DIR; a case that was stopped continues, and `--cases` chooses
some, so that several processes can share them. With an energy the gain is that of the total energy; direct forces have
none, so theirs is the work that they have done, which comes back only where forces have an energy. A run that breaks,
as atoms grow too hot, is shown until then. The table has the slope of a straight line after the first tenth, with the
95% interval of `rgnn.md.drift`.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.io import read
from matplotlib.ticker import FuncFormatter

import rgnn
from rgnn.base.errors import BrokenRunError
from rgnn.md import read_log
from rgnn.md.drift import SETTLING, slope_with_error
from rgnn.plots import style


@dataclass(frozen=True)
class Case:
    """A run: which of the two models, on the ideal chip or as trained, with which noise, and what is wanted of it."""

    name: str
    direct: bool = False
    ideal: bool = False
    noise: float | None = None
    bar: float | None = None


CASES = {
    "ideal": Case("energy, ideal chip", ideal=True, bar=0.01),
    "codes": Case("energy, as trained without noise", noise=0.0, bar=0.1),
    "noise": Case("energy, as trained", bar=0.5),
    "direct-ideal": Case("direct forces, ideal chip", direct=True, ideal=True),
    "direct": Case("direct forces, as trained", direct=True),
}
COLOURS = (style.ACCENT, style.SECOND, style.THIRD, style.GREY, "black")


@dataclass(frozen=True)
class Gain:
    """Of one case: time [n] in ps, energy gained [n] in meV an atom, its slope and half of the slope's 95% interval."""

    time: np.ndarray
    energy: np.ndarray
    slope: float
    error: float

    @classmethod
    def read(cls, folder: Path, n_atoms: int) -> "Gain":
        log = read_log(folder)
        column = log.get("conserved_eV", log["work_eV"])
        time, energy = log["time_fs"] / 1000, 1000 / n_atoms * (column - column[0])
        after = time >= SETTLING * time[-1]
        return cls(time, energy, *slope_with_error(time[after], energy[after]))


def finished(folder: Path) -> bool:
    """Whether a case has come to its end, or has broken."""
    return any((folder / name).exists() for name in ("summary.json", "broken.xyz"))


def run(case: Case, options: argparse.Namespace, folder: Path) -> None:
    model = rgnn.load_model(options.direct if case.direct else options.energy)
    if case.ideal:
        model.hardware = model.hardware.ideal()
    settings = {"steps": options.steps, "temperature": options.temperature, "ensemble": "nve", "noise": case.noise}
    where = {"resume": folder} if (folder / "restart.safetensors").exists() else {"out": folder}
    atoms = None if "resume" in where else read(options.structure, options.frame)
    try:
        result = rgnn.run_md(atoms, model, trajectory="traj", **where, **settings)
    except BrokenRunError as error:
        print(f"{case.name}: {error}")
        return
    print(f"{case.name}: {result.steps} steps, {result.temperature:.0f} K, {result.steps_per_second:.3g} steps/s")


def draw(gains: dict[str, Gain], path: Path) -> Path:
    """Left: energy gained. Right: its slope, with what is wanted of each case as a dashed line."""
    drawing = style.figure(10, 3.8)
    left, right = drawing.subplots(1, 2, width_ratios=[1.1, 1])
    for k, (name, gain) in enumerate(gains.items()):
        case, colour = CASES[name], COLOURS[list(CASES).index(name)]
        left.plot(gain.time, gain.energy, lw=1, color=colour, label=case.name)
        y, size = len(gains) - 1 - k, max(abs(gain.slope), 1e-4)
        right.errorbar(size, y, xerr=[[min(gain.error, 0.9 * size)], [gain.error]], fmt="o", ms=5, color=colour)
        if case.bar is not None:
            right.plot([case.bar] * 2, [y - 0.35, y + 0.35], "--", lw=1, color="black")
    left.set(xlabel="time (ps)", ylabel="energy gained (meV/atom)", yscale="symlog", xlim=(0, None))
    left.set_yscale("symlog", linthresh=1)
    left.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    left.legend(frameon=False, fontsize=8)
    right.set(xscale="log", xlabel="size of the drift (meV/atom/ps)\ndashed: wanted at most", yticks=range(len(gains)))
    right.set_yticklabels([CASES[name].name for name in reversed(gains)])
    right.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    for axes in (left, right):
        style.tidy(axes)
    return style.save(drawing, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("structure", type=Path)
    parser.add_argument("--frame", type=int, default=-1)
    parser.add_argument("--energy", type=Path, required=True, help="training run of the preset energy")
    parser.add_argument("--direct", type=Path, required=True, help="training run of a direct model")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs and of the figure")
    parser.add_argument("--cases", default=",".join(CASES), help=f"some of: {', '.join(CASES)}")
    parser.add_argument("--steps", type=int, default=50_000, help="of 1 fs")
    parser.add_argument("--temperature", type=float, default=600.0, help="of the velocities at the start, K")
    options = parser.parse_args()
    for name in filter(None, options.cases.split(",")):
        if not finished(options.out / name):
            run(CASES[name], options, options.out / name)
    n = len(read(options.structure, options.frame))
    gains = {name: Gain.read(options.out / name, n) for name in CASES if finished(options.out / name)}
    print(f"{'':36}{'ps':>6}{'meV/atom/ps':>20}{'wanted':>10}")
    for name, gain in gains.items():
        case = CASES[name]
        wanted = "" if case.bar is None else f"{case.bar:g}"
        print(f"{case.name:36}{gain.time[-1]:6.1f}{gain.slope:12.4f} ± {gain.error:<7.4f}{wanted:>8}")
    print(draw(gains, options.out / "conservation.png"))


if __name__ == "__main__":
    main()
