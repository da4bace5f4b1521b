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
    np.testing.assert_allclose(read_maps(tmp_path / f"map{suffix}").values, MAP[None])


def test_matlab_7_3_is_stored_column_by_column(tmp_path) -> None:
    """As MATLAB writes it: HDF5 behind a header of 512 bytes, every array transposed."""
    import h5py

    with h5py.File(tmp_path / "map.mat", "w", userblock_size=512) as file:
        file["g"] = MAP.T
    data = bytearray((tmp_path / "map.mat").read_bytes())
    data[:128] = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    (tmp_path / "map.mat").write_bytes(data)
    np.testing.assert_allclose(read_maps(tmp_path / "map.mat").values, MAP[None])


@pytest.mark.parametrize("separator", [",", ";", "\t", " "])
def test_text_with_words_gaps_and_comments(separator: str, tmp_path) -> None:
    header = separator.join(f"BL{k}" for k in range(3))
    gap = "" if separator.strip() or separator == "\t" else "nan"
    rows = ["# measured", header, separator.join(["1", "2", "3"]), "", separator.join(["4", gap, "6"])]
    (tmp_path / "map.txt").write_text("\ufeff" + "\n".join(rows) + "\n", encoding="utf-8")
    np.testing.assert_array_equal(read_maps(tmp_path / "map.txt").values[0], [[1, 2, 3], [4, np.nan, 6]])


def test_a_folder_is_a_stack_in_the_order_of_names(tmp_path) -> None:
    for k in (2, 0, 1):
        write(tmp_path / f"read{k}.csv", MAP + k)
    (tmp_path / "notes.md").write_text("not a map")
    np.testing.assert_allclose(read_maps(tmp_path).values, MAP + np.arange(3)[:, None, None])
    np.save(tmp_path / "stack.npy", np.stack([MAP, MAP]))
    assert read_maps(tmp_path).values.shape == (5, 6, 8)
    write(tmp_path / "wrong.csv", MAP[:3])
    with pytest.raises(InputError, match=r"wrong.csv: is a map of \(3, 8\), but read0.csv one of \(6, 8\)"):
        read_maps(tmp_path)


def test_several_maps_need_a_name(tmp_path) -> None:
    np.savez(tmp_path / "two.npz", a=MAP, b=2 * MAP)
    with pytest.raises(InputError, match="has the maps a, b; choose one with --name"):
        read_maps(tmp_path / "two.npz")
    np.testing.assert_allclose(read_maps(tmp_path / "two.npz", "b").values[0], 2 * MAP)
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
        ("a.doc", b"", "not a known kind of map"),
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


CELLS = np.random.default_rng(2).normal(14, 2, (6, 8))
READS = CELLS + np.random.default_rng(3).normal(0, 0.4, (5, 6, 8))


@pytest.mark.parametrize("axis", [0, 2])
def test_reads_count_along_the_axis_that_changes_least(axis: int, tmp_path) -> None:
    np.save(tmp_path / "reads.npy", np.moveaxis(READS, 0, axis))
    found = read_maps(tmp_path / "reads.npy")
    np.testing.assert_array_equal(found.values, READS)
    assert ("the last axis counts 5 reads" in found.notes) == (axis == 2)


def test_maps_of_different_arrays_are_not_reads_of_one(tmp_path) -> None:
    apart = np.random.default_rng(4).normal(14, 2, (5, 6, 8))
    np.save(tmp_path / "stack.npy", apart)
    with pytest.raises(InputError, match="hardly reads of one array; import one of them, or say --reads first"):
        read_maps(tmp_path / "stack.npy")
    np.testing.assert_array_equal(read_maps(tmp_path / "stack.npy", reads="first").values, apart)
    np.testing.assert_array_equal(read_maps(tmp_path / "stack.npy", reads="last").values, np.moveaxis(apart, 2, 0))
    (tmp_path / "many").mkdir()
    for k, each in enumerate(apart):
        np.save(tmp_path / f"many/{k}.npy", each)
    with pytest.raises(InputError, match="its files differ from each other by"):
        read_maps(tmp_path / "many")


def test_a_few_wild_readings_do_not_decide_what_reads_are(tmp_path) -> None:
    wild = np.moveaxis(READS, 0, 2).copy()
    wild[2, 3, 1], wild[0, 0, 0] = 9.9e37, 1e4
    np.save(tmp_path / "reads.npy", wild)
    assert read_maps(tmp_path / "reads.npy").values.shape == (5, 6, 8)


