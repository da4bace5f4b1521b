"""The figure of docs/active-learning.md: python benchmarks/active_learning.py FOLDER [SEEDS] [CHOICE]

A copper-gold alloy of 16 atoms, labelled by ASE's effective-medium potential (EMT), which stands for a reference. From
20 distorted crystals, learning adds 5 frames a round of dynamics at 1500 K: the farthest ones, or random ones of the
same dynamics. Each model, a small ridge readout that is solved for in a second, is tested on frames of EMT's own
dynamics at 1500 K, which no model has seen. FOLDER keeps every run, and the same command goes on where it was stopped;
with a CHOICE only that is run, so that both can be run at once. SEEDS is 3 where it is left out.
"""

import sys
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin

import rgnn
from rgnn.base.settings import dump_yaml
from rgnn.learning.rounds import Round
from rgnn.models.settings import MomentSettings, RidgeSettings
from rgnn.plots import style

OUT = Path(__file__).parents[1] / "docs" / "active-learning.png"
TEMPERATURE, ROUNDS, BATCH, START = 1500.0, 6, 5, 20
CHOICES = ("farthest", "random")
MODEL = MomentSettings(cutoff=4.0, channels=8, readout=RidgeSettings(random_features=64))


def alloy() -> Atoms:
    atoms = bulk("Cu", cubic=True).repeat((2, 2, 1))
    atoms.numbers[::4] = 79
    atoms.set_cell(atoms.cell * 1.05, scale_atoms=True)
    return atoms


def test_frames(path: Path) -> Path:
    """20 frames of two runs of the reference's own dynamics, 100 fs apart."""
    if path.exists():
        return path
    frames = []
    for seed in range(2):
        atoms, rng = alloy(), np.random.default_rng(1000 + seed)
        atoms.calc = EMT()
        speeds = np.sqrt(2 * TEMPERATURE * units.kB / atoms.get_masses())  # half of it goes into the potential
        atoms.set_velocities(rng.standard_normal((len(atoms), 3)) * speeds[:, None])
        friction = 0.02 / units.fs
        dynamics = Langevin(atoms, 4 * units.fs, temperature_K=TEMPERATURE, friction=friction, fixcm=False, rng=rng)
        dynamics.run(100)
        for _ in range(10):
            dynamics.run(25)
            frame = atoms.copy()
            frame.calc = EMT()
            frame.get_forces()
            frames.append(frame)
    aside = path.with_name("test.partial.xyz")
    ase.io.write(aside, frames, format="extxyz")
    aside.replace(path)
    return path


def learned(folder: Path, choice: str, seed: int) -> tuple[Round, ...]:
    return rgnn.learn(
        folder / "alloy.xyz", folder / f"{choice}-{seed}", label="ase.calculators.emt:EMT", choice=choice, seed=seed,
        config=str(folder / "ridge.yaml"), test=str(folder / "test.xyz"), temperature=TEMPERATURE, timestep=2.0,
        steps=400, every=5, cutoff=MODEL.cutoff, rounds=ROUNDS, batch=BATCH, start=START,
    ).rounds  # fmt: skip


def main(folder: Path, seeds: int, only: str | None) -> dict[str, list[tuple[Round, ...]]]:
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "ridge.yaml").exists():
        ase.io.write(folder / "alloy.xyz", alloy())
        (folder / "ridge.yaml").write_text(dump_yaml(rgnn.RunSettings(model=MODEL).to_mapping()))
    test_frames(folder / "test.xyz")
    found = {choice: [] for choice in CHOICES}
    for seed in range(seeds):
        for choice in CHOICES if only is None else (only,):
            rows = learned(folder, choice, seed)
            found[choice].append(rows)
            print(f"seed {seed}, {choice}: " + " ".join(f"{1e3 * row.test_mae:.0f}" for row in rows), flush=True)
    if only is None:
        report(found)
        figure(found, OUT)
    return found


def medians(runs: list[tuple[Round, ...]], name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Frames, and median, least and largest of a measure over the seeds.

    A run that has ended, since its dynamics stayed inside, asks for no more labels and keeps its error.
    """
    rounds = ROUNDS + 1
    values = np.array([[getattr(rows[min(k, len(rows) - 1)], name) for k in range(rounds)] for rows in runs])
    frames = START + BATCH * np.arange(rounds)
    return frames, np.median(values, axis=0), values.min(axis=0), values.max(axis=0)


def report(found: dict[str, list[tuple[Round, ...]]]) -> None:
    print("| labelled frames | " + " | ".join(f"{choice}, meV/Å" for choice in CHOICES) + " |\n| --- | --- | --- |")
    columns = [medians(found[choice], "test_mae") for choice in CHOICES]
    for k, frames in enumerate(columns[0][0]):
        cells = [f"{1e3 * m[k]:.0f} ({1e3 * low[k]:.0f} to {1e3 * high[k]:.0f})" for _, m, low, high in columns]
        print(f"| {frames} | " + " | ".join(cells) + " |")
    for choice, runs in found.items():
        ended = [rows[-1].frames for rows in runs if rows[-1].inside]
        print(f"{choice}: {len(ended)} of {len(runs)} ended inside, with {ended} frames")


def figure(found: dict[str, list[tuple[Round, ...]]], path: Path) -> None:
    drawing = style.figure(9, 3.6)
    errors, said = drawing.subplots(1, 2)
    for choice, colour in zip(CHOICES, (style.ACCENT, style.SECOND), strict=True):
        frames, middle, low, high = medians(found[choice], "test_mae")
        errors.plot(frames, 1e3 * middle, "o-", color=colour, label=choice)
        errors.fill_between(frames, 1e3 * low, 1e3 * high, color=colour, alpha=0.15, lw=0)
    errors.set(xlabel="labelled frames", ylabel="force error on the test (meV/Å)", ylim=(0, None))
    errors.legend(frameon=False)
    rows = [row for runs in found.values() for rows in runs for row in rows if row.added_rmse is not None]
    x, y = (1e3 * np.array([getattr(row, name) for row in rows]) for name in ("added_sigma", "added_rmse"))
    limit = 1.05 * max(x.max(), y.max())
    said.plot([0, limit], [0, limit], color=style.GREY, lw=0.8)
    said.plot(x, y, "o", ms=4, color=style.ACCENT)
    said.set(xlabel="uncertainty of the next frames (meV/Å)", ylabel="their error before learning (meV/Å)")
    for axes in (errors, said):
        style.tidy(axes)
    style.save(drawing, path)


if __name__ == "__main__":
    given = sys.argv[1:]
    main(Path(given[0]), int(given[1]) if len(given) > 1 else 3, given[2] if len(given) > 2 else None)
