import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from typer.testing import CliRunner

from rgnn import RGNN, Graph, Hardware, save_model
from rgnn.base.provenance import Provenance
from rgnn.models.settings import MessagePassingSettings
from rgnn_cli import app as rgnn_app


def labelled_frames(n: int, seed: int = 0) -> list[Atoms]:
    """Rattled Li/O crystals with harmonic forces, at two 'temperatures'."""
    rng = np.random.default_rng(seed)
    rest = bulk("Li", "bcc", a=3.4, cubic=True) * (2, 2, 2)
    rest.symbols[::2] = "O"
    frames = []
    for k in range(n):
        atoms = rest.copy()
        temperature = (300, 600)[k % 2]
        displacement = rng.normal(0, 0.05 * (1 + k % 2), rest.positions.shape)
        atoms.positions += displacement
        atoms.info["temperature"] = temperature
        atoms.calc = SinglePointCalculator(
            atoms, forces=-3.0 * displacement, energy=1.5 * float((displacement**2).sum())
        )
        frames.append(atoms)
    return frames


@pytest.fixture(scope="session")
def trajectory(tmp_path_factory) -> Path:
    """An extended XYZ file of 30 labelled frames of 16 atoms."""
    path = tmp_path_factory.mktemp("trajectory") / "tiny.xyz"
    ase.io.write(path, labelled_frames(30), format="extxyz")
    return path


@pytest.fixture(scope="session")
def further(tmp_path_factory) -> Path:
    """An extended XYZ file of 15 labelled frames of the same material, none of which is in the trajectory."""
    path = tmp_path_factory.mktemp("further") / "further.xyz"
    ase.io.write(path, labelled_frames(15, seed=1), format="extxyz")
    return path


@pytest.fixture(scope="session")
def quick_model(built, trajectory) -> RGNN:
    """Untrained and small, for 4 bits and 5% noise, with ranges from the tiny trajectory."""
    frames = [
        Graph.from_positions(a.numbers, a.positions, a.cell[:], a.pbc, 3.8) for a in ase.io.read(trajectory, ":4")
    ]
    config = MessagePassingSettings(n_features=6, reservoir_layers=1, trained_layers=1)
    model = built(config, Hardware(bits=4, noise=0.05), *frames)
    model.provenance = Provenance(elements=(3, 8))
    return model


@pytest.fixture(scope="session")
def quick_model_folder(quick_model, tmp_path_factory) -> Path:
    """Where it is saved."""
    folder = tmp_path_factory.mktemp("model") / "quick"
    save_model(quick_model, folder)
    return folder


@pytest.fixture
def workdir(tmp_path, monkeypatch) -> Path:
    """An empty folder to work in, as a user would."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RGNN_DEBUG", raising=False)
    return tmp_path


@pytest.fixture
def cli(workdir):
    """Run a command through Typer's runner; it has to succeed."""

    def run(*arguments: object) -> str:
        result = CliRunner().invoke(rgnn_app.app, [str(a) for a in arguments])
        assert result.exit_code == 0, result.output + repr(result.exception)
        return result.stdout if "--json" in arguments else result.output

    return run


@pytest.fixture
def refused(workdir, monkeypatch, capsys):
    """Run a command as the entry point does; it has to fail with this exit code. Returns its one sentence."""

    def run(code: int, *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["rgnn", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            rgnn_app.main()
        said = capsys.readouterr().err.strip()
        assert ended.value.code == code, said
        assert "Traceback" not in said
        assert said.count("\n") == 0, said
        return said

    return run


@pytest.fixture
def shell(workdir):
    """Run a command line in a real shell; returns code, out and err."""
    folder = Path(sys.executable).parent

    def run(line: str, timeout: float = 120) -> SimpleNamespace:
        done = subprocess.run(
            line.replace("rgnn ", f"{folder}/rgnn ", 1), shell=True, capture_output=True, text=True, timeout=timeout
        )
        return SimpleNamespace(code=done.returncode, out=done.stdout, err=done.stderr)

    return run


@pytest.fixture
def store(cli, trajectory) -> Path:
    """A store of the tiny trajectory, made by the command."""
    cli("convert", trajectory, "--out", "data/tiny.zarr", "--quiet")
    return Path("data/tiny.zarr")


@pytest.fixture
def run(cli, store) -> Path:
    """A short training run on it."""
    cli("train", store, "--epochs", 2, "--bits", 4, "--noise", 0.05, "--out", "runs/a", "--quiet")
    return Path("runs/a")
