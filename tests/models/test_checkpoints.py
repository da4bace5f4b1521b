import json
import struct

import pytest
import torch

from rgnn import Hardware, load_model, save_model
from rgnn.base.errors import InputError
from rgnn.base.provenance import Provenance
from rgnn.base.tensorfiles import write_tensors
from rgnn.models.checkpoints import find_model, fingerprint
from rgnn.models.settings import MessagePassingSettings


@pytest.fixture
def model(built, cluster, graph_of):
    model = built(MessagePassingSettings(n_features=4), Hardware(bits=5, noise=0.1), graph_of(*cluster(8)))
    model.provenance = Provenance(elements=(3, 8, 15), chip="synthetic, seed 0", data="x.zarr", seed=7)
    return model


@torch.no_grad()
def test_a_loaded_model_is_the_saved_one(model, cluster, graph_of, tmp_path) -> None:
    save_model(model, tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    assert (loaded.settings, loaded.hardware, loaded.provenance) == (model.settings, model.hardware, model.provenance)
    assert fingerprint(loaded) == fingerprint(model)
    g = graph_of(*cluster(8))
    assert torch.equal(loaded(g).forces, model(g).forces)
    assert not loaded.training


def test_a_new_setting_with_a_default_changes_no_fingerprint(model) -> None:
    class Later(Hardware):
        colour: str = "blue"

    before, values = fingerprint(model), model.hardware.differences()
    model.hardware = Later(**values)
    assert fingerprint(model) == before
    model.hardware = Later(**values, colour="red")
    assert fingerprint(model) != before


def test_the_fingerprint_sees_every_change(model) -> None:
    before = fingerprint(model)
    with torch.no_grad():
        model.head.second.bias += 1e-6
    assert fingerprint(model) != before


def test_a_run_folder_gives_its_best_model(model, tmp_path) -> None:
    save_model(model, tmp_path / "run/best")
    assert find_model(tmp_path / "run") == tmp_path / "run/best"
    for path, says in ((tmp_path / "nowhere", "does not exist"), (tmp_path, "holds no model")):
        with pytest.raises(InputError, match=says):
            find_model(path)


@pytest.mark.parametrize("keep", [0, 4, 100, -8])
def test_a_truncated_model_is_refused(model, tmp_path, keep: int) -> None:
    save_model(model, tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"model.safetensors: damaged or cut short"):
        load_model(tmp_path)


def rewrite_settings(file, change) -> None:
    """Change the settings in a safetensors header, without the checksum that would tell."""
    data = file.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    settings = json.loads(header["__metadata__"]["rgnn"])
    del settings["sha256"]
    change(settings)
    header["__metadata__"] = {"rgnn": json.dumps(settings)}
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.update(format="rgnn chip"), "holds rgnn chip, not a rgnn model"),
        (lambda s: s.update(version=99), "written in version 99"),
        (lambda s: s["model"].update(n_features=6), "do not fit its settings"),
        (lambda s: s["hardware"].update(bits=77), "bits is 77"),
    ],
)
def test_models_that_do_not_fit_their_settings(model, tmp_path, change, says: str) -> None:
    save_model(model, tmp_path)
    rewrite_settings(tmp_path / "model.safetensors", change)
    with pytest.raises(InputError, match=says):
        load_model(tmp_path)


def test_tensors_of_another_program(tmp_path) -> None:
    write_tensors(tmp_path / "model.safetensors", {"a": torch.ones(2)}, {})
    with pytest.raises(InputError, match="tensors of another program"):
        load_model(tmp_path)
