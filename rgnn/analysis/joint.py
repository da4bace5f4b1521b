"""Several runs of the same, such as seeds, as one: one coefficient with an interval that counts the runs.

Runs belong together where they hold the same atoms at the same temperature in the same volume and, as far as their
folders say, under the same models, hardware, ensemble, stages, timestep and friction. All of them count, those in which
nothing was seen to move as well: to leave these out would make the mean too large. The displacement that has to pass a
hop is their mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rgnn.analysis.conductivity import Conductivity, conductivity
from rgnn.analysis.diffusion import Diffusion, Displacements, judged, longest_lag, require_lags, window
from rgnn.analysis.hops import Hop
from rgnn.analysis.run import Analysis
from rgnn.analysis.settings import AnalysisSettings
from rgnn.analysis.slopes import pooled

# Measured temperatures this near to each other, relatively, are of runs at one temperature; and volumes, of one volume.
SAME = 0.02


@dataclass(frozen=True)
class Joint:
    """Runs of the same, taken together.

    Attributes:
        names: of the runs.
        temperature: mean in K.
        elements: how each moves.
        conductivity: None where no charges are given, or something that it needs is not known.
        notes: what was left out, and why.
    """

    names: tuple[str, ...]
    temperature: float | None
    elements: tuple[Diffusion, ...]
    conductivity: Conductivity | None
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """In a table."""
        kelvin = "" if self.temperature is None else f" at {self.temperature:.0f} K"
        return f"{len(self.names)} runs{kelvin}"

    def of(self, element: int) -> Diffusion | None:
        """That of an element by its atomic number."""
        return next((d for d in self.elements if d.element == element), None)


def joined(runs: Sequence[Analysis], settings: AnalysisSettings) -> list[Joint]:
    """Each group of at least two runs of the same, in the order of their first runs.

    Args:
        runs: analysed in the same way.
        settings: how.
    """
    found = []
    for group in groups(runs):
        distinct, notes = list[Analysis](), list[str]()
        for a in group:
            twin = next((b for b in distinct if _are_one(a, b)), None)
            if twin is None:
                distinct.append(a)
            else:
                notes.append(f"{a.name} and {twin.name} are the same run, which counts once")
        if len(distinct) > 1 or notes:
            found.append(_join(distinct, settings, notes))
    return [joint for joint in found if len(joint.names) > 1 or joint.notes]


def groups(runs: Sequence[Analysis]) -> list[list[Analysis]]:
    """Runs that belong together, those that stand alone as groups of one; runs without displacements are left out."""
    found = list[list[Analysis]]()
    for a in runs:
        if a.displacements is None:
            continue
        mine = next((group for group in found if _belong(a, group[0])), None)
        if mine is None:
            found.append([a])
        else:
            mine.append(a)
    return found


def _belong(a: Analysis, b: Analysis) -> bool:
    """Whether two runs hold the same atoms under the same conditions; temperatures of seeds differ a little."""
    kelvin = [x.trajectory.target or x.kelvin for x in (a, b)]
    if None in kelvin or a.trajectory.conditions != b.trajectory.conditions or _counts(a) != _counts(b):
        return False
    return _near(*kelvin) and (a.volume is b.volume is None or _near(a.volume, b.volume))


def _near(one: float | None, other: float | None) -> bool:
    """Whether two numbers are one, as far as runs of the same differ."""
    return one is not None and other is not None and abs(one - other) <= SAME * min(one, other)


def _counts(a: Analysis) -> dict[int, int]:
    assert a.displacements is not None
    return {d.element: d.atoms for d in a.displacements.elements}


def _are_one(a: Analysis, b: Analysis) -> bool:
    """Whether two runs hold the same motion, as one that is named twice."""
    assert a.displacements is not None and b.displacements is not None
    pairs = zip(a.displacements.elements, b.displacements.elements, strict=True)
    return all(len(x.msd) == len(y.msd) and np.array_equal(x.msd, y.msd) for x, y in pairs)


def _join(runs: Sequence[Analysis], settings: AnalysisSettings, notes: list[str]) -> Joint:
    moved = [a.displacements for a in runs if a.displacements is not None]
    elements = tuple(
        one_of([d for m in moved if (d := m.of(z)) is not None], settings.fit_from) for z in _counts(runs[0])
    )
    kelvin = [a.kelvin for a in runs if a.kelvin is not None]
    temperature = float(np.mean(kelvin)) if kelvin else None
    return Joint(
        tuple(a.name for a in runs), temperature, elements, _conductivity(runs, elements, settings), tuple(notes)
    )


def one_of(found: Sequence[Diffusion], start: float | None = None) -> Diffusion:
    """What several runs of the same say of an element; `start` is the shortest lag of the line in ps, or None."""
    tracks = [d.track for d in found]
    known = [d.hop for d in found if d.hop is not None]
    hop = Hop(float(np.mean([h.length for h in known])), known[0].source) if known else None
    mean, runs = pooled(tracks), len(found)
    require_lags(len(mean.whole), mean.interval, start)
    first, last = window(mean.whole, mean.interval, start, hop, longest_lag(len(mean.whole), runs))
    return judged(found[0].element, found[0].atoms, tracks, hop, (first * mean.interval, last * mean.interval))


def _conductivity(
    runs: Sequence[Analysis], elements: tuple[Diffusion, ...], settings: AnalysisSettings
) -> Conductivity | None:
    known = [a.conductivity for a in runs if a.conductivity is not None]
    if len(known) < len(runs):
        return None
    tracks = [c.track for c in known if c.track is not None]
    lags = [c.lag for c in known if c.lag is not None]
    moved = Displacements(elements[0].track.interval, elements, "blocks")
    kelvin, volume = (float(np.mean([getattr(c, name) for c in known])) for name in ("temperature", "volume"))
    together = (tracks, max(lags)) if len(tracks) == len(runs) else ([], None)
    return conductivity(moved, settings.charge_numbers, kelvin, volume, *together)
