"""Closed-form readouts: against least squares on the whole design, stopping, resuming and adding frames."""

import copy

import numpy as np
import pytest
import torch
from bent import CONFIG, TRAIN, VALIDATION, Bent, solved

from rgnn import RGNN, Hardware, fit, load_model
from rgnn.base.errors import InputError, Interrupted
from rgnn.base.rng import torch_stream
from rgnn.models.checkpoints import fingerprint
from rgnn.models.committee import Committee
from rgnn.training.linear import LinearFit
from rgnn.training.log import read_epochs
from rgnn.training.normal_equations import PENALTIES, NormalEquations, best_weights
from rgnn.training.validation import validate


@pytest.fixture(scope="module")
def untrained(built_moments) -> RGNN:
    return built_moments("ridge", Hardware(bits=6, noise=0.02))


@pytest.fixture
def frames(cluster) -> Bent:
    return Bent(cluster)


def test_design_times_weights_is_the_force(untrained, frames) -> None:
    ridge = solved(untrained, frames)
    g = frames.graph(0)
    model, linear = ridge.model, ridge.model.linear
    w = linear.weight[linear.element_index(g)]
    forces = (linear.design(g, model.read(None, torch_stream(1, "noise"))) * w[:, None]).sum(2)
    with torch.no_grad():
        expected = model(g, model.read(None, torch_stream(1, "noise"))).forces
    torch.testing.assert_close(forces, expected, rtol=1e-4, atol=1e-5)


def test_it_is_least_squares_with_a_penalty() -> None:
    rng = torch.Generator().manual_seed(0)
    p, f = (torch.randn(*shape, generator=rng) for shape in ((40, 3, 7), (40, 3)))
    kinds = torch.arange(40) % 2
    sums = NormalEquations.empty(2, 7)
    for part in (slice(0, 25), slice(25, 40)):
        sums.add(p[part], f[part], kinds[part])
    for k in range(2):
        a, b = p[kinds == k].flatten(0, 1).double().numpy(), f[kinds == k].flatten().double().numpy()
        extra = np.sqrt(0.1 * (a**2).sum() / 7) * np.eye(7)
        expected = np.linalg.lstsq(np.vstack([a, extra]), np.append(b, np.zeros(7)), rcond=None)[0]
        w = sums.solve(k, 0.1)
        np.testing.assert_allclose(w.numpy(), expected, rtol=1e-5, atol=1e-7)
        assert sums.squared_error(k, w) == pytest.approx(((a @ expected - b) ** 2).sum(), rel=1e-5)


def test_the_penalty_is_the_best_on_validation_frames() -> None:
    """Few noisy samples: without a penalty the weights are far off."""
    rng = torch.Generator().manual_seed(1)
    truth = torch.randn(30, generator=rng)
    sets = []
    for n in (11, 200):
        p = torch.randn(n, 3, 30, generator=rng)
        sums = NormalEquations.empty(1, 30)
        sums.add(p, p @ truth + 5 * torch.randn(n, 3, generator=rng), torch.zeros(n, dtype=torch.int64))
        sets.append(sums)
    w = best_weights(*sets)[0][0]
    assert sets[1].squared_error(0, w) < 0.9 * sets[1].squared_error(0, sets[0].solve(0, 1e-8))


def test_it_learns_in_one_pass(untrained, frames, tmp_path) -> None:
    ridge = solved(untrained, frames, tmp_path)
    error = validate(ridge.model, frames, VALIDATION, CONFIG.seed).relative
    assert error < 0.3  # no forces at all would be 1
    (row,) = read_epochs(tmp_path)
    assert row.relative_error == pytest.approx(error, rel=1e-6)
    assert fingerprint(load_model(tmp_path)) == fingerprint(ridge.model)
    assert fingerprint(solved(untrained, frames).model) == fingerprint(ridge.model)


@pytest.mark.parametrize("steps", [0, 3, 7])
def test_a_resumed_pass_ends_as_an_unbroken_one(untrained, frames, tmp_path, steps: int) -> None:
    left = iter([False] * steps + [True])
    with pytest.raises(Interrupted, match=f"after {steps} of 8 steps"):
        solved(untrained, frames, tmp_path, stop=lambda: next(left))
    again = LinearFit(copy.deepcopy(untrained), CONFIG, tmp_path)
    again.restore()
    again.run(frames, TRAIN, VALIDATION)
    assert fingerprint(again.model) == fingerprint(solved(untrained, frames).model)


