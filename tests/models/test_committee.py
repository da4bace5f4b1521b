"""Committees of models: their forces, their cells, their folders, and stopping and adding frames."""

import copy

import pytest
import torch
from bent import CONFIG, CUTOFF, TRAIN, VALIDATION, Bent, solved
from listeners import Asked

from rgnn import Chip, Graph, Hardware, MomentForces, load_model, save_model
from rgnn.base.errors import InputError, Interrupted
from rgnn.base.rng import torch_stream
from rgnn.data.store.reader import GraphStore
from rgnn.models.checkpoints import fingerprint
from rgnn.models.committee import Committee
from rgnn.models.settings import EnergySettings, RidgeSettings
from rgnn.models.uncertainty import load_uncertainties
from rgnn.training.linear import LinearFit
from rgnn.training.run import RunSettings, TrainingRun
from rgnn.training.validation import validate


@pytest.fixture(scope="module")
def untrained(built_moments) -> Committee:
    settings, hardware = built_moments("ridge", Hardware()).settings, Hardware(bits=6, noise=0.02)
    chips = [Chip.synthetic(seed).matrices(MomentForces.matrices(settings)) for seed in range(3)]
    return Committee([MomentForces(settings, hardware, cells, k, k) for k, cells in enumerate(chips)])


@pytest.fixture
def frames(cluster) -> Bent:
    return Bent(cluster)


def forces_of_each(model: Committee, g: Graph, noise: torch.Generator | None = None) -> torch.Tensor:
    return torch.stack([p.forces for p in model.each(g, model.read(None, noise))])


def test_forces_are_the_mean_of_members_that_read_their_own_chips(untrained, frames) -> None:
    model, g = solved(untrained, frames).model, frames.graph(0)
    each = forces_of_each(model, g)
    alone = [m(g).forces for m in model.members]
    torch.testing.assert_close(each, torch.stack(alone), rtol=0, atol=0)
    torch.testing.assert_close(model(g).forces, sum(alone) / 3)
    assert (each[0] - each[1]).abs().max() > 1e-3
    noisy = forces_of_each(model, g, torch_stream(0, "noise"))
    first, second = (m(g, m.read(None, torch_stream(0, "noise"))).forces for m in model.members[:2])
    assert not torch.equal(noisy[1], second)
    assert torch.equal(noisy[0], first)


def test_what_is_frozen_on_a_chip_differs_between_members(untrained) -> None:
    """The first member is as it would be alone."""
    frozen = Hardware(noise=0.1, noise_sharing="chip")
    ratios = []
    for member in untrained.members:
        array = member.moments.crossbar
        ratios.append(array.programmed(frozen, noisy=True).weight / array.weight)
    assert (ratios[0] - ratios[1]).abs().median() > 0.02 < (ratios[1] - ratios[2]).abs().median()
    weights = [[array.weight] for array in untrained.crossbars[:2]]
    alone = MomentForces(untrained.settings, frozen, weights).moments.crossbar
    assert torch.equal(alone.programmed(frozen, noisy=True).weight / alone.weight, ratios[0])


def test_a_committee_is_kept_in_one_model_folder(untrained, frames, tmp_path) -> None:
    model = solved(untrained, frames, tmp_path / "run").model
    again = load_model(tmp_path / "run")
    assert isinstance(again, Committee) and len(again.members) == 3
    assert fingerprint(again) == fingerprint(model)
    torch.testing.assert_close(again(frames.graph(1)).forces, model(frames.graph(1)).forces, rtol=0, atol=0)
    assert list(load_uncertainties(tmp_path / "run", again)) == ["posterior", "committee"]
    save_model(model.members[1], tmp_path / "second")
    again = load_model(tmp_path / "second")(frames.graph(1)).forces
    torch.testing.assert_close(again, forces_of_each(model, frames.graph(1))[1])


