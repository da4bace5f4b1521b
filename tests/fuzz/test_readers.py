"""500 damaged copies of a good input for each reader give right numbers or one sentence: pytest -m long tests/fuzz."""

import io
import itertools
import re
import signal
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from graphpickles import write_graph_pickle
from scipy.io import savemat

import rgnn
from rgnn.base.errors import RGNNError
from rgnn.base.yamlfiles import read_yaml
from rgnn.chip.measurement import Measurement, to_chip
from rgnn.chip.published import read_conductances
from rgnn.data.conversion import items_of
from rgnn.data.formats.selection import Selection
from rgnn.data.frames import Frame, Unusable
from rgnn.data.sample import sample_frames
from rgnn.data.store.writer import write_store

pytestmark = pytest.mark.long

MUTANTS, SECONDS = 500, 20
# Longer sentences are dumps of a file.
LONGEST = 1000
RNG = np.random.default_rng(0)
CELL = np.diag([6.0, 6.5, 7.0])
MAP = RNG.normal(14.25, 2.46, (8, 8))


def frames(n: int = 4) -> list[Atoms]:
    made = []
    for k in range(n):
        atoms = Atoms("Li2O2P", RNG.uniform(0, 6, (5, 3)), cell=CELL, pbc=True)
        atoms.info["time_fs"] = 2.0 * k
        atoms.calc = SinglePointCalculator(atoms, forces=RNG.normal(0, 1, (5, 3)), energy=-1.0 - k)
        made.append(atoms)
    return made


def extxyz(file: Path) -> None:
    ase.io.write(file, frames(), format="extxyz")


def cp2k(file: Path) -> None:
    for kind in ("pos", "frc"):
        with file.with_name(f"run-{kind}-1.xyz").open("w") as out:
            for k in range(4):
                out.write(f"3\n i = {k}, time = {0.5 * k:.3f}, E = {-17.0 - k:.6f}\n")
                out.writelines(f"{s} {' '.join(f'{x:.6f}' for x in RNG.normal(0, 2, 3))}\n" for s in "HOH")


def lammps(file: Path) -> None:
    text = "ITEM: UNITS\nreal\n"
    for k in range(4):
        text += f"ITEM: TIMESTEP\n{k}\nITEM: NUMBER OF ATOMS\n3\nITEM: BOX BOUNDS pp pp pp\n0 6\n0 6\n0 6\n"
        text += "ITEM: ATOMS id type element x y z fx fy fz\n"
        text += "".join(f"{i + 1} 1 Li {' '.join(f'{x:.5f}' for x in RNG.uniform(0, 6, 6))}\n" for i in range(3))
    file.write_text(text)


def archive(file: Path) -> None:
    arrays = {"nuclear_charges": np.array([8, 1, 1]), "coords": RNG.normal(0, 1, (4, 3, 3))}
    np.savez(file, **arrays, forces=RNG.normal(0, 1, (4, 3, 3)), energies=np.arange(4.0), old_indices=np.arange(4))


def database(file: Path) -> None:
    with ase.db.connect(file) as rows:
        for atoms in frames(3):
            rows.write(atoms)


def csv_map(file: Path) -> None:
    np.savetxt(file, MAP, delimiter=",", header="G (uS)", fmt="%.4f")


def list_map(file: Path) -> None:
    rows = [f"{i},{j},{c},{MAP[i, j] + 0.1 * c:.4f}" for i in range(8) for j in range(8) for c in range(2)]
    file.write_text("\n".join(["WL,BL,cycle,G_uS", *rows]) + "\n")