def test_a_finished_pass_that_is_resumed_changes_nothing(untrained, frames, tmp_path) -> None:
    done = solved(untrained, frames, tmp_path)
    again = LinearFit(copy.deepcopy(untrained).train(), CONFIG, tmp_path)
    again.restore()
    again.run(frames, TRAIN, VALIDATION)
    assert fingerprint(again.model) == fingerprint(load_model(tmp_path)) == fingerprint(done.model)


def test_added_frames_count_as_much_as_the_first(untrained, frames, tmp_path) -> None:
    """The sums of both runs together: those of one pass over all frames with the features of the first."""
    solved(untrained, frames, tmp_path / "a", train=range(4), validation=range(24, 26))
    few = load_model(tmp_path / "a")
    ridge = solved(
        untrained, frames, tmp_path / "b", train=range(4, 24), validation=range(26, 30), start=tmp_path / "a"
    )
    for name in ("gain", "bias"):
        assert torch.equal(getattr(ridge.model.readout, name), getattr(few.readout, name))
    errors = [validate(model, frames, VALIDATION, CONFIG.seed).relative for model in (few, ridge.model)]
    assert errors[1] < 0.9 * errors[0]
    whole = LinearFit(copy.deepcopy(few), CONFIG, None)
    for train in (range(4), range(4, 24)):
        for first in train[::4]:
            whole.before = 0 if first < 4 else 2  # batches of the first run: noise goes on after theirs
            whole.done = whole.members[0].done = 0 if first < 4 else (first - 4) // 4
            whole.model.eval()
            whole._add("train", whole._batch(frames, range(first, first + 4)))
    for part in ("a", "b", "square"):
        torch.testing.assert_close(
            getattr(whole.members[0].sums["train"], part), getattr(ridge.members[0].sums["train"], part)
        )


def test_an_element_without_validation_atoms_gets_the_largest_penalty() -> None:
    rng = torch.Generator().manual_seed(2)
    train, validation = NormalEquations.empty(1, 5), NormalEquations.empty(1, 5)
    train.add(torch.randn(9, 3, 5, generator=rng), torch.randn(9, 3, generator=rng), torch.zeros(9, dtype=torch.int64))
    assert best_weights(train, validation)[1] == [max(PENALTIES)]
    train.a.fill_(torch.nan)
    with pytest.raises(InputError, match="not finite"):
        best_weights(train, validation)


def test_a_resumed_pass_is_of_the_same_frames(untrained, frames, tmp_path) -> None:
    solved(untrained, frames, tmp_path)
    with pytest.raises(InputError, match="was started with split blocks, not random"):
        LinearFit(copy.deepcopy(untrained), CONFIG.override(split="random"), tmp_path).restore()


def test_only_what_can_be_solved_for(untrained, built_moments, tmp_path, frames) -> None:
    with pytest.raises(InputError, match="only a model whose forces are linear"):
        LinearFit(built_moments("network", Hardware()), CONFIG, None)
    solved(untrained, frames, tmp_path)
    with pytest.raises(InputError, match="another model or hardware"):
        LinearFit(built_moments("ridge", Hardware(bits=3)), CONFIG, tmp_path).restore()


def test_fit_solves_where_forces_are_linear_in_the_weights(untrained, frames) -> None:
    """Adam would need hundreds of steps for what one pass finds."""
    solved_for = fit(copy.deepcopy(untrained), frames, TRAIN, VALIDATION, CONFIG).model
    assert fingerprint(solved_for) == fingerprint(solved(untrained, frames).model)


def test_fit_solves_a_committee(untrained, frames) -> None:
    two = Committee([copy.deepcopy(untrained), copy.deepcopy(untrained)])
    result = fit(two, frames, TRAIN, VALIDATION, CONFIG)
    assert isinstance(result.model, Committee)
    assert all(member.readout.weight.abs().max() > 0 for member in result.model.members)
    assert len(result.history) == 1 and result.best.relative_error < 0.3