def test_more_members_err_less_and_the_first_is_that_of_a_run_alone(cluster, tmp_path) -> None:
    store = Bent(cluster).store(tmp_path / "bent.zarr")
    shape = RunSettings.preset("ridge").model.override(channels=4, readout=RidgeSettings(random_features=24))
    base = RunSettings(store=str(store.path), model=shape, training=CONFIG)
    one, four = (TrainingRun.prepare(base.override(chips=n)).run(tmp_path / str(n)) for n in (1, 4))
    alone, together = one.model.members[0], four.model.members[0]
    assert torch.equal(alone.readout.weight, together.readout.weight)
    assert torch.equal(alone.readout.crossbar.weight, together.readout.crossbar.weight)
    assert four.best.relative_error < one.best.relative_error
    assert load_model(tmp_path / "4").provenance.chip == "synthetic, seed 3, and 3 more"


def test_members_share_no_cells_of_a_measured_chip_as_far_as_these_go(cluster, tmp_path) -> None:
    chip = Chip(torch.arange(700.0), "here", measured=True)
    shapes = [[(10, 20)], [(5, 20)]]

    def cells(member: int) -> torch.Tensor:
        return torch.cat([c.weight.flatten() for layer in chip.matrices(shapes, 1, member) for c in layer])

    assert torch.equal(cells(0), torch.cat([c.weight.flatten() for (c,) in chip.matrices(shapes, 1)]))
    assert len(torch.cat([cells(0), cells(1)]).unique()) == 600
    assert len(cells(2).unique()) == 300  # cells of the others, in other places
    assert not torch.equal(cells(2), cells(3))
    whole = Chip(torch.arange(300.0), "here")
    assert torch.equal(whole.matrices(shapes)[0][0].weight.flatten(), torch.arange(200.0))
    assert not torch.equal(whole.matrices(shapes, 0, 1)[0][0].weight.flatten(), torch.arange(200.0))


def test_a_run_on_a_chip_that_is_named_takes_its_cells(cluster, tmp_path) -> None:
    store = Bent(cluster, 12).store(tmp_path / "bent.zarr")
    Chip.synthetic(8, 8000).save(tmp_path / "chip")
    shape = RunSettings.preset("ridge").model.override(channels=4, readout=RidgeSettings(random_features=24))
    run = RunSettings(store=str(store.path), chip=str(tmp_path / "chip"), chips=2, model=shape)
    model = run.build_model(GraphStore(store.path))
    own = set(Chip.load(tmp_path / "chip").weights.tolist())
    taken = [{w for array in m.crossbars for w in array.weight.flatten().tolist()} for m in model.members[1:]]
    assert taken[0] <= own
    first = {w for array in model.members[0].crossbars for w in array.weight.flatten().tolist()}
    assert len(first & taken[0]) < 0.01 * len(first)  # of 8000 cells each takes its own
    assert model.provenance.chip == "synthetic, seed 8, 2 choices of its cells"


@pytest.mark.parametrize("steps", [0, 3, 7])
def test_a_resumed_pass_ends_as_an_unbroken_one(untrained, frames, tmp_path, steps: int) -> None:
    left = iter([False] * steps + [True])
    with pytest.raises(Interrupted):
        solved(untrained, frames, tmp_path, stop=lambda: next(left))
    again = LinearFit(copy.deepcopy(untrained), CONFIG, tmp_path)
    again.restore()
    again.run(frames, TRAIN, VALIDATION)
    assert fingerprint(again.model) == fingerprint(solved(untrained, frames).model)


def test_a_save_cut_off_between_two_members_is_taken_up(untrained, frames, tmp_path) -> None:
    """The third member's sums are saved two batches later than those of the others."""
    for name, steps in (("early", 2), ("late", 4)):
        left = iter([False] * steps + [True])
        with pytest.raises(Interrupted):
            solved(untrained, frames, tmp_path / name, stop=lambda left=left: next(left))
    (tmp_path / "late/members/3.safetensors").replace(tmp_path / "early/members/3.safetensors")
    again = LinearFit(copy.deepcopy(untrained), CONFIG, tmp_path / "early")
    again.restore()
    again.run(frames, TRAIN, VALIDATION)
    assert fingerprint(again.model) == fingerprint(solved(untrained, frames).model)


