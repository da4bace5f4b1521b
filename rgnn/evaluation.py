"""Force errors of a model on labelled frames, for the ideal chip and for hardware settings, with intervals.

Per frame and element only sums are kept, from which every measure follows; confidence intervals come
from drawing frames anew (bootstrap) over the mean of all repeats.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from rgnn.errors import InputError
from rgnn.graphs import Graph
from rgnn.hardware import Hardware
from rgnn.model import RGNN
from rgnn.streams import numpy_stream, torch_stream

BOOTSTRAP_DRAWS = 1000
# Edges of the frames that are evaluated together, where the hardware reads every row for itself.
BATCH_EDGES = 16384


class LabelledFrames(Protocol):
    """Labelled graphs by number, with what is known of each frame."""

    def graph(self, index: int) -> Graph:
        """The labelled graph of one frame."""


@dataclass(frozen=True)
class ErrorSums:
    """Sums over force components: [..., 9] of n, |d|, d^2, |F|, F, F^2, P, P^2, F P with d = P - F.

    P is predicted, F the label, in eV/Angstrom.
    """

    sums: np.ndarray

    @classmethod
    def of(cls, predicted: np.ndarray, label: np.ndarray) -> "ErrorSums":
        """From components [n]."""
        p, f = predicted.astype(np.float64).ravel(), label.astype(np.float64).ravel()
        d = p - f
        terms = (np.ones_like(f), abs(d), d * d, abs(f), f, f * f, p, p * p, f * p)
        return cls(np.array([t.sum() for t in terms]))

    @property
    def relative_error(self) -> np.ndarray:
        """Sum |dF| / sum |F|, the published measure; NaN where all forces are zero."""
        return _ratio(self.sums[..., 1], self.sums[..., 3])

    @property
    def mae(self) -> np.ndarray:
        """Mean absolute error of a component, eV/Angstrom."""
        return _ratio(self.sums[..., 1], self.sums[..., 0])

    @property
    def rmse(self) -> np.ndarray:
        """Root mean square error of a component, eV/Angstrom."""
        return np.sqrt(_ratio(self.sums[..., 2], self.sums[..., 0]))

    @property
    def mean_force(self) -> np.ndarray:
        """Mean |F| of a component of the labels, eV/Angstrom."""
        return _ratio(self.sums[..., 3], self.sums[..., 0])

    @property
    def correlation(self) -> np.ndarray:
        """Pearson correlation of predicted and labelled components."""
        n, _, _, _, f, ff, p, pp, fp = np.moveaxis(self.sums, -1, 0)
        return _ratio(n * fp - f * p, np.sqrt((n * ff - f * f) * (n * pp - p * p)))


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A / b; NaN where b is not above zero."""
    return np.divide(a, b, out=np.full(np.shape(b), np.nan), where=np.asarray(b) > 0)


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.value:.2f}% [{100 * self.low:.2f}, {100 * self.high:.2f}]"


@dataclass(frozen=True)
class Setting:
    """The errors of one hardware setting; sums [repeats, frames, elements, 9].

    Attributes:
        hardware: the setting.
        elements: atomic numbers along the third axis.
        sums: one entry for each repeat (fresh noise), frame and element.
    """

    hardware: Hardware
    elements: tuple[int, ...]
    sums: np.ndarray

    def errors(self, element: int | None = None, frames: Sequence[int] | np.ndarray | None = None) -> ErrorSums:
        """Pooled over repeats and frames, of one element or of all."""
        sums = self.sums if frames is None else self.sums[:, frames]
        columns = slice(None) if element is None else [self.elements.index(element)]
        return ErrorSums(sums[:, :, columns].sum(axis=(0, 1, 2)))

    def relative_error(self, element: int | None = None, seed: int = 0) -> Estimate:
        """sum|dF|/sum|F| with a 95% bootstrap interval over frames."""
        columns = slice(None) if element is None else [self.elements.index(element)]
        by_frame = self.sums[:, :, columns].sum(axis=(0, 2))
        draws = numpy_stream(seed, "bootstrap").integers(len(by_frame), size=(BOOTSTRAP_DRAWS, len(by_frame)))
        spread = ErrorSums(by_frame[draws].sum(axis=1)).relative_error
        low, high = np.quantile(spread, [0.025, 0.975])
        return Estimate(float(ErrorSums(by_frame.sum(axis=0)).relative_error), float(low), float(high))

    def to_mapping(self, groups: Mapping[str, Sequence[int]] | None = None) -> dict[str, Any]:
        """All measures as plain numbers, None where one has no meaning; `groups` names frames (positions) apart."""

        def plain(value: float | np.ndarray) -> float | None:
            return None if np.isnan(value) else float(value)

        def measures(e: ErrorSums) -> dict[str, float | None]:
            return {
                "relative_error": plain(e.relative_error),
                "mae": plain(e.mae),
                "rmse": plain(e.rmse),
                "correlation": plain(e.correlation),
                "mean_force": plain(e.mean_force),
            }

        def with_interval(element: int | None) -> dict[str, Any]:
            r = self.relative_error(element)
            return {**measures(self.errors(element)), "relative_error_95": [plain(r.low), plain(r.high)]}

        return {
            "hardware": self.hardware.to_mapping(),
            "repeats": self.sums.shape[0],
            "frames": self.sums.shape[1],
            "all": with_interval(None),
            "elements": {str(z): with_interval(z) for z in self.elements},
            "groups": {name: measures(self.errors(frames=members)) for name, members in (groups or {}).items()},
        }


