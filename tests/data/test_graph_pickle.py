import itertools
import os
import pickle
from collections import OrderedDict
from fractions import Fraction

import numpy as np
import pytest
from graphpickles import published_graph, write_graph_pickle

from rgnn import GraphStore
from rgnn.base.errors import InputError
from rgnn.data.conversion import convert
from rgnn.data.formats.graph_pickle import is_pickle, read_graph_pickle, read_list
from rgnn.data.formats.selection import Selection
from rgnn.data.frames import Unusable
from rgnn.data.sample import sample_frames
from rgnn.data.store.writer import write_store

FRAMES = list(itertools.islice(sample_frames(), 6))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_the_graphs_are_those_of_the_frames(tmp_path, protocol: int, dtype) -> None:
    path = write_graph_pickle(FRAMES, tmp_path / "g.pkl", protocol, dtype=dtype)
    made = convert([path], tmp_path / "g.zarr").store
    ours = write_store(FRAMES, tmp_path / "f.zarr")
    assert is_pickle(path) and len(made) == 6
    made.verify()
    for index in range(6):
        a, b = made.graph(index), ours.graph(index)
        np.testing.assert_array_equal(a.atomic_numbers, b.atomic_numbers)
        np.testing.assert_array_equal(a.edge_index, b.edge_index)
        np.testing.assert_allclose(a.edge_vector, b.edge_vector, atol=1e-6)
        np.testing.assert_array_equal(a.forces, b.forces)


def test_what_pickle_itself_reads(tmp_path) -> None:
    plain = [
        {"a": [1, 2.5, -3, 10**12, None, True], "b": ("x", b"y", bytearray(b"z"), ())},
        {"c": np.arange(6, dtype=">i4").reshape(2, 3), "d": np.float64(2.5), "e": np.asfortranarray(np.eye(3))},
    ]
    for protocol in (2, 3, 4, 5):
        (tmp_path / "p.pkl").write_bytes(pickle.dumps(plain, protocol=protocol))
        first, second = read_list(tmp_path / "p.pkl")
        assert first == plain[0]
        for key, value in plain[1].items():
            np.testing.assert_array_equal(second[key], value)


def test_parts_and_a_shorter_cutoff(tmp_path) -> None:
    path = write_graph_pickle(FRAMES, tmp_path / "g.pkl")
    assert [k for k, _ in read_graph_pickle(path, Selection(first=1, every=2, last=5), 3.8)] == [1, 3]
    store = convert([path], tmp_path / "short.zarr", 3.0).store
    assert float(store.graph(0).edge_length.max()) < 3.0
    again = convert([store.path], tmp_path / "shorter.zarr", 2.5).store
    assert float(again.graph(0).edge_length.max()) < 2.5
    with pytest.raises(InputError, match="no positions"):
        convert([again.path], tmp_path / "longer.zarr", 3.0)
    with pytest.raises(InputError, match="edges but no positions"):
        store.frame(0)


class Bomb:
    def __init__(self, function) -> None:
        self.function = function

    def __reduce__(self):
        return (self.function, ("exploded", "w") if self.function is open else ("touch exploded",))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    ("thing", "named"),
    [
        (Bomb(open), "open"),
        (Bomb(os.system), "system"),
        (Fraction(1, 2), "fractions.Fraction"),
        (OrderedDict(a=1), "collections.OrderedDict"),
        (np.array([{}], dtype=object), "array of"),
        ({1, 2}, "set|EMPTY_SET"),
    ],
    ids=["open", "system", "fraction", "ordered", "objects", "set"],
)
def test_anything_else_is_refused_by_name(tmp_path, monkeypatch, protocol, thing, named) -> None:
    monkeypatch.chdir(tmp_path)
    graph = published_graph(FRAMES[0], 0) | {"extra": thing}
    (tmp_path / "g.pkl").write_bytes(pickle.dumps([graph], protocol=protocol))
    with pytest.raises(InputError, match=rf"g\.pkl: refused without running it.*({named})"):
        convert(["g.pkl"], "g.zarr")
    assert [p.name for p in tmp_path.iterdir()] == ["g.pkl"]


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_a_pickle_that_was_cut_short(tmp_path, keep: float) -> None:
    path = write_graph_pickle(FRAMES, tmp_path / "g.pkl")
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(InputError, match="cut short"):
        convert([path], tmp_path / "g.zarr")
    assert not (tmp_path / "g.zarr").exists()


@pytest.mark.parametrize("content", [[], {}, 3, [1, 2], [{"forces": 1}]])
def test_other_pickles_of_plain_data(tmp_path, content) -> None:
    (tmp_path / "g.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=r"no list of graphs|not a pickle of published graphs"):
        convert([tmp_path / "g.pkl"], tmp_path / "g.zarr")


def test_impossible_graphs_are_left_out(tmp_path) -> None:
    graphs = [published_graph(frame, k) for k, frame in enumerate(FRAMES)]
    graphs[1]["forces"][3, 1] = np.nan
    graphs[2]["_neighbors"][0, 0] = 5000
    graphs[3]["_neighbors"][:] = -1
    (tmp_path / "g.pkl").write_bytes(pickle.dumps(graphs))
    outcome = convert([tmp_path / "g.pkl"], tmp_path / "g.zarr")
    assert outcome.sources[0].skipped == {"forces not finite": 1, "impossible geometry": 1, "no neighbours": 1}
    assert len(GraphStore(tmp_path / "g.zarr")) == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [("_distances", 0.0), ("_distances", -1.5), ("_unit_vecs", [0.5, 0.5, 0.5]), ("_unit_vecs", [0, 0, 0])],
)
def test_edges_that_cannot_be_are_left_out(name: str, value, tmp_path) -> None:
    graphs = [published_graph(frame, index) for index, frame in enumerate(FRAMES[:2])]
    graphs[0][name][3, 0] = value
    (tmp_path / "g.pkl").write_bytes(pickle.dumps(graphs))
    (_, first), (_, second) = read_graph_pickle(tmp_path / "g.pkl", Selection(), 3.8)
    assert isinstance(first, Unusable) and first.reason == "impossible geometry"
    assert not isinstance(second, Unusable)