def test_both_cells_of_a_pair_in_two_arrays(tmp_path) -> None:
    plus, minus = CELLS, CELLS[::-1]
    both = np.concatenate([plus, minus], axis=1)[None]
    np.savez(tmp_path / "pair.npz", Gp=plus, Gm=minus, other=plus)
    savemat(tmp_path / "pair.mat", {"device": {"Gp": plus, "Gm": minus, "name": "A"}})
    (tmp_path / "folder").mkdir()
    np.save(tmp_path / "folder/Gp.npy", plus)
    np.savetxt(tmp_path / "folder/Gm.csv", minus, delimiter=",")
    for name in ("pair.npz", "pair.mat", "folder"):
        np.testing.assert_array_equal(read_maps(tmp_path / name, plus="Gp", minus="Gm").values, both)
    with pytest.raises(InputError, match=r"has the maps device.Gm, device.Gp; choose one .* with --plus and"):
        read_maps(tmp_path / "pair.mat")
    with pytest.raises(InputError, match="name both, with --plus and --minus"):
        read_maps(tmp_path / "pair.npz", plus="Gp")
    np.savez(tmp_path / "pair.npz", Gp=plus, Gm=minus[:, :3])
    with pytest.raises(InputError, match="G\\+ and G- must have one size"):
        read_maps(tmp_path / "pair.npz", plus="Gp", minus="Gm")


def test_notes_among_the_reads_are_left_out_and_named(tmp_path) -> None:
    for k, each in enumerate(READS):
        np.savetxt(tmp_path / f"read{k}.csv", each, delimiter=",", header="G (uS)")
    (tmp_path / "notes.txt").write_text("measured on Monday\n")
    (tmp_path / ".hidden.csv").write_text("1,2\n")
    found = read_maps(tmp_path)
    np.testing.assert_allclose(found.values, READS)
    assert found.unit == "uS" and "notes.txt holds no numbers and was left out" in found.notes
    np.savetxt(tmp_path / "read2.csv", READS[2], delimiter=",", header="G (nS)")
    with pytest.raises(InputError, match=r"read2.csv: is in nS, but read0.csv in uS"):
        read_maps(tmp_path)


def test_hdf5_states_its_unit_and_stays_in_its_file(tmp_path) -> None:
    import h5py

    with h5py.File(tmp_path / "map.h5", "w") as file:
        file["g"] = CELLS
        file["g"].attrs["units"] = "uS"
    assert read_maps(tmp_path / "map.h5").unit == "uS"
    CELLS.tofile(tmp_path / "secret.bin")
    with h5py.File(tmp_path / "out.h5", "w") as file:
        file.create_dataset("g", CELLS.shape, CELLS.dtype, external=[(str(tmp_path / "secret.bin"), 0, CELLS.nbytes)])
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout(CELLS.shape, CELLS.dtype)
        layout[:] = h5py.VirtualSource(tmp_path / "map.h5", "g", shape=CELLS.shape)
        file.create_virtual_dataset("g", layout)
    for name in ("out.h5", "virtual.h5"):
        with pytest.raises(InputError, match="lies in other files, which are not read"):
            read_maps(tmp_path / name)


def test_small_files_cannot_ask_for_much(tmp_path) -> None:
    import h5py

    with h5py.File(tmp_path / "huge.h5", "w") as file:
        file.create_dataset("g", (10**6, 10**6), "f8", chunks=True)
    with pytest.raises(InputError, match="more than the 268,435,456 of the largest map"):
        read_maps(tmp_path / "huge.h5")
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }"
    (tmp_path / "huge.npy").write_bytes(b"\x93NUMPY\x01\x00" + bytes([len(header), 0]) + header)
    with pytest.raises(InputError, match="cannot be read"):
        read_maps(tmp_path / "huge.npy")


def test_modules_of_the_current_folder_read_no_maps(tmp_path, monkeypatch) -> None:
    """MAT files are read by another process, which does not import what lies where the user is."""
    for name in ("scipy", "numpy", "rgnn"):
        (tmp_path / f"{name}.py").write_text("open('was-here', 'w')")
    monkeypatch.chdir(tmp_path)
    savemat("map.mat", {"g": MAP})
    np.testing.assert_array_equal(read_maps("map.mat").values[0], MAP)
    assert not (tmp_path / "was-here").exists()
