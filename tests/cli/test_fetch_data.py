import hashlib
import itertools
import json
from pathlib import Path

import pytest
import yaml
from graphpickles import write_graph_pickle
from servers import serving

from rgnn import GraphStore
from rgnn.data.fetch import registry
from rgnn.data.sample import sample_frames


@pytest.fixture
def archive(monkeypatch, tmp_path_factory):
    """What the archives and the repository of the published set look like from outside."""
    graphs = write_graph_pickle(itertools.islice(sample_frames(), 4), tmp_path_factory.mktemp("archive") / "g.pkl")
    with serving() as server:
        server.files = {"graphs": graphs.read_bytes(), "again": graphs.read_bytes(), "chip": b"chip" * 1000}
        md5 = hashlib.md5(server.files["graphs"]).hexdigest()
        stated = {"name": "../graph_atomic_force.pkl", "size": len(server.files["graphs"]), "computed_md5": md5}
        listed = {"files": [stated | {"download_url": server.address("graphs")}]}
        server.files["articles/25330930"] = json.dumps(listed).encode()
        stated = {"key": "graph_atomic_force.pkl", "size": stated["size"], "checksum": f"md5:{md5}"}
        listed = {"files": [stated | {"links": {"self": server.address("again")}}]}
        server.files["records/10774321"] = json.dumps(listed).encode()
        monkeypatch.setattr(registry, "FIGSHARE", server.address("articles/{}"))
        monkeypatch.setattr(registry, "ZENODO", server.address("records/{}"))
        chip = registry.RemoteFile(
            "Conductance.pkl",
            (server.address("chip"),),
            4000,
            f"sha256:{hashlib.sha256(server.files['chip']).hexdigest()}",
        )
        for name in ("conductance", "checkpoint"):
            dataset = registry.Dataset(name, "a file", "MIT", "a paper", files=(chip,))
            monkeypatch.setitem(registry.DATASETS, name, dataset)
        yield server


def test_the_sample_needs_no_network_and_is_made_once(cli) -> None:
    assert "Made: data/sample.zarr" in cli("fetch-data", "sample")
    store = GraphStore("data/sample.zarr")
    store.verify()
    assert store.elements == (3, 8, 15)
    assert "Already there" in cli("fetch-data", "sample")
    listed = cli("fetch-data", "--list")
    assert "CHGNet" in listed and "10.1038/s43588-025-00844-3" in listed and "licence: MIT" in listed


def test_the_published_set_is_downloaded_verified_and_converted(cli, archive) -> None:
    out = cli("fetch-data")
    assert "Verified: data/published/graph_atomic_force.pkl" in out and "Graph store data/lipo.zarr" in out
    assert Path("data/published/Conductance.pkl").read_bytes() == archive.files["chip"]
    assert not Path("data/graph_atomic_force.pkl").exists()  # a name in an archive does not choose the folder
    assert len(GraphStore("data/lipo.zarr")) == 4
    asked = len(archive.requests)
    cli("fetch-data")
    assert len(archive.requests) == asked  # nothing is asked or fetched twice
    cli("train", "--epochs", 1, "--quiet")


def test_the_record_is_pinned(cli, refused, archive) -> None:
    archive.faults["graphs"] = archive.faults["again"] = ["404"] * 9
    assert "could not be fetched" in refused(3, "fetch-data", "graphs")
    [pinned] = yaml.safe_load(Path("data/published/lock.yaml").read_text())["graphs"]
    assert pinned["size"] == len(archive.files["graphs"]) and pinned["checksum"].startswith("md5:")
    assert pinned["addresses"] == [archive.address("graphs"), archive.address("again")]
    archive.faults.clear()
    good, archive.files["graphs"] = archive.files["graphs"], archive.files["graphs"][::-1]
    archive.files["articles/25330930"] = b"{}"
    cli("fetch-data", "graphs", "--quiet")  # from the second archive, by the checksum of the first time
    assert Path("data/published/graph_atomic_force.pkl").read_bytes() == good


def test_one_archive_is_enough(cli, archive) -> None:
    del archive.files["articles/25330930"]
    cli("fetch-data", "graphs", "--quiet")
    assert len(GraphStore("data/lipo.zarr")) == 4


def test_a_file_that_is_not_what_the_archive_says_is_not_kept(refused, archive) -> None:
    archive.faults["chip"] = ["corrupt"] * 9
    assert "Conductance.pkl" in refused(3, "fetch-data", "conductance", "--quiet")
    assert list(Path("data/published").iterdir()) == []


def test_a_file_fetched_elsewhere(cli, refused, archive) -> None:
    Path("graphs.pkl").write_bytes(archive.files["graphs"])
    cli("fetch-data", "graphs", "--from-file", "graphs.pkl")
    assert len(GraphStore("data/lipo.zarr")) == 4
    Path("graphs.pkl").write_bytes(archive.files["graphs"][:-1])
    assert "bytes, not" in refused(2, "fetch-data", "graphs", "--from-file", "graphs.pkl")
    assert "one NAME" in refused(2, "fetch-data", "--from-file", "graphs.pkl")


def test_offline(cli, refused, monkeypatch, archive) -> None:
    for name in ("FIGSHARE", "ZENODO"):
        monkeypatch.setattr(registry, name, "http://127.0.0.1:9/{}")
    said = refused(3, "fetch-data")
    assert "does not answer" in said and "rgnn fetch-data sample" in said and "--from-file" in said
    Path("graphs.pkl").write_bytes(archive.files["graphs"])
    assert "not verified" in cli("fetch-data", "graphs", "--from-file", "graphs.pkl")
    assert len(GraphStore("data/lipo.zarr")) == 4


def test_names_that_are_not_known(refused, workdir) -> None:
    assert "take one of sample, published" in refused(2, "fetch-data", "samples")


def test_the_sample_leaves_a_structure_to_begin_with(cli, workdir) -> None:
    """So that the tour of the README works as typed; one of the user's is left alone."""
    said = cli("fetch-data", "sample")
    assert "structure.xyz, its coldest frame" in said
    first = Path("structure.xyz").read_bytes()
    assert first.count(b"\n") == 194
    Path("structure.xyz").write_text("mine")
    cli("fetch-data", "sample")
    assert Path("structure.xyz").read_text() == "mine"


def test_the_sample_takes_no_file(refused, workdir) -> None:
    Path("mine.xyz").touch()
    assert "leave --from-file out" in refused(2, "fetch-data", "sample", "--from-file", "mine.xyz")
