"""rgnn relax and constant pressure, with a model that has an energy and with one that has not."""

import json

import ase.io
import pytest
import torch

from rgnn import Chip, EnergySettings, Graph, Hardware, MomentEnergy, save_model
from rgnn.base.provenance import Provenance


@pytest.fixture
def energy_folder(trajectory, workdir):
    """A model with an energy, hardly trained: its digital part draws atoms to their crystal a little."""
    settings = EnergySettings(channels=4, mixtures=4, widths=(6,), elements=(3, 8), cutoff=3.8)
    model = MomentEnergy(settings, Hardware(bits=8, noise=None), Chip.synthetic(0).matrices(
        MomentEnergy.matrices(settings)), seed=1)  # fmt: skip
    for a in ase.io.read(trajectory, ":3"):
        model.train()(Graph.from_positions(a.numbers, a.positions, a.cell[:], a.pbc, 3.8))
    with torch.no_grad():
        model.readout.last.mul_(0.1)
    model.provenance = Provenance(elements=(3, 8))
    save_model(model.eval(), workdir / "energy")
    return workdir / "energy"


@pytest.fixture
def structure(trajectory, workdir):
    ase.io.write("start.xyz", ase.io.read(trajectory, 1))
    return "start.xyz"


def test_a_cell_relaxes_and_info_says_how_far(cli, energy_folder, structure) -> None:
    options = ("--model", energy_folder, "--cell", "full", "--steps", 5, "--out", "relaxed")
    found = json.loads(cli("relax", structure, *options, "--json"))
    assert found["after"]["energy_ev"] < found["before"]["energy_ev"]
    assert ase.io.read("relaxed/final.xyz").cell.volume == pytest.approx(
        found["after"]["volume_cubic_angstrom"], rel=1e-6
    )
    told = cli("info", "relaxed")
    assert "Relaxation relaxed" in told and "5 steps; 0.02 eV/Å not reached" in told
    assert json.loads(cli("info", "relaxed", "--json"))["summary"]["steps"] == 5
    cli("relax", structure, *options, "--overwrite")


def test_a_model_of_forces_moves_atoms_and_no_cell(cli, refused, quick_model_folder, structure) -> None:
    said = refused(2, "relax", structure, "--model", quick_model_folder, "--cell", "full")
    assert "--cell is full, which needs a stress, but the model gives forces only" in said
    assert "energy" not in json.loads(cli("relax", structure, "--model", quick_model_folder, "--steps", 2, "--json"))[
        "after"]  # fmt: skip


def test_constant_pressure_is_for_models_with_an_energy(cli, refused, energy_folder, quick_model_folder, structure):
    said = refused(2, "md", structure, "--model", quick_model_folder, "--ensemble", "npt", "--steps", 3)
    assert "the ensemble is npt, which needs a stress" in said
    options = ("--model", energy_folder, "--ensemble", "npt", "--pressure", 1, "--steps", 4, "--every", 1)
    found = json.loads(cli("md", structure, *options, "--close-contacts", "ignore", "--json"))
    assert found["steps"] == 4 and "density_g_per_cm3" in json.dumps(found)