@torch.no_grad()
def predict(model: RGNN, g: Graph, hardware: Hardware, seed: int, *key: int) -> np.ndarray:
    """Forces [N, 3] in eV/Angstrom with a noise stream of its own for each key."""
    device = model.embedding.device
    noise = torch_stream(seed, "evaluation noise", *key)
    return model(g.to(device), hardware, noise).cpu().numpy()


def evaluate(
    model: RGNN,
    frames: LabelledFrames,
    indices: Sequence[int],
    settings: Sequence[Hardware],
    repeats: int = 1,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Setting]:
    """Errors of `model` on labelled frames for each hardware setting.

    Args:
        model: ready to predict (`load_model` or `eval()`).
        frames, indices: which frames.
        settings: hardware to evaluate; a setting without noise is computed once whatever `repeats`.
        repeats: fresh noise draws of each frame.
        seed: of the noise.
        progress: told of (done, total) forward passes.

    Raises:
        InputError: no frames, or a frame without labels.
    """
    if not len(indices):
        raise InputError("there are no frames to evaluate on; widen the selection.")
    model.eval()
    draws = [repeats if hardware.noise is not None else 1 for hardware in settings]
    elements = tuple(sorted({z for k in indices for z in frames.graph(int(k)).atomic_numbers.unique().tolist()}))
    results = [np.zeros((n, len(indices), len(elements), 9)) for n in draws]
    done, total = 0, sum(draws) * len(indices)
    for first, graphs in _batches(frames, indices):
        batch = Graph.batch(graphs)
        assert batch.forces is not None
        label, numbers = batch.forces.numpy(), batch.atomic_numbers.numpy()
        ends = np.cumsum(batch.atoms_per_frame)[:-1]
        for s, hardware in enumerate(settings):
            calls = [batch] if hardware.treats_rows_alone else graphs
            for r in range(draws[s]):
                parts = [predict(model, g, hardware, seed, int(indices[first + k]), r) for k, g in enumerate(calls)]
                predicted = np.split(np.concatenate(parts), ends)
                for f, (p, t, n) in enumerate(
                    zip(predicted, np.split(label, ends), np.split(numbers, ends), strict=True)
                ):
                    for z, element in enumerate(elements):
                        results[s][r, first + f, z] = ErrorSums.of(p[n == element], t[n == element]).sums
                done += len(graphs)
                progress(done, total)
    return [Setting(h, elements, sums) for h, sums in zip(settings, results, strict=True)]


def _batches(frames: LabelledFrames, indices: Sequence[int]) -> Iterator[tuple[int, list[Graph]]]:
    """Consecutive frames of about `BATCH_EDGES` edges together, with the position of the first."""
    first, graphs = 0, list[Graph]()
    for position, index in enumerate(indices):
        g = frames.graph(int(index))
        if g.forces is None:
            raise InputError(f"frame {index} has no forces to compare with; evaluate on labelled frames.")
        if graphs and sum(h.n_edges for h in graphs) + g.n_edges > BATCH_EDGES:
            yield first, graphs
            first, graphs = position, []
        graphs.append(g)
    yield first, graphs


def grid(base: Hardware, bits: Sequence[int | None], noise: Sequence[float]) -> list[Hardware]:
    """Every combination of bits and noise, all else as in `base`; bits None are its own."""
    return [base.varied(bits=b, noise=s) for b, s in itertools.product(bits, noise)]


def csv_rows(settings: Sequence[Setting]) -> list[str]:
    """A table of all settings and elements (0 is all together), one line each, with a heading."""
    rows = ["bits,noise,noise_sharing,element,relative_error,low_95,high_95,mae,rmse,correlation"]
    for setting in settings:
        h = setting.hardware
        for element in (None, *setting.elements):
            e, r = setting.errors(element), setting.relative_error(element)
            numbers = (r.value, r.low, r.high, float(e.mae), float(e.rmse), float(e.correlation))
            head = f"{h.bits or ''},{h.noise or 0:g},{h.noise_sharing},{element or 0}"
            rows.append(",".join([head, *(f"{number:.6g}" for number in numbers)]))
    return rows
