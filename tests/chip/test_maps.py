import gzip
import os
import pickle

import numpy as np
import pytest
from scipy.io import savemat

from rgnn.base.errors import InputError
from rgnn.chip.maps import read_maps

MAP = np.random.default_rng(0).normal(14, 2, (6, 8))


def write(path, values) -> None:
    match path.suffix:
        case ".npy":
            np.save(path, values)
        case ".npz":
            np.savez(path, g=values, note=np.array("a word"))
        case ".mat":
            savemat(path, {"g": values})
        case ".h5" | ".hdf5":
            import h5py

            with h5py.File(path, "w") as file:
                file["inner/g"] = values
        case ".csv":
            np.savetxt(path, values, delimiter=",", header="chip 3")
        case ".tsv":
            np.savetxt(path, values, delimiter="\t")
        case _:
            np.savetxt(path, values)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".txt", ".dat", ".npy", ".npz", ".mat", ".h5", ".hdf5"])
def test_every_format_gives_the_map(suffix: str, tmp_path) -> None:
    write(tmp_path / f"map{suffix}", MAP)
    np.testing.assert_allclose(read_maps(tmp_path / f"map{suffix}"), MAP[None])


def test_matlab_7_3_is_stored_column_by_column(tmp_path) -> None:
    """As MATLAB writes it: HDF5 behind a header of 512 bytes, every array transposed."""
    import h5py

    with h5py.File(tmp_path / "map.mat", "w", userblock_size=512) as file:
        file["g"] = MAP.T
    data = bytearray((tmp_path / "map.mat").read_bytes())
    data[:128] = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    (tmp_path / "map.mat").write_bytes(data)
    np.testing.assert_allclose(read_maps(tmp_path / "map.mat"), MAP[None])


@pytest.mark.parametrize("separator", [",", ";", "\t", " "])
def test_text_with_words_gaps_and_comments(separator: str, tmp_path) -> None:
    header = separator.join(f"BL{k}" for k in range(3))
    gap = "" if separator.strip() or separator == "\t" else "nan"
    rows = ["# measured", header, separator.join(["1", "2", "3"]), "", separator.join(["4", gap, "6"])]
    (tmp_path / "map.txt").write_text("\ufeff" + "\n".join(rows) + "\n", encoding="utf-8")
    np.testing.assert_array_equal(read_maps(tmp_path / "map.txt")[0], [[1, 2, 3], [4, np.nan, 6]])


def test_a_folder_is_a_stack_in_the_order_of_names(tmp_path) -> None:
    for k in (2, 0, 1):
        write(tmp_path / f"read{k}.csv", MAP + k)
    (tmp_path / "notes.md").write_text("not a map")
    np.testing.assert_allclose(read_maps(tmp_path), MAP + np.arange(3)[:, None, None])
    np.save(tmp_path / "stack.npy", np.stack([MAP, MAP]))
    assert read_maps(tmp_path).shape == (5, 6, 8)
    write(tmp_path / "wrong.csv", MAP[:3])
    with pytest.raises(InputError, match=r"wrong.csv: is a map of \(3, 8\), but read0.csv one of \(6, 8\)"):
        read_maps(tmp_path)


def test_several_maps_need_a_name(tmp_path) -> None:
    np.savez(tmp_path / "two.npz", a=MAP, b=2 * MAP)
    with pytest.raises(InputError, match="has the maps a, b; choose one with --name"):
        read_maps(tmp_path / "two.npz")
    np.testing.assert_allclose(read_maps(tmp_path / "two.npz", "b")[0], 2 * MAP)
    with pytest.raises(InputError, match="has no map 'c'"):
        read_maps(tmp_path / "two.npz", "c")


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"1,2\n3\n", "line 2 has 1 numbers"),
        ("a.csv", b"1,2\nthree,4\n", "line 2 is not all numbers"),
        ("a.npy", b"\x93NUMPY\x01\x00", "cannot be read"),
        ("a.npz", b"PK nothing", "cannot be read"),
        ("a.mat", b"\x00" * 200, "cannot be read"),
        ("a.h5", b"not HDF5", "cannot be read"),
        ("a.xlsx", b"", "not a known kind of map"),
    ],
)
def test_bad_files_are_named(name: str, content: bytes, words: str, tmp_path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words) as error:
        read_maps(tmp_path / name)
    assert name in str(error.value)


def test_nothing_is_unpickled(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("bomb.npy", np.array([[Bomb()]], dtype=object), allow_pickle=True)
    np.savez("bomb.npz", g=np.array([[Bomb()]], dtype=object))
    (tmp_path / "bomb.csv").write_bytes(pickle.dumps(Bomb()))
    (tmp_path / "bomb.txt").write_bytes(gzip.compress(pickle.dumps(Bomb())))
    for name in ("bomb.npy", "bomb.npz", "bomb.csv", "bomb.txt"):
        with pytest.raises(InputError):
            read_maps(name)
    assert not (tmp_path / "exploded").exists()


def test_no_file_no_maps_no_numbers(tmp_path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        read_maps(tmp_path / "nothing.csv")
    with pytest.raises(InputError, match="holds no maps"):
        read_maps(tmp_path)
    np.save(tmp_path / "words.npy", np.array([["a", "b"]]))
    with pytest.raises(InputError, match="expected numbers in rows and columns"):
        read_maps(tmp_path / "words.npy")
