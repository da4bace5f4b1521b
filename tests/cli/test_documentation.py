"""The command lines of the pages for newcomers are run as they stand there, on few frames and with few steps.

The tutorials run when the site is built. Command lines of other pages are parsed (tests/docs/test_commands.py); what
they do is tested with the commands.
"""

import contextlib
import itertools
import shutil
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from command_lines import LINES, PROJECT, Line, arguments_of_rgnn, words_of

from rgnn.data import sample

# Fewer frames, epochs and steps; an option that is given twice counts as it is given last.
SHORTER = {
    "train": ("--epochs", "1"),
    "eval": ("--frames", "2", "--repeats", "1"),
    "md": ("--steps", "4"),
    "relax": ("--steps", "3"),
    "sweep": ("--steps", "10", "--every", "1"),
    "doctor": (),
}
# What other tests run, since it needs more than a folder: a second process, a file of a program, a network.
ELSEWHERE = {
    "mpirun": "tests/md/test_lammps.py",
    "torchrun": "tests/cli/test_train_processes.py",
    "vasprun": "tests/data/test_formats.py",
    "OUTCAR": "tests/data/test_formats.py",
    "MODULE:NAME": "tests/data/test_labels.py",
    "rgnn learn": "tests/cli/test_learn.py",
    "COMMAND": "tests/cli/test_board.py",
    "PATH": "tests/cli/test_small_commands.py",
    "import-checkpoint": "tests/models/test_published.py",
    "import-result": "tests/cli/test_chip.py",
    "chip fit": "tests/cli/test_chip_fit.py",
    "board.py": "tests/cli/test_board.py",
    "rgnn demo": "tests/cli/test_demo.py",
    "--resume": "tests/test_kills.py",
    "--from runs": "tests/cli/test_train_start.py",
    "--arrhenius": "tests/cli/test_analyse.py",
    "--hardware measured": "tests/cli/test_chip.py",
}
PAGES = ("README.md", "docs/start.md", "docs/training.md", "docs/tasks.md")


@pytest.fixture
def folder(workdir: Path, cli, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the pages take for given: stores, a chip, structures, a trained model and runs of dynamics."""
    Path("empty").mkdir()
    frames = list(itertools.islice(sample.sample_frames(), 0, 270, 27))
    monkeypatch.setattr("rgnn.data.fetch.registry.sample_frames", lambda: iter(frames))
    ase.io.write("more.xyz", [labelled(frame) for frame in itertools.islice(sample.sample_frames(), 5, 60, 20)])
    cli("convert", "more.xyz", "--out", "more.zarr", "--quiet")
    cli("fetch-data", "sample", "--quiet")  # the store that commands without one take, since it is the newest
    for name in ("mine", "wide", "lipo"):
        shutil.copytree("data/sample.zarr", f"data/{name}.zarr")
    for name in ("glass", "a", "b", "c"):
        shutil.copy("structure.xyz", f"{name}.xyz")
    rng = np.random.default_rng(0)
    resistance = 1000 / rng.normal(14.25, 2.46, (440, 440)).clip(5)
    rows = [f"WL{k}," + ",".join(f"{r:.5g}" for r in row) for k, row in enumerate(resistance)]
    Path("map.csv").write_text("\n".join(["R (kOhm)," + ",".join(f"BL{k}" for k in range(440)), *rows]))
    cli("import-conductance", "map.csv", "--out", "chips/mine", "--quiet")
    np.save("weights.npy", rng.normal(size=(4, 6)).astype(np.float32))
    np.savetxt("inputs.csv", rng.random((3, 6)), delimiter=",")
    cli("train", "data/sample.zarr", "--preset", "ridge", "--quiet")
    return workdir


def labelled(frame) -> Atoms:
    """A frame of the sample with its forces."""
    atoms = frame.to_atoms()
    atoms.calc = SinglePointCalculator(atoms, forces=frame.forces)
    return atoms


def shortened(words: list[str]) -> list[str]:
    """Arguments of `rgnn` with little to compute."""
    found = list(words)
    for slow in ("--minutes", "--chips"):
        if slow in found:
            del found[found.index(slow) : found.index(slow) + 2]
    more = SHORTER.get(found[0], ())
    solved = "ridge" in found or "--add-to" in found
    if found[0] == "eval" and "--conservation" in found:
        more = ("--nve-steps", "10")
    return [*found, *(() if found[0] == "train" and solved else more)]


def test_what_is_run_elsewhere_is() -> None:
    assert all((PROJECT / file).is_file() for file in ELSEWHERE.values())


@pytest.mark.parametrize("page", PAGES)
def test_command_lines_run_as_they_stand(page: str, folder: Path, cli) -> None:
    lines = [line for line in LINES if line.page == page and (line.whole or page == "docs/tasks.md")]
    ran = 0
    for line in lines:
        arguments = arguments_of_rgnn(words_of(line.text))
        if not arguments or any(word in line.text for word in ELSEWHERE):
            continue
        if "--out" in arguments and "--append" not in arguments:
            shutil.rmtree(arguments[arguments.index("--out") + 1], ignore_errors=True)
        prepare(line, cli)
        # The packaged model runs where nothing has been trained yet.
        with contextlib.chdir("empty" if arguments == ["md", "--steps", "500"] else "."):
            cli(*shortened(arguments))
        ran += 1
    assert ran > {"README.md": 5, "docs/start.md": 4, "docs/training.md": 4, "docs/tasks.md": 15}[page]


def prepare(line: Line, cli) -> None:
    """Make what a line names and no line before it has made."""
    if "analyse" in line.text:
        run = Path("md/structure-001")
        shutil.rmtree(run, ignore_errors=True)  # of an earlier line, and too short
        cli("md", "structure.xyz", "--temperature", 600, "--steps", 40, "--every", 1, "--out", run, "--quiet")
        if "--reference" in line.text and not Path("aimd.xyz").exists():
            ase.io.write("aimd.xyz", [frame.to_atoms() for frame in itertools.islice(sample.sample_frames(), 0, 40)])
    if "--ensemble npt" in line.text or "--cell full" in line.text:
        cli("train", "data/sample.zarr", "--preset", "energy", "--epochs", 1, "--quiet")
