"""Modules that were saved whole are read without their classes."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rgnn.base.errors import InputError
from rgnn.models.message_passing.published import read_checkpoint
from rgnn.models.message_passing.saved_module import is_saved_module, read_saved_module

MAKER = """
import sys, types, torch
from torch import nn
theirs = types.ModuleType("theirs")
exec('''
import os
from torch import nn
class Trap:
    def __reduce__(self):
        return os.mkdir, ("was-here",)
class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2)
        self.register_buffer("offset", torch.arange(4.0))
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.gnn = nn.ModuleList([Inner(), Inner()])
        self.trap = Trap()
        self.note = {"a": {1, 2}}
''', theirs.__dict__ | {"__name__": "theirs", "torch": torch}, theirs.__dict__)
for kind in (theirs.Trap, theirs.Inner, theirs.Net):
    kind.__module__ = "theirs"
for name in ("os", "nn"):
    theirs.__dict__[name] = __import__("os") if name == "os" else nn
for kind in (theirs.Trap, theirs.Inner, theirs.Net):
    for f in vars(kind).values():
        getattr(f, "__globals__", {}).update(theirs.__dict__, torch=torch)
sys.modules["theirs"] = theirs
torch.manual_seed(0)
net = theirs.Net()
torch.save(nn.DataParallel(net) if len(sys.argv) > 1 else net, "best_model")
torch.save(dict(net.state_dict()), "state.pt")
"""


@pytest.mark.parametrize("wrapped", [[], ["wrapped"]])
def test_tensors_without_classes(wrapped: list[str], tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    subprocess.run([sys.executable, "-c", MAKER, *wrapped], check=True)
    assert is_saved_module("best_model") and not is_saved_module("state.pt")
    found, expected = read_saved_module("best_model"), torch.load("state.pt", weights_only=True)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name
    assert not Path("was-here").exists()
    with pytest.raises(InputError, match="holds no model of the published program"):
        read_checkpoint("best_model")


def test_damaged_files(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    subprocess.run([sys.executable, "-c", MAKER], check=True)
    whole = Path("best_model").read_bytes()
    for keep in range(0, len(whole) - 1, len(whole) // 20):
        Path("cut").write_bytes(whole[:keep])
        with pytest.raises(InputError, match="cut: "):
            read_saved_module("cut")
    torch.save([1, 2], "plain.pt")
    with pytest.raises(InputError, match="holds no module"):
        read_saved_module("plain.pt")
