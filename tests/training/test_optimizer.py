"""Against the optimizer objects of torch."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from rgnn.training.optimizer import Adam, Plateau


def parameters(seed: int) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(*shape, generator=generator)) for shape in ((3, 4), (5,), (2,))]


def loss(some: list[nn.Parameter]) -> torch.Tensor:
    return some[0].pow(4).sum() + some[1].sin().sum()  # the last one has no gradient


def clear_gradients(some: list[nn.Parameter]) -> None:
    for p in some:
        p.grad = None


def test_steps_are_those_of_torch() -> None:
    ours, theirs = parameters(0), parameters(0)
    mine, reference = Adam(ours), torch.optim.Adam(theirs)
    for rate in (0.1, 0.1, 0.03, 0.01):
        clear_gradients(ours), reference.zero_grad()
        loss(ours).backward(), loss(theirs).backward()
        reference.param_groups[0]["lr"] = rate
        mine.step(rate), reference.step()
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_state_goes_on_where_it_was() -> None:
    results = []
    for interrupted in (False, True):
        some = parameters(1)
        optimizer = Adam(some)
        for step in range(6):
            if interrupted and step == 3:
                state = {k: t.clone() for k, t in optimizer.state().items()}
                optimizer = Adam(some)
                optimizer.load(state)
            clear_gradients(some)
            loss(some).backward()
            optimizer.step(0.05)
        results.append(some)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
    with pytest.raises(KeyError):
        optimizer.load({})


def test_the_rate_falls_as_that_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    errors = (1 / torch.arange(1.0, 40.0) + 0.1 * torch.rand(39, generator=generator)).tolist()
    reference = torch.optim.Adam(parameters(0), lr=0.1)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        reference, factor=0.5, patience=2, min_lr=0.01, threshold=1e-3
    )
    mine = Plateau(0.1, 0.5, 2, 0.01)
    for error in errors:
        mine.follow(error), schedule.step(error)
        assert mine.rate == reference.param_groups[0]["lr"]
    assert mine.rate == 0.01


def test_training_does_not_import_a_compiler() -> None:
    code = (
        "import sys, torch; from rgnn.training.optimizer import Adam; p = torch.nn.Parameter(torch.ones(2)); "
        "a = Adam([p]); p.sum().backward(); a.step(0.1); print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
