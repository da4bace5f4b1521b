"""Files that are damaged or hostile: one sentence, no hang, nothing executed, nothing written elsewhere."""

import itertools
import json
import struct
from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

import rgnn
from rgnn.analysis.observables import radial_distribution
from rgnn.base.errors import InputError
from rgnn.base.tensorfiles import read_tensors, write_tensors
from rgnn.base.yamlfiles import read_yaml
from rgnn.chip.published import read_torch_file
from rgnn.data.conversion import convert
from rgnn.data.fetch.registry import LOCK, ChecksumLock
from rgnn.data.formats import scan
from rgnn.data.formats.graph_pickle import read_graph_pickle
from rgnn.data.formats.selection import Selection
from rgnn.data.frames import Unusable
from rgnn.data.sample import sample_frames
from rgnn.data.store.ledger import ROOT
from rgnn.data.store.writer import write_store
from rgnn.models.checkpoints import FORMAT, VERSION
from rgnn.models.message_passing.published import read_checkpoint


@pytest.fixture
def store(tmp_path) -> rgnn.GraphStore:
    return write_store(itertools.islice(sample_frames(), 3), tmp_path / "s.zarr", 3.8)


@pytest.mark.parametrize("place", [-1, -1001, 200])
def test_a_flipped_bit_in_tensors_is_found(place: int, tmp_path) -> None:
    file = tmp_path / "t.safetensors"
    write_tensors(
        file, {"b": torch.randn(40, 50), "a": torch.arange(7), "e": torch.empty(0)}, {"format": "x", "version": 1}
    )
    tensors, _ = read_tensors(file, "x", 1)
    assert tensors["a"].tolist() == list(range(7))
    data = bytearray(file.read_bytes())
    data[place] ^= 64
    file.write_bytes(data)
    with pytest.raises(InputError, match=r"does not agree with its checksum|damaged"):
        read_tensors(file, "x", 1)


def test_settings_are_under_the_checksum_and_old_files_have_none(tmp_path) -> None:
    file = tmp_path / "t.safetensors"
    write_tensors(file, {"a": torch.arange(7)}, {"format": "x", "version": 1, "scale": 3})
    assert read_tensors(file, "x", 1)[1] == {"format": "x", "version": 1, "scale": 3}
    header = json.loads(_metadata(file)["rgnn"])
    tensors = {"a": torch.arange(7)}
    save_file(tensors, file, metadata={"rgnn": json.dumps({**header, "scale": 4})})
    with pytest.raises(InputError, match="does not agree with its checksum"):
        read_tensors(file, "x", 1)
    save_file(tensors, file, metadata={"rgnn": json.dumps({"format": "x", "version": 1})})
    assert read_tensors(file, "x", 1)[0]["a"].tolist() == list(range(7))


def test_equal_tensors_make_equal_bytes(tmp_path) -> None:
    """Many times, since safetensors keeps no order among entries of its metadata."""
    for number in range(20):
        write_tensors(tmp_path / str(number), {"b": torch.arange(3), "a": torch.eye(2)}, {"format": "x", "version": 1})
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


@pytest.mark.parametrize("members", [10**9, 0, -3, "abc", None, 1.5, True])
def test_a_number_of_members_that_cannot_be(members: object, tmp_path) -> None:
    saved_model(tmp_path, lambda header: {"members": members})
    with pytest.raises(InputError, match="members; its header is damaged"):
        rgnn.load_model(tmp_path)


def test_settings_that_ask_for_more_than_the_file_holds(tmp_path) -> None:
    large = {"n_features": 1024, "reservoir_layers": 16}
    saved_model(tmp_path, lambda header: {"model": {**header["model"], **large}})
    with pytest.raises(InputError, match=r"its settings ask for .* weights on the chip"):
        rgnn.load_model(tmp_path)


