"""Two processes against one; what they train is in processes_ranks.py."""

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from processes_ranks import CONFIG, Glass, solve, torchrun, train, untrained

from rgnn import Graph, load_model
from rgnn.base.errors import InputError
from rgnn.base.tensorfiles import read_tensors, write_tensors
from rgnn.graphs.graph import Labels
from rgnn.models.checkpoints import fingerprint
from rgnn.training import gradient as training
from rgnn.training.distributed import ALONE, Processes
from rgnn.training.fit import fitter_for
from rgnn.training.gradient import GradientFit
from rgnn.training.linear import FORMAT, VERSION
from rgnn.training.log import read_epochs
from rgnn.training.settings import TrainingSettings


@pytest.fixture(scope="module")
def frames() -> Glass:
    return Glass()


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """The folder where two processes have left their runs."""
    folder = tmp_path_factory.mktemp("two")
    process = torchrun(Path(__file__).parents[1] / "helpers/processes_ranks.py", folder)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return folder


def assert_close(a: torch.nn.Module, b: torch.nn.Module) -> None:
    """Weights, ranges and statistics."""
    torch.testing.assert_close(
        dict(a.state_dict()), dict(b.state_dict()), rtol=1e-4, atol=2e-5
    )  # Adam enlarges rounding


def test_two_processes_hold_the_same_models_and_write_one_run(two) -> None:
    assert (two / "prints-0").read_text() == (two / "prints-1").read_text()
    assert {p.name for p in (two / "clean").iterdir()} == {"log.csv", "best", "last", "state.safetensors"}
    assert len(read_epochs(two / "clean")) == CONFIG.epochs


@pytest.mark.parametrize("name", ["clean", "noisy", "converted", "messages", "energy"])
def test_two_processes_train_as_one_does_in_two_parts(two, frames, tmp_path, name: str) -> None:
    """Read noise, ranges, statistics and batch norms included, and steps without a frame for the second process."""
    train(name, frames, tmp_path, accumulate=2)
    assert_close(load_model(two / name / "last"), load_model(tmp_path / "last"))
    for a, b in zip(read_epochs(two / name), read_epochs(tmp_path), strict=True):
        assert (a.loss, a.mae, a.rmse, a.relative_error) == pytest.approx((b.loss, b.mae, b.rmse, b.relative_error))


@pytest.mark.parametrize("parts", [1, 3])
def test_without_noise_it_does_not_matter_how_a_batch_is_divided(two, frames, tmp_path, parts: int) -> None:
    train("clean", frames, tmp_path, accumulate=parts)
    assert_close(load_model(two / "clean" / "last"), load_model(tmp_path / "last"))


def test_two_processes_resume_to_the_same_model(two) -> None:
    """One of them was asked to stop, within an epoch."""
    assert fingerprint(load_model(two / "cut" / "last")) == fingerprint(load_model(two / "noisy" / "last"))
    assert len(read_epochs(two / "cut")) == CONFIG.epochs


def test_another_number_of_processes_goes_on(two, frames, tmp_path) -> None:
    """Without noise to the same end."""
    shutil.copytree(two / "clean", tmp_path / "more")
    train("clean", frames, tmp_path / "more", resume=True, epochs=3)
    train("clean", frames, tmp_path / "whole", epochs=3)
    assert_close(load_model(tmp_path / "more" / "last"), load_model(tmp_path / "whole" / "last"))


def test_two_processes_solve_the_same_equations(two, frames, tmp_path) -> None:
    solve(frames, tmp_path)
    (mine, ours), (settings, _) = zip(
        *(read_tensors(folder / "state.safetensors", FORMAT, VERSION) for folder in (tmp_path, two / "ridge")),
        strict=True,
    )
    torch.testing.assert_close(ours, mine, rtol=1e-6, atol=1e-9)
    assert settings["done"] == 4  # 9 training frames and 3 to validate, 4 at a time


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_a_gradient_in_parts_is_that_of_all_components(graph_of, cluster, loss: str) -> None:
    """Of frames of unlike size: no mean of means."""
    graphs = [graph_of(*cluster(n, seed)) for seed, n in enumerate((3, 7, 12))]
    generator = torch.Generator().manual_seed(0)
    graphs = [dataclasses.replace(g, labels=Labels(torch.randn(g.n_atoms, 3, generator=generator))) for g in graphs]
    gradients = []
    for parts in ([Graph.batch(graphs)], graphs):
        trainer = GradientFit(untrained("clean"), CONFIG.override(loss=loss), None)
        trainer.initialise_statistics(graphs[0])
        value = trainer.step(*parts)
        gradients.append(trainer.sums[:-2].clone())
        assert int(trainer.model.moments.norms[0].batches.max()) == 2
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)
    apart = GradientFit(untrained("clean"), CONFIG, None)
    apart.initialise_statistics(graphs[0])
    with torch.no_grad():
        errors = [CONFIG.override(loss=loss).loss_function(apart.model.eval()(g).forces, g.forces) for g in graphs]
    sizes = [3 * g.n_atoms for g in graphs]
    assert value == pytest.approx(sum(n * float(e) for n, e in zip(sizes, errors, strict=True)) / sum(sizes), rel=1e-5)


@pytest.mark.parametrize(("name", "alike"), [("clean", True), ("noisy", False)])
def test_each_part_of_a_step_is_read_with_noise_of_its_own(frames, name: str, alike: bool) -> None:
    """All else is the same for them."""
    trainer, seen = GradientFit(untrained(name), CONFIG, None), []
    trainer.initialise_statistics(frames.graph(0))
    trainer.model.register_forward_hook(lambda model, inputs, found: seen.append(found.forces.detach()))
    trainer.step(frames.graph(1), frames.graph(1))
    assert torch.equal(*seen) == alike


def test_a_batch_is_divided_evenly_and_nothing_is_lost(frames) -> None:
    for parts in (1, 2, 3, 4):
        trainer = GradientFit(untrained("clean"), CONFIG.override(accumulate=parts), None)
        for n in range(1, 5):
            sizes = [len(g.atoms_per_frame) for g in trainer._parts(frames, range(n))]
            assert sum(sizes) == n and len(sizes) == min(parts, n) and max(sizes) - min(sizes) <= 1


def test_what_cannot_be_divided_is_refused() -> None:
    with pytest.raises(InputError, match="accumulate is 3, but it must be at most 2 frames"):
        TrainingSettings(batch_size=2, accumulate=3)
    with pytest.raises(InputError, match="batch_size is 4, too few frames for 5 processes"):
        fitter_for(untrained("clean"), CONFIG, None, Processes(rank=1, count=5))


def test_a_state_of_before_there_were_parts_goes_on(frames, tmp_path) -> None:
    train("clean", frames, tmp_path / "a", epochs=1)
    file = tmp_path / "a" / "state.safetensors"
    tensors, settings = read_tensors(file, training.FORMAT, training.VERSION)
    del settings["config"]["accumulate"]
    write_tensors(file, tensors, settings)
    longer = train("clean", frames, tmp_path / "a", resume=True)
    assert fingerprint(longer.model) == fingerprint(train("clean", frames, tmp_path / "b").model)


def test_one_process_is_alone(monkeypatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert Processes.join() == ALONE
    assert (
        ALONE.share(range(5)) == range(5) and ALONE.broadcast_object({"a": [1]}) == {"a": [1]} and not ALONE.any(False)
    )
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert Processes.join() == ALONE
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match=r"do not find each other .*MASTER_ADDR"):
        Processes.join()
