"""Maps as laboratories write them: labels, headings, units, decimal commas, lists, workbooks."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rgnn.base.errors import InputError
from rgnn.chip.maps import read_maps
from rgnn.chip.tables import NoTable, read_text
from rgnn.chip.units import to_siemens, units_in

MAP = np.array([[14.5, 15.25, 13.0], [12.0, 11.5, 16.75], [13.25, 14.0, 15.5], [11.0, 12.75, 13.5]])


def lines(values=MAP, separator=",", comma=False) -> list[str]:
    rows = [separator.join(f"{x:g}" for x in row) for row in values]
    return [row.replace(".", ",") for row in rows] if comma else rows


def labelled(corner: str, columns: list[str], rows: list[str], separator=",") -> list[str]:
    below = [f"{label}{separator}{row}" for label, row in zip(rows, lines(separator=separator), strict=True)]
    return [separator.join([corner, *columns]), *below]


@pytest.mark.parametrize(
    "text",
    [
        lines(),
        lines(separator="\t"),
        lines(separator="  "),
        lines(separator=";", comma=True),
        lines(separator="\t", comma=True),
        lines(separator="  ", comma=True),
        [line + "," for line in lines()],
        ["0,1,2", *lines()],  # pandas, without its index
        ["1;2;3", *lines(separator=";", comma=True)],
        labelled("", ["0", "1", "2"], ["0", "1", "2", "3"]),  # pandas, with it
        labelled("WL\\BL", ["BL0", "BL1", "BL2"], ["WL0", "WL1", "WL2", "WL3"]),
        labelled("row", ["1", "2", "3"], ["1", "2", "3", "4"], separator="\t"),
        labelled("", ["a", "b", "c"], ["1", "2", "3", "4"])[1:],  # a column of numbers that count, without a heading
        ["BL0,BL1,BL2", *labelled("", [], ["W0", "W1", "W2", "W3"])[1:]],  # a heading that has no corner
        ["% written by an instrument", "// twice", "", *lines(), ""],
        [f'"{line}"'.replace(",", '","') for line in lines()],
        ['"' + '","'.join(f"{x:g}".replace(".", ",") for x in row) + '"' for row in MAP],
        ["nan,NA,-", *lines()],
        labelled("", ["4", "5", "6"], ["5", "6", "7", "8"]),  # pandas, a part of a larger map
        labelled("", ["a", "b", "c"], ["8", "6", "4", "2"]),
        labelled("WL\\BL", ["0", "1", "2"], ["0", "2", "4", "6"]),
        ["G/uS,G2,G3", *lines()],  # a name with its unit is no corner
        labelled("row", ["c0", "c1", "c2"], ["5", "6", "7", "8"]),
        ["G bei 0.2 V;b;c", *lines(separator=";", comma=True)],
        [" ".join(f"{x:.3e}".replace(".", ",") for x in row) for row in MAP],
    ],
    ids=itertools.count(),
)
def test_the_cells_and_nothing_else_are_read(text: list[str], tmp_path) -> None:
    for name, end in (("unix", "\n"), ("windows", "\r\n")):
        (tmp_path / f"{name}.csv").write_text("\ufeff" + end.join(text) + end, encoding="utf-8", newline="")
        values = read_maps(tmp_path / f"{name}.csv").values[0]
        np.testing.assert_array_equal(values[-4:], MAP)
        assert np.isnan(values[:-4]).all() and len(values) <= 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (["14x,15,16", *lines()], r"line 1 holds '14x' beside numbers"),
        (["14x,15y,16z", *lines()], r"line 1 holds '14x' beside numbers"),
        (["W0,15,16", *lines()], r"line 1 is not all numbers \('W0'\)"),
        ([*lines(), "1,x,2"], r"line 5 is not all numbers \('x'\)"),
        ([*lines(), "12,13"], "line 5 has 2 numbers, the first one 3"),
        (["1,234.5,2", "3,4,5,6"], "line 2 has 4 numbers"),
        (["1;2,5;3.5", "1;2,5;3.5"], r"line 1 holds '2,5' beside numbers"),
        (["14,25,13,05", "12,50,11,75"], "holds '05' after a comma, which then looks like a decimal comma"),
        (["1,234\t987", "2,345\t1,001"], "has '1,234' beside '987'"),
        (["G (uS),R (kOhm)", "1,2", "3,4"], "states the units uS and kOhm"),
        (["row,column,I (A),V (V)", "0,0,1e-6,0.2", "0,1,2e-6,0.2"], "lists readings by row and column, but 0 of"),
        (["row,col,G,R", "0,0,1.5,2", "0,1,2,3"], "but 2 of its columns"),
        (["row,col,G", "0,0,1.5", "0,0.5,2"], "must be whole numbers"),
        (["row,col,cycle,G", "0,0,0,1.5", "0,0,0,2"], "lists a cell twice in one cycle"),
        (["row,col,G", "0,0,1.5", "100000,100000,2"], "does it list rows and columns"),
    ],
)
def test_what_may_be_meant_otherwise_is_refused(text: list[str], words: str, tmp_path) -> None:
    (tmp_path / "map.csv").write_text("\n".join(text))
    with pytest.raises(InputError, match=words):
        read_maps(tmp_path / "map.csv")


def test_a_text_without_numbers_is_no_table(tmp_path) -> None:
    for text in ("", "\n\n", "# only words", "a,b\nc,d\n", "measured on Monday\nby Ada"):
        (tmp_path / "notes.txt").write_text(text)
        with pytest.raises(NoTable):
            read_text(tmp_path / "notes.txt")


@pytest.mark.parametrize("heading", ["WL,BL,cycle,G_uS", "row,column,read,G (uS)", None])
def test_a_list_of_readings_is_the_map_that_it_lists(heading: str | None, tmp_path) -> None:
    """In any order; places count from anywhere; a cell that is not listed was not read."""
    rng = np.random.default_rng(0)
    reads = rng.normal(14, 2, (4, 3)) + rng.normal(0, 0.2, (2, 4, 3))
    listed = [(i + 1, j, c, reads[c, i, j]) for c in range(2) for i in range(4) for j in range(3)]
    np.random.default_rng(1).shuffle(listed)
    rows = [f"{i:.0f},{j:.0f},{c:.0f},{g!r}" for i, j, c, g in np.array(listed).tolist()]
    (tmp_path / "list.csv").write_text("\n".join(([heading] if heading else []) + rows))
    found = read_maps(tmp_path / "list.csv")
    np.testing.assert_array_equal(found.values, reads)
    assert found.unit == ("uS" if heading else None) and "became 2 reads of 4 x 3 cells" in found.notes[-1]
    if heading:
        (tmp_path / "list.csv").write_text("\n".join([heading, *rows[:-1]]))
        assert np.isnan(read_maps(tmp_path / "list.csv").values).sum() == 1


def test_repeated_readings_without_a_cycle_are_reads(tmp_path) -> None:
    rows = [f"{i},{j},{10 * i + j + c / 10}" for i in range(2) for j in range(3) for c in range(2)]
    (tmp_path / "list.csv").write_text("\n".join(["row,col,G", *rows]))
    i, j = np.arange(2)[:, None], np.arange(3)
    np.testing.assert_allclose(read_maps(tmp_path / "list.csv").values, [10 * i + j, 10 * i + j + 0.1])


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("G (uS)", "uS"), ("G [µS]", "uS"), ("G [μS]", "uS"), ("conductance_nS", "nS"),
        ("# R (kOhm), V = 0.2 V", "kOhm"),
        ("R/kΩ", "kOhm"), ("Resistance (MΩ)", "MOhm"), ("R (ohms)", "Ohm"), ("conductance in S", "S"), ("G (S)", "S"),
        ("microsiemens", "uS"), ("50 nS pulses", None), ("pulse of 50nS", None), ("S-parameters", None), ("ms", None),
        ("GΩ", "GOhm"), ("G", None), ("G (1/Ohm)", "S"), ("G [kΩ^-1]", "mS"), ("G (MΩ⁻¹)", "uS"), ("G, 1 / GOhm", "nS"),
    ],
)  # fmt: skip
def test_units_that_a_file_states(text: str, unit: str | None) -> None:
    assert units_in([text]) == ((unit,) if unit else ())


def test_a_resistance_is_an_inverse_conductance() -> None:
    found = to_siemens(np.array([50.0, 100.0, 0.0, -3.0, np.nan]), "kOhm")
    np.testing.assert_allclose(found, [20e-6, 10e-6, np.nan, np.nan, np.nan])


def test_workbooks(tmp_path) -> None:
    """With a title, a label column and an empty margin; notes on another sheet."""
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.title = "notes"
    book.active["A1"] = "measured by Ada"
    sheet = book.create_sheet("map")
    for i, row in enumerate([["", 0, 1, 2], *([i, *row] for i, row in enumerate(MAP.tolist()))]):
        for j, cell in enumerate(row):
            sheet.cell(i + 3, j + 2, cell)
    book.save(tmp_path / "chip.xlsx")
    np.testing.assert_array_equal(read_maps(tmp_path / "chip.xlsx").values[0], MAP)
    book.create_sheet("other").append([1.5, 2.5])
    book.save(tmp_path / "chip.xlsx")
    with pytest.raises(InputError, match="has the maps map, other; choose one with --name"):
        read_maps(tmp_path / "chip.xlsx")
    np.testing.assert_array_equal(read_maps(tmp_path / "chip.xlsx", "map").values[0], MAP)


numbers = st.floats(0.5, 50).map(lambda x: float(f"{x:.4f}"))
tables = st.integers(3, 6).flatmap(
    lambda n: st.lists(st.lists(numbers, min_size=n, max_size=n), min_size=2, max_size=6)
)


@settings(max_examples=60, deadline=None)
@given(tables, st.sampled_from([",", ";", "\t", " "]), st.booleans(), st.booleans())
def test_any_table_is_read_back(tmp_path_factory, table, separator, heading, labels) -> None:
    """Values as they were, whatever surrounds them."""
    rows = [[f"{x:.4f}" for x in row] for row in table]
    if labels:
        rows = [[f"W{k}", *row] for k, row in enumerate(rows)]
    if heading:
        rows = [[f"B{k}" for k in range(len(rows[0]))], *rows]
    file = tmp_path_factory.mktemp("tables") / "map.txt"
    file.write_text("\n".join(separator.join(row) for row in rows))
    np.testing.assert_array_equal(read_maps(file).values[0], np.array(table))
