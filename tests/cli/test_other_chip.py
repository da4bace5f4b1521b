"""rgnn eval --chip: a model of one chip on another."""

import json

import pytest
import torch

from rgnn import Chip, load_model
from rgnn.base.errors import InputError
from rgnn.evaluation.other_chip import deployed


def test_the_same_cells_give_the_same_model_and_others_do_not(quick_model) -> None:
    n = quick_model.n_fixed
    own = Chip(torch.cat([c.weight.flatten() for c in quick_model.crossbars]), "its own")
    other = Chip.synthetic(5, 2 * n)
    same, moved = deployed(quick_model, own), deployed(quick_model, other)
    for before, after, strange in zip(quick_model.crossbars, same.crossbars, moved.crossbars, strict=True):
        assert torch.equal(before.weight, after.weight)
        assert not torch.equal(before.weight, strange.weight)
        assert strange.pair is not None and after.pair is None
    assert torch.equal(torch.cat([c.weight.flatten() for c in moved.crossbars]), other.weights)
    assert moved.provenance.chip == other.source
    with pytest.raises(InputError, match="too small"):
        deployed(quick_model, Chip.synthetic(5, n))
    assert deployed(quick_model, Chip.synthetic(5, n), reuse=True).provenance.cells_are_reused


def test_another_chip_needs_a_fit(cli, refused, run) -> None:
    cli("train", "--preset", "ridge", "--out", "r")
    Chip.synthetic(9).save("other")
    run = "r"
    plain = json.loads(cli("eval", run, "--chip", "other", "--frames", 2, "--repeats", 1, "--out", "a", "--json"))
    assert [s["stage"] for s in plain["stages"]] == ["on its own chip", "on the other chip"]
    assert plain["refitted"] is None
    fitted = json.loads(
        cli("eval", run, "--chip", "other", "--frames", 2, "--repeats", 1, "--refit", 20, "--out", "b", "--json")
    )
    errors = [s["relative_error"]["value"] for s in fitted["stages"]]
    assert errors[2] < errors[1]
    assert load_model(fitted["refitted"]).provenance.chip == Chip.synthetic(9, 2).source
    assert "--refit" in refused(2, "eval", run, "--refit", 5)
