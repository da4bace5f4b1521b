"""Tables of structure: each pair of elements, whether or not it has neighbours."""

from collections.abc import Sequence

import numpy as np

from rgnn.analysis import Analysis, coordination, pair_name
from rgnn.analysis.observables import RadialDistribution
from rgnn.reports.html import Table


def shell_table(runs: Sequence[Analysis], reference: Analysis | None) -> Table | None:
    """Closest distance, first peak and coordination of every pair of elements.

    Of one run a line for each pair. Of several runs the coordination of each within the same distance, since the number
    follows the distance.
    """
    known = reference if reference is not None else runs[0]
    if known.radial is None:
        return None
    shown = [*([] if reference is None else [reference]), *(a for a in runs if a.parts)]
    return _one(known) if len(shown) == 1 else _several(known, shown)


def _one(a: Analysis) -> Table:
    assert a.radial is not None
    shells, rows = {s.name: s for s in a.shells}, []
    for pair in a.radial.pairs:
        name = pair_name(pair)
        peak = a.radial.first_peak(pair)
        ends = [shells.get(n) for n in dict.fromkeys([name, "-".join(reversed(name.split("-")))])]
        within = "no minimum" if ends[0] is None else f"{ends[0].distance:.2f}"
        counted = [f"{s.name} {_number(s.number.value, s.number.high)}" for s in ends if s is not None]
        shown = f"{peak:.2f}" if np.isfinite(peak) else "none"
        rows.append([name, closest(a.radial, pair), shown, within, ", ".join(counted)])
    columns = ["pair", "closest, Å", "peak, Å", "within, Å", "coordination"]
    title = (
        f"g(r) of each pair, up to {a.radial.r[-1] + a.radial.width / 2:.3g} Å. Coordination (A-B: of B around A) "
        "within the first minimum (± half of the 95% interval)"
    )
    return Table(title, columns, rows)


def closest(radial: RadialDistribution, pair: tuple[int, int]) -> str:
    """Smallest distance that was seen, Angstrom; "none" where the pair does not come within reach."""
    seen = np.flatnonzero(radial.of(pair))
    return f"{radial.r[seen[0]]:.2f}" if len(seen) else "none"


def _several(known: Analysis, shown: Sequence[Analysis]) -> Table:
    assert known.radial is not None
    shells, rows = {s.name: s for s in known.shells}, []
    for pair in known.radial.pairs:
        for centre, neighbour in dict.fromkeys([pair, pair[::-1]]):
            name = pair_name((centre, neighbour))
            if (s := shells.get(name)) is None:
                rows.append([name, "no minimum", *("" for _ in shown)])
                continue
            found = [coordination(a.parts, centre, neighbour, s.distance) for a in shown]
            rows.append([name, f"{s.distance:.2f} Å", *(_number(e.value, e.high) for e in found)])
    title = (
        f"Coordination (A-B: of B around A) within the first minimum of g(r) of {known.name} (± half of the 95% "
        "interval)"
    )
    return Table(title, ["", "within", *(a.name for a in shown)], rows)


def _number(value: float, high: float) -> str:
    return f"{value:.2f}" + (f" ± {high - value:.2f}" if high < float("inf") else "")