def saved_model(folder: Path, change: Callable[[dict], dict]) -> None:
    """A small model whose header says something else, under a checksum that agrees."""
    settings = rgnn.MessagePassingSettings(n_features=4, reservoir_layers=1)
    cells = rgnn.Chip.synthetic().matrices(rgnn.RGNN.matrices(settings))
    rgnn.save_model(rgnn.RGNN(settings, rgnn.Hardware(), cells), folder)
    tensors, header = read_tensors(folder / "model.safetensors", FORMAT, VERSION)
    write_tensors(folder / "model.safetensors", tensors, {**header, **change(header)})


def _metadata(file: Path) -> dict[str, str]:
    data = file.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    found: dict[str, str] = json.loads(data[8 : 8 + size])["__metadata__"]
    return found


@pytest.mark.parametrize(
    "change",
    [
        {"cutoff": 5.0},
        {"cutoff": float("nan")},
        {"cutoff": "3.8"},
        {"blocks": "all"},
        {"sources": None},
        {"frames": 10**9},
        {"elements": {"3": 1}},
        {"frames": "many"},
        {"atoms": -1},
    ],
)
@pytest.mark.parametrize("version", [2, 3])
def test_an_altered_ledger_is_refused(store, change: dict, version: int) -> None:
    """By its checksum; those of version 2 have none, and are held against their blocks when these are read."""
    file = store.path / ROOT
    group = json.loads(file.read_text())
    attributes = group["attributes"]
    if version == 2:
        attributes["version"] = 2
        del attributes["sha256"]
        for block in attributes["blocks"]:
            del block["nearest_spread"]
    at = attributes if set(change) & {"cutoff", "blocks", "sources"} else attributes["blocks"][0]
    at.update(change)
    file.write_text(json.dumps(group))
    with pytest.raises(InputError, match="is damaged"):
        rgnn.GraphStore(store.path).graph(0)


def test_nan_forces_never_enter_a_store(tmp_path) -> None:
    frames = list(itertools.islice(sample_frames(), 3))
    frames[1].forces[5, 1] = np.nan
    with pytest.raises(InputError, match="force of atom 5"):
        write_store(iter(frames), tmp_path / "s.zarr", 3.8)


def test_a_pickle_that_would_fill_memory(tmp_path) -> None:
    (tmp_path / "room.pkl").write_bytes(b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\x00\x02\x85R.")
    with pytest.raises(InputError, match="room that it does not fill"):
        list(read_graph_pickle(tmp_path / "room.pkl", Selection(), 3.8))


def test_a_key_that_takes_for_ever_to_hash(tmp_path) -> None:
    """A tuple of the same tuple twice, 60 levels deep; pickle itself would take 2^60 steps."""
    level = b"".join(b"q%ch%c\x86" % (k, k) for k in range(60))
    (tmp_path / "hash.pkl").write_bytes(b"\x80\x02](})" + level + b"K\x01se.")
    with pytest.raises(InputError, match="a dictionary with a tuple as key"):
        list(read_graph_pickle(tmp_path / "hash.pkl", Selection(), 3.8))


@pytest.mark.parametrize("size", [50_000, 10**6])
def test_tensors_that_are_larger_than_their_file(size: int, tmp_path) -> None:
    torch.save([[torch.zeros(1).expand(size, size)] * 6], tmp_path / "big.pkl")
    with pytest.raises(InputError, match="cannot be read"):
        read_torch_file(tmp_path / "big.pkl")
    torch.save([torch.eye(3).to_sparse()], tmp_path / "sparse.pkl")
    with pytest.raises(InputError, match=r"cannot be read|refused"):
        read_torch_file(tmp_path / "sparse.pkl")


def test_a_checkpoint_that_is_not_finite(tmp_path) -> None:
    state = {"gnn.initial_node_embedding.weight": torch.randn(3, 4)}
    state["gnn.initial_node_embedding.weight"][1, 1] = float("nan")
    torch.save({"model": state}, tmp_path / "ck.pkl")
    with pytest.raises(InputError, match="is not finite; fetch the file again"):
        read_checkpoint(tmp_path / "ck.pkl")


@pytest.mark.parametrize("name", ["../../ESCAPED", "/etc/passwd", "a/b", "..", ".hidden"])
def test_names_in_a_lock_stay_in_the_folder(name: str, tmp_path) -> None:
    content = {"graphs": [{"name": name, "addresses": ["http://127.0.0.1/x"], "size": 10, "checksum": None}]}
    (tmp_path / LOCK).write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match="is not a lock file of this program"):
        ChecksumLock(tmp_path)