def test_frames_are_added_to_all_members(untrained, frames, tmp_path) -> None:
    solved(untrained, frames, tmp_path / "a", train=range(4), validation=range(24, 26))
    few = load_model(tmp_path / "a")
    more = solved(untrained, frames, None, train=range(4, 24), validation=range(26, 30), start=tmp_path / "a")
    errors = [validate(m, frames, VALIDATION, CONFIG.seed).relative for m in (few, more.model)]
    assert errors[1] < 0.9 * errors[0]
    for a, b in zip(few.members, more.model.members, strict=True):
        assert torch.equal(a.readout.bias, b.readout.bias)
        assert not torch.equal(a.readout.weight, b.readout.weight)


def test_a_state_of_another_number_of_chips_is_refused(untrained, built_moments, frames, tmp_path) -> None:
    solved(untrained, frames, tmp_path)
    with pytest.raises(InputError, match="another model or hardware"):
        LinearFit(built_moments("ridge", Hardware(bits=6, noise=0.02)), CONFIG, tmp_path).restore()


def test_trained_members_are_those_of_runs_alone_and_their_spread_is_calibrated(cluster, tmp_path) -> None:
    """Models of an energy: each member follows its gradient only, and the committee has the mean of all outputs."""
    store = Bent(cluster).store(tmp_path / "bent.zarr")
    shape = EnergySettings(cutoff=CUTOFF, channels=4, mixtures=3, widths=(6,))
    training = CONFIG.override(epochs=2, batch_size=4, gradient_clip=0.5)
    base = RunSettings(store=str(store.path), model=shape, training=training)
    for n in (1, 3):
        TrainingRun.prepare(base.override(chips=n)).run(tmp_path / str(n))
    alone, together = (load_model(tmp_path / n / "last") for n in ("1", "3"))
    assert isinstance(together, Committee) and together.outputs == {"energy", "forces", "stress"}
    mine = together.members[0].state_dict()
    for name, tensor in alone.state_dict().items():
        torch.testing.assert_close(mine[name], tensor, rtol=0, atol=0, equal_nan=True)
    first, second, _ = (member.readout.mix for member in together.members)
    assert not torch.equal(first, second)
    g = store.graph(3)
    each = torch.stack([member(g).energy for member in together.members])
    torch.testing.assert_close(together(g).energy, each.mean(0))
    best = load_model(tmp_path / "3")
    known = load_uncertainties(tmp_path / "3", best)
    assert list(known) == ["committee", "distance"]
    forces, sigma = known["committee"](best, g)
    torch.testing.assert_close(forces, best(g).forces)
    assert bool((sigma > 0).all())


def test_a_trained_committee_goes_on_as_if_it_had_not_stopped(cluster, tmp_path) -> None:
    store = Bent(cluster).store(tmp_path / "bent.zarr")
    shape = EnergySettings(cutoff=CUTOFF, channels=4, mixtures=3, widths=(6,))
    config = RunSettings(store=str(store.path), model=shape, chips=2, training=CONFIG.override(epochs=2, batch_size=4))
    whole = TrainingRun.prepare(config).run(tmp_path / "whole").model
    asked = iter([False] * 4 + [True])
    with pytest.raises(Interrupted):
        TrainingRun.prepare(config).run(tmp_path / "parts", listener=Asked(lambda: next(asked)))
    parts = TrainingRun.prepare(config).run(tmp_path / "parts", resume=True).model
    assert fingerprint(parts) == fingerprint(whole)
    with pytest.raises(InputError, match="belongs to a model of another shape"):
        TrainingRun.prepare(config.override(chips=1)).run(tmp_path / "parts", resume=True)
