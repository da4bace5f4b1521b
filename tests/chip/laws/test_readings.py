"""Tables of readings as instruments write them, and what is refused."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from rgnn.base.errors import InputError
from rgnn.chip.laws.readings import Readings, Series, read


def relaxing(rng: np.random.Generator, cells: int = 120) -> np.ndarray:
    """[lines, (cell, s, siemens)] of cells at 0, 10 and 1000.5 s."""
    g = rng.uniform(5e-6, 5e-5, cells)
    lines = [
        [k, t + (0.01 * k if t else 0), g[k] * (1 + 0.01 * t / 1000)] for t in (0.0, 10.0, 1000.5) for k in range(cells)
    ]
    return np.array(lines)


@pytest.mark.parametrize(
    ("heading", "time", "value"),
    [
        ("device,time (s),G (uS)", 1.0, lambda g: g * 1e6),
        ("address,t_ms,R_kOhm", 1e3, lambda g: 1e-3 / g),
        ("cell,elapsed [min],conductance_S", 1 / 60, lambda g: g),
        ("idx,Time/h,Resistance/Ohm", 1 / 3600, lambda g: 1 / g),
        ("DUT,delay [us],Conductance [nS]", 1e6, lambda g: g * 1e9),
    ],
)
@pytest.mark.parametrize("separator", [",", ";", "\t", " "])
def test_headings_say_what_columns_are(tmp_path: Path, heading: str, time: float, value, separator: str) -> None:  # type: ignore[no-untyped-def]
    table = relaxing(np.random.default_rng(0))
    if separator == " ":
        heading = heading.replace(" ", "")
    lines = [heading.replace(",", separator)]
    lines += [separator.join((f"{int(k)}", f"{t * time:.10g}", f"{value(g):.10g}")) for k, t, g in table]
    path = tmp_path / "table.txt.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    found = read(path)
    assert isinstance(found, Readings)
    assert found.conductance == pytest.approx(table[:, 2])
    assert found.time == pytest.approx(table[:, 1])
    assert found.initial == pytest.approx(np.tile(table[:120, 2], 3))


def test_decimal_commas_and_kelvin(tmp_path: Path) -> None:
    table = relaxing(np.random.default_rng(0))
    lines = ["cell;t [s];G [uS];T [K]"]
    lines += [f"{int(k)};{t};{1e6 * g:.8f};{373.15 if k % 2 else 423.15}".replace(".", ",") for k, t, g in table]
    (tmp_path / "bake.csv").write_text("\n".join(lines))
    found = read(tmp_path / "bake.csv")
    assert isinstance(found, Readings)
    assert found.temperature is not None
    assert set(found.temperature.round(6)) == {100.0, 150.0}
    assert found.conductance == pytest.approx(table[:, 2])


def test_columns_without_headings_are_known_by_their_numbers(tmp_path: Path) -> None:
    table = relaxing(np.random.default_rng(1))
    first = np.tile(table[:120, 2], 3)
    whole = np.column_stack([table[:, 0] + 4096, table[:, 1], 1 / table[:, 2], table[:, 2], first])
    np.savetxt(tmp_path / "plain.tsv", whole, delimiter="\t")
    found = read(tmp_path / "plain.tsv")
    assert isinstance(found, Readings)
    assert "cell, time [s], resistance, conductance, initial" in found.notes[0]
    assert found.initial == pytest.approx(first)
    assert len(np.unique(found.cell)) == 120


def test_columns_are_as_given(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "t.csv", np.column_stack([np.arange(40), np.full(40, 20.0), np.full(40, 7)]), delimiter=",")
    found = read(tmp_path / "t.csv", "cell,G[uS],-")
    assert isinstance(found, Readings)
    assert found.conductance == pytest.approx(2e-5)
    with pytest.raises(InputError, match=r"has 3 columns, but --columns names 2"):
        read(tmp_path / "t.csv", "cell,G[uS]")
    with pytest.raises(InputError, match=r"a column is one of cell, row"):
        read(tmp_path / "t.csv", "cell,voltage[V],-")
    with pytest.raises(InputError, match="no two of them are ohms and siemens"):
        read(tmp_path / "t.csv")


def test_series_are_read_in_lines_in_columns_and_with_a_clock(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = np.array([[1e-5], [3e-5]]) * (1 + 0.01 * rng.standard_normal((2, 500)))
    np.savetxt(tmp_path / "lines.tsv", np.column_stack([[0, 8], [0, 0], x]), delimiter="\t")
    np.save(tmp_path / "columns.npy", 1e6 * x.T)
    clock = np.column_stack([np.arange(500) / 250, 1e6 * x.T])
    np.savetxt(tmp_path / "clock.csv", clock, delimiter=",", header="time_s,A (uS),B (uS)", comments="")
    listed = [f"{k},{t / 250},{x[k, t]}" for t in range(500) for k in range(2)]
    (tmp_path / "listed.csv").write_text("\n".join(["cell,time,G", *listed]))
    for name, rate in (("lines.tsv", None), ("columns.npy", None), ("clock.csv", 250.0), ("listed.csv", 250.0)):
        found = read(tmp_path / name)
        assert isinstance(found, Series), name
        assert found.conductance == pytest.approx(x)
        assert found.rate == (None if rate is None else pytest.approx(rate))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no readings"),
        ("cell,G [uS]\n", "holds nothing below its headings"),
        ("cell,G [uS]\n1,2\n2,x\n", "reading 2 holds 'x'"),
        ("cell,G [uS]\n1,2\n2\n", "reading 2 has 1 fields and not 2"),
        ("cell,G [V]\n1,2\n2,3\n", "'V' is no unit of a conductance"),
        ("cell,G\n1,0.002\n2,0.003\n", "which no unit is certain for"),
        ("cell,t [lightyears],G [uS]\n1,2,3\n2,3,4\n", "no unit of time"),
        ("cell,T,G [uS]\n1,300,3\n2,350,4\n", "may be Celsius or kelvin"),
        ("cell,time\n1,2\n2,3\n", "no column is a conductance"),
        ("cell,R [kOhm],target\n1,50,20000\n2,60,1000\n", "no unit is certain for"),
        (
            "cell,G [nS],target [uS]\n1,300,310\n2,400,390\n",
            "the median target is 1e.03 times that of the conductances",
        ),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        read(tmp_path / "bad.csv")


def test_a_unit_that_is_taken_by_size_is_said_and_is_that_of_all_cells(tmp_path: Path) -> None:
    """A cell of 0.5 nS in a table in microsiemens used to be taken for one of 500 uS, its number being one of S."""
    x = np.array([20.0, 5e-4]) * (1 + 0.01 * np.random.default_rng(0).standard_normal((200, 2)))
    lines = [f"{t / 100},{row[0]},{row[1]}" for t, row in enumerate(x)]
    (tmp_path / "a.csv").write_text("\n".join(["time_s,A,B", *lines]))
    found = read(tmp_path / "a.csv")
    assert isinstance(found, Series) and found.conductance == pytest.approx(1e-6 * x.T)
    assert any("has no unit and is taken in uS, by its median of" in note for note in found.notes)


def test_targets_without_a_unit_have_that_of_the_conductances(tmp_path: Path) -> None:
    """A target of 300 beside conductances in nS used to be one of 300 uS."""
    (tmp_path / "a.csv").write_text("cell,G [nS],target,G0\n1,310,300,305\n2,390,400,395\n")
    found = read(tmp_path / "a.csv")
    assert isinstance(found, Readings) and found.target == pytest.approx([3e-7, 4e-7])
    assert found.initial == pytest.approx([3.05e-7, 3.95e-7])


@pytest.mark.parametrize("listed", [False, True])
def test_a_rate_that_contradicts_the_clock_is_refused(listed: bool, tmp_path: Path) -> None:
    """A time in ms under a heading without a unit."""
    rows = [f"{2.5 * t},{20 + t % 3}" for t in range(100)]
    text = ["cell,time,G [uS]", *(f"1,{r}" for r in rows)] if listed else ["time,G [uS]", *rows]
    (tmp_path / "a.csv").write_text("\n".join(text))
    with pytest.raises(InputError, match=r"its clock has 0\.4 reads per second, but --rate is 400"):
        read(tmp_path / "a.csv", rate=400.0)
    assert read(tmp_path / "a.csv", rate=0.4).rate == pytest.approx(0.4)  # type: ignore[union-attr]


def test_broken_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "half.csv.gz").write_bytes(gzip.compress(b"cell,G\n" * 1000)[:40])
    (tmp_path / "other.npy").write_bytes(b"nothing")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    for name in ("half.csv.gz", "other.npy", "objects.npy", "none.csv"):
        with pytest.raises(InputError, match=name):
            read(tmp_path / name)


def test_instruments_that_overflow_leave_gaps(tmp_path: Path) -> None:
    lines = ["cell,t,G [uS]", *(f"{k},{t},{9.9e37 if k == 3 else 10 + k}" for t in (0, 10) for k in range(40))]
    (tmp_path / "o.csv").write_text("\n".join(lines))
    found = read(tmp_path / "o.csv")
    assert isinstance(found, Readings)
    assert len(found.conductance) == 78
    assert "2 readings without a number are left out" in found.notes


def test_whole_times_and_temperatures_without_headings(tmp_path: Path) -> None:
    """Numbers that count are cells or levels; temperatures that may be kelvin are refused."""
    rng = np.random.default_rng(2)
    g = rng.uniform(5e-6, 5e-5, 300)
    lines = [
        [k, k % 8, t, 1 / g[k], g[k], celsius]
        for celsius in (85.0, 125.5, 150.0)
        for t in (0, 10, 1000)
        for k in range(300)
    ]
    np.savetxt(tmp_path / "bake.csv", lines, delimiter=",")
    found = read(tmp_path / "bake.csv")
    assert isinstance(found, Readings)
    assert "cell, level, time [s], resistance, conductance, temperature" in found.notes[0]
    assert found.time is not None and set(found.time) == {0, 10, 1000}
    assert found.temperature is not None and set(found.temperature) == {85.0, 125.5, 150.0}
    hot = np.array(lines)
    hot[:, 5] += 273.15
    np.savetxt(tmp_path / "kelvin.csv", hot, delimiter=",")
    with pytest.raises(InputError, match="may be Celsius or kelvin"):
        read(tmp_path / "kelvin.csv")
    np.savetxt(tmp_path / "milli.csv", np.array(lines) * [1, 1, 1, 1e-3, 1e3, 1], delimiter=",")
    with pytest.raises(InputError, match="no unit is certain for"):
        read(tmp_path / "milli.csv")