def hdf5_map(file: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(file, "w") as out:
        out["g"] = 1e-6 * MAP


def sheet_map(file: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in MAP.tolist():
        book.active.append(row)
    book.save(file)


def published_map(file: Path) -> None:
    torch.save([[torch.randn(1, 4, 6) for _ in range(6)] for _ in range(2)], file)


def model(file: Path) -> None:
    settings = rgnn.MessagePassingSettings(n_features=4, reservoir_layers=1)
    cells = rgnn.Chip.synthetic().matrices(rgnn.RGNN.matrices(settings))
    rgnn.save_model(rgnn.RGNN(settings, rgnn.Hardware(), cells), file.parent)


def store(file: Path) -> None:
    file.parent.rmdir()
    write_store(itertools.islice(sample_frames(), 2), file.parent, 3.8)


def settings_file(file: Path) -> None:
    file.write_text("md: {steps: 100, temperature: 300.0}\nhardware: {bits: 4, noise: 0.05}\nlist: [1, 2, 3]\n")


def read_structures(file: Path) -> None:
    for _, item in items_of(file, Selection(), 3.8, lambda text: None):
        if isinstance(item, Unusable):
            assert "\n" not in str(item)
        elif isinstance(item, Frame):
            assert np.isfinite(item.forces).all() and np.isfinite(item.positions).all()


def read_map(file: Path) -> None:
    chip = to_chip(Measurement.read(file)).chip
    assert torch.isfinite(chip.weights).all()


def read_store(file: Path) -> None:
    opened = rgnn.GraphStore(file.parent)
    opened.verify()
    assert torch.isfinite(opened.graph(0).labels.forces).all()


READERS: dict[str, tuple[str, Callable[[Path], object], Callable[[Path], object]]] = {
    "extxyz": ("t.xyz", extxyz, read_structures),
    "cp2k": ("run-pos-1.xyz", cp2k, read_structures),
    "lammps": ("t.dump", lammps, read_structures),
    "npz": ("t.npz", archive, read_structures),
    "db": ("t.db", database, read_structures),
    "traj": ("t.traj", lambda file: ase.io.write(file, frames()), read_structures),
    "graphs": ("g.pkl", lambda file: write_graph_pickle(itertools.islice(sample_frames(), 2), file), read_structures),
    "csv": ("m.csv", csv_map, read_map),
    "list": ("m.txt", list_map, read_map),
    "npy": ("m.npy", lambda file: np.save(file, MAP), read_map),
    "npz map": ("m.npz", lambda file: np.savez(file, g=MAP), read_map),
    "mat": ("m.mat", lambda file: savemat(file, {"device": {"G": MAP, "name": "A"}}), read_map),
    "hdf5": ("m.h5", hdf5_map, read_map),
    "xlsx": ("m.xlsx", sheet_map, read_map),
    "published": ("c.pkl", published_map, read_conductances),
    "model": ("model.safetensors", model, lambda file: rgnn.load_model(file.parent)),
    "store": ("zarr.json", store, read_store),
    "yaml": ("c.yaml", settings_file, read_yaml),
}
NATIVE = {
    "OUTCAR": "OUTCAR_water_dimer_10_steps",
    "vasprun": "vasprun_water_dimer_10_steps.xml",
    "espresso": "quantum_espresso_md.pwo",
}


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raise TimeoutError where the block takes longer."""

    def end(*_: object) -> None:
        raise TimeoutError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def mutants(data: bytes, rng: np.random.Generator, is_text: bool) -> Iterator[tuple[str, bytes]]:
    """Damaged copies, and what was done to each."""
    words = [
        b"nan",
        b"inf",
        b"-1e300",
        b"1e999",
        b"9" * 400,
        b"-0",
        b"\xff\xfe",
        "Å µΩ".encode(),
        b"\0",
        b"[",
        b"{",
        b":" * 99,
    ]
    while True:
        kind = str(rng.choice(["cut", "flip", "swap", "drop", "double", "word", "number", "zero", "tail"]))
        a, b = sorted(int(x) for x in rng.integers(0, len(data), 2))
        match kind:
            case "cut":
                yield kind, data[:a]
            case "flip":
                changed = bytearray(data)
                for place in rng.integers(0, len(data), int(rng.integers(1, 9))):
                    changed[place] ^= 1 << int(rng.integers(8))
                yield kind, bytes(changed)
            case "swap":
                n = min(64, len(data) - b, b - a)
                yield kind, data[:a] + data[b : b + n] + data[a + n : b] + data[a : a + n] + data[b + n :]
            case "drop":
                yield kind, data[:a] + data[min(b, a + 200) :]
            case "double":
                yield kind, data[:a] + data[a : a + 200] + data[a:]
            case "word":
                yield kind, data[:a] + words[int(rng.integers(len(words)))] + data[a:]
            case "number" if is_text:
                found = list(re.finditer(rb"-?\d+\.?\d*", data))
                at = found[int(rng.integers(len(found)))]
                yield kind, data[: at.start()] + words[int(rng.integers(len(words)))] + data[at.end() :]
            case "zero":
                yield kind, data[:a] + bytes(min(50, len(data) - a)) + data[a + 50 :]
            case "tail":
                yield kind, data + data[a:b]


def survives(read: Callable[[Path], object], file: Path) -> str | None:
    """None where the reader succeeds or refuses in one sentence; otherwise what it did."""
    try:
        with limited(SECONDS):
            read(file)
    except RGNNError as error:
        said = str(error)
        return (
            None
            if "\n" not in said.strip() and len(said) < LONGEST
            else f"a sentence of {len(said)} characters: {said[:200]}"
        )
    except AssertionError as error:
        return f"wrong numbers: {error}"
    except BaseException as error:  # whatever a reader lets out
        return f"{type(error).__name__}: {str(error)[:200]}"
    return None


def attack(file: Path, read: Callable[[Path], object], seed: int) -> None:
    good = file.read_bytes()
    read(file)
    is_text = b"\0" not in good
    failed = {}
    for number, (kind, data) in enumerate(
        itertools.islice(mutants(good, np.random.default_rng(seed), is_text), MUTANTS)
    ):
        file.write_bytes(data)
        if (what := survives(read, file)) is not None:
            failed[f"{number} {kind}"] = what
    assert not failed, f"{len(failed)} of {MUTANTS}: {dict(itertools.islice(failed.items(), 10))}"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", READERS)
def test_damaged_copies(name: str, tmp_path) -> None:
    file_name, make, read = READERS[name]
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / file_name
    make(file)
    attack(file, read, sum(map(ord, name)))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NATIVE)
def test_damaged_outputs_of_programs(name: str, shared, tmp_path) -> None:
    file = tmp_path / NATIVE[name]
    file.write_bytes((shared / "data/native" / NATIVE[name]).read_bytes())
    attack(file, read_structures, sum(map(ord, name)))


@pytest.mark.parametrize("name", ["extxyz", "cp2k", "lammps", "csv", "list"])
@pytest.mark.parametrize("change", ["crlf", "bom", "spaces", "no end"])
def test_what_changes_nothing_changes_nothing(name: str, change: str, tmp_path) -> None:
    file_name, make, _ = READERS[name]
    file = tmp_path / file_name
    make(file)

    def numbers() -> list[np.ndarray]:
        if name in ("csv", "list"):
            return [Measurement.read(file).reads]
        items = [item for _, item in items_of(file, Selection(), 3.8, lambda text: None)]
        return [array for item in items if isinstance(item, Frame) for array in (item.positions, item.forces)]

    before = numbers()
    for each in tmp_path.iterdir():
        text = each.read_text()
        match change:
            case "crlf":
                each.write_bytes(text.replace("\n", "\r\n").encode())
            case "bom":
                each.write_bytes(b"\xef\xbb\xbf" + text.encode())
            case "spaces":
                each.write_text("\n".join(line + "  " for line in text.split("\n")))
            case "no end":
                each.write_text(text.rstrip("\n"))
    after = numbers()
    assert len(before) == len(after) > 0
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


def test_zips_that_swell(tmp_path) -> None:
    """A small archive of large zeros is refused by its size, before it is unpacked."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as swollen,
        swollen.open("g.npy", "w", force_zip64=True) as out,
    ):
        for _ in range(300):
            out.write(bytes(10**7))
    (tmp_path / "m.npz").write_bytes(buffer.getvalue())
    with limited(SECONDS), pytest.raises(RGNNError, match="more than the"):
        Measurement.read(tmp_path / "m.npz")