@pytest.mark.parametrize("text", ["a: " + "[" * 5000, "a: " + "9" * 5000, "a: [1", "\x00"])
def test_yaml_that_cannot_be_read(text: str, tmp_path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(InputError):
        read_yaml(tmp_path / "c.yaml")


@pytest.mark.parametrize("count", ["9" * 400, "999999", "9" * 5000])
def test_properties_with_absurd_counts(count: str, tmp_path) -> None:
    (tmp_path / "t.xyz").write_text(f"1\nProperties=species:S:1:pos:R:{count}\nH 0 0 0\n")
    (found,) = (item for _, item in scan(tmp_path / "t.xyz"))
    assert isinstance(found, Unusable) and found.reason == "unreadable"
    (tmp_path / "n.xyz").write_text(f"{count}\nProperties=species:S:1:pos:R:3\nH 0 0 0\n")
    (found,) = (item for _, item in scan(tmp_path / "n.xyz"))
    assert isinstance(found, Unusable)


def test_overwriting_through_a_link_keeps_the_link(tmp_path) -> None:
    frames = [f.to_atoms() for f in itertools.islice(sample_frames(), 2)]
    for atoms, frame in zip(frames, sample_frames(), strict=False):
        atoms.arrays["forces"] = frame.forces
    ase.io.write(tmp_path / "a.xyz", frames[:1], format="extxyz")
    ase.io.write(tmp_path / "b.xyz", frames, format="extxyz")
    convert([tmp_path / "a.xyz"], tmp_path / "real.zarr")
    (tmp_path / "link.zarr").symlink_to("real.zarr")
    for _ in range(2):
        assert len(convert([tmp_path / "b.xyz"], tmp_path / "link.zarr", overwrite=True).store) == 2
    assert (tmp_path / "link.zarr").is_symlink() and len(rgnn.GraphStore(tmp_path / "real.zarr")) == 2
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_an_ideal_gas_has_no_structure_beyond_its_cell() -> None:
    """g(r) = 1 at all distances: the images of an atom itself are not counted among the others."""
    rng = np.random.default_rng(0)
    gas = (ase.Atoms("Li30", rng.uniform(0, 5, (30, 3)), cell=[5.0] * 3, pbc=True) for _ in range(400))
    found = radial_distribution(gas, r_max=9.0, width=0.5)
    np.testing.assert_allclose(found.g[0][4:], 1.0, atol=0.02)


def test_a_store_of_version_2_is_read_and_added_to(store, tmp_path) -> None:
    """Without checksum of the ledger, times and stresses; what is added makes it one of version 3."""
    file = store.path / ROOT
    before = store.frame(1)
    group = json.loads(file.read_text())
    group["attributes"]["version"] = 2
    del group["attributes"]["sha256"]
    for block in group["attributes"]["blocks"]:
        del block["nearest_spread"], block["crc32"]["time"], block["crc32"]["stress"]
    file.write_text(json.dumps(group))
    opened = rgnn.GraphStore(store.path)
    opened.verify()
    frame = opened.frame(1)
    np.testing.assert_array_equal(frame.forces, before.forces)
    assert frame.time is None and frame.stress is None and np.isnan(opened.column("time")).all()
    more = [f.to_atoms() for f in itertools.islice(sample_frames(), 3, 5)]
    for atoms, other in zip(more, itertools.islice(sample_frames(), 3, 5), strict=True):
        atoms.arrays["forces"], atoms.info["time_fs"] = other.forces, 4.0
    ase.io.write(tmp_path / "more.xyz", more, format="extxyz")
    grown = convert([tmp_path / "more.xyz"], store.path, append=True).store
    assert len(grown) == 5 and grown.frame(4).time == 4.0 and grown.frame(0).time is None
    assert json.loads(file.read_text())["attributes"]["version"] == 3
