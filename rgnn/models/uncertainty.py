"""How far a predicted force may be off: a standard deviation for each atom, found on validation frames to be one.

There are three sources of a raw deviation r of an atom's force, the first two a root mean square over x, y and z:

- "posterior" of a ridge readout: with features P_i and sums A as in `training.linear`, Bayesian regression has the
  weights of an element distributed with covariance s^2 (A + penalty)^-1, s^2 the variance of a residual, and so a force
  with s^2 (1 + r_i^2), r_i^2 = tr P_i (A + penalty)^-1 P_i^T / 3 (MacKay 1992, 10.1162/neco.1992.4.3.415; Bishop 2006,
  section 3.3). The trace is taken over `DRAWS` weights drawn once: within 5% of r, for a fraction of its cost.
- "committee": r_i is the deviation between its members, each with separate noise, in eV/Angstrom.
- "distance", of any model: r_i is how far the atom's surroundings lie from those of the training atoms of its element,
  in what the model knows of them (`rgnn.models.feature_space`). That is no deviation of a force; on validation frames
  sigma_i = scale r_i^power, the power of each element found with its scale by likelihood.

None knows of what no weights could fit, which is most of the error of a ridge readout. The first two are calibrated
for each element by one factor, under which the errors on validation frames are most likely, as is known for features of
networks (Bigi et al. 2024, arXiv 2403.02251); the textbook's 1 + r^2 is nearly a constant. r^2 is a variance over few
samples, of n degrees of freedom: 3 a draw, 3 for each member but one. As usual it is moderated by `PRIOR` more of its
mean m^2 (Smyth 2004, 10.2202/1544-6115.1027): sigma_i^2 = scale^2 (r_i^2 + m^2 PRIOR / n) = floor^2 + scale^2 r_i^2.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from rgnn.base.choices import UncertaintyMethod
from rgnn.base.errors import InputError
from rgnn.base.rng import torch_stream
from rgnn.base.settings import Number, Settings, Whole
from rgnn.base.tensorfiles import read_tensors, write_tensors
from rgnn.graphs.graph import Graph, LabelledFrames
from rgnn.models.base import ForceField, Prediction
from rgnn.models.checkpoints import find_model, fingerprint
from rgnn.models.committee import Committee, mean_prediction
from rgnn.models.feature_space import FeatureSpace
from rgnn.models.reading import ChipReading

FORMAT, VERSION, FILE = "rgnn uncertainty", 1, "uncertainty.safetensors"


# Weights drawn from a posterior: a deviation over K of them is within 1 / sqrt(6 K) of that over all, here 5%.
DRAWS = 64
# An atom is outside of what was trained on where its raw deviation is this many times the largest of validation frames,
# which hold far fewer atoms than a run of molecular dynamics.
MARGIN = 2.0
# The same for distances, which differ far less between atoms than deviations do.
DISTANCE_MARGIN = 1.25
# Powers of a distance. Errors of a linear model grow in proportion to it; validation atoms that differ little in their
# distances could make less of it, and hide what is unlike them.
POWERS = (1.0, 4.0)
# Degrees of freedom of the mean size.
PRIOR = 3


class Scale(Settings):
    """From raw deviations to standard deviations, for one element: sigma^2 = floor^2 + (scale raw^power)^2."""

    element: Whole = 0
    """Atomic number."""
    floor: Number = 0.0
    """Smallest standard deviation, eV/Å."""
    scale: Number = 1.0
    """Factor of the raw deviation; without unit for a committee."""
    power: Number = 1.0
    """Power of the raw deviation; 1 but for distances."""
    limit: Number = 0.0
    """Standard deviation beyond which an atom is outside of what was trained on, eV/Å."""


class Calibration(Settings):
    """From raw deviations to standard deviations of a force component."""

    method: UncertaintyMethod = "posterior"
    """Source of the raw deviations."""
    scales: tuple[Scale, ...] = ()
    """Calibration of each element of the model."""
    frames: Whole = 0
    """Number of frames it was found on."""

    def sigma(self, raw: Tensor, atomic_numbers: Tensor) -> Tensor:
        """[N] of atoms with these raw deviations, eV/Angstrom."""
        floor, scale, power = (self._of(atomic_numbers, name, raw) for name in ("floor", "scale", "power"))
        return (floor.square() + (scale * raw.pow(power)).square()).sqrt()

    def limits(self, atomic_numbers: np.ndarray) -> np.ndarray:
        """[N] eV/Angstrom."""
        return self._of(torch.from_numpy(np.asarray(atomic_numbers)), "limit", torch.zeros(())).numpy()

    def _of(self, atomic_numbers: Tensor, name: str, like: Tensor) -> Tensor:
        table = like.new_full((120,), torch.nan, dtype=torch.float32)
        for scale in self.scales:
            table[scale.element] = getattr(scale, name)
        return table[atomic_numbers]


@dataclass(frozen=True)
class Uncertainty:
    """Forces with the standard deviation of each atom's.

    Attributes:
        calibration: of a model.
        source: [S, S, n, K] for "posterior", deviations of the weights of the (first) ridge readout; for "distance" the
            space that it is measured in; None for a committee.
    """

    calibration: Calibration
    source: Tensor | FeatureSpace | None = None

    def spanning(self, before: "Uncertainty | None") -> "Uncertainty":
        """With limits that leave inside what was inside before frames were added."""
        if before is None:
            return self
        known = {scale.element: scale.limit for scale in before.calibration.scales}
        scales = tuple(s.override(limit=max(s.limit, known.get(s.element, 0.0))) for s in self.calibration.scales)
        return replace(self, calibration=self.calibration.override(scales=scales))

    @torch.no_grad()
    def __call__(self, model: ForceField, g: Graph, reading: ChipReading | None = None) -> tuple[Tensor, Tensor]:
        """Forces [N, 3], those that the model itself gives, and sigma [N] of a component, in eV/Angstrom.

        Arguments as of the model; the calibration holds for the hardware it was trained for.
        """
        found, sigma = self.predict(model, g, reading)
        return found.forces, sigma

    @torch.no_grad()
    def predict(self, model: ForceField, g: Graph, reading: ChipReading | None = None) -> tuple[Prediction, Tensor]:
        """All that the model itself gives, energy and stress included, and sigma [N] as of a call."""
        found, raw = _deviating(model, self.source, g, reading)
        return found, self.calibration.sigma(raw, g.atomic_numbers)


@torch.no_grad()
def with_deviation(
    model: ForceField, source: Tensor | FeatureSpace | None, g: Graph, reading: ChipReading | None = None
) -> tuple[Tensor, Tensor]:
    """Forces [N, 3] and raw deviations [N] by a source, as `Uncertainty` has it."""
    found, raw = _deviating(model, source, g, reading)
    return found.forces, raw


def _deviating(
    model: ForceField, source: Tensor | FeatureSpace | None, g: Graph, reading: ChipReading | None
) -> tuple[Prediction, Tensor]:
    """The prediction and the raw deviations [N] of `with_deviation`."""
    if g.n_edges == 0:
        found = model.without_edges(g)
        return found, found.forces.new_zeros(g.n_atoms)
    reading = model.read() if reading is None else reading
    if isinstance(source, FeatureSpace):
        found = model(g, reading)  # before the features, whose noise it must not depend on
        features = model.atom_features(g, replace(reading, monitor=None))
        return found, source.distances(features, g.atomic_numbers)
    if source is None:
        assert isinstance(model, Committee)
        predictions = model.each(g, reading)
        each = torch.stack([p.forces for p in predictions])
        return mean_prediction(predictions), each.var(0).mean(1).sqrt()
    linear = model.linear
    if linear is None:
        raise InputError("only forces that are linear in the weights have a posterior.")
    first, variance = linear.spread(g, reading, source)
    first = model.members[0].repelled(Prediction(first), g).forces
    unwatched = replace(reading, monitor=None)
    each = torch.stack([first, *(m(g, unwatched).forces for m in model.members[1:])])
    return Prediction(each.mean(0)), variance.sqrt()


def calibrated(
    model: ForceField,
    source: Tensor | FeatureSpace | None,
    frames: LabelledFrames,
    indices: Sequence[int],
    seed: int = 0,
) -> Uncertainty:
    """Calibrate on labelled frames that the model was not trained on, with the noise of the hardware as trained.

    An element that these frames lack is treated as all others together.

    Args:
        model: ready to predict.
        source: as of `Uncertainty`; None takes the spread of a committee.
        frames: the labelled frames.
        indices: numbers of those to calibrate on.
        seed: of the noise.
    """
    found = list[np.ndarray]()
    for index in indices:
        g = frames.graph(int(index)).to(model.device)
        assert g.forces is not None
        noise = torch_stream(seed, "uncertainty noise", int(index))
        forces, raw = with_deviation(model, source, g, model.read(None, noise))
        square = (forces - g.forces).double().square().mean(1)
        found.append(torch.stack([raw.double(), square, g.atomic_numbers.double()]).cpu().numpy())
    r, e, z = np.concatenate(found, axis=1)
    if isinstance(source, FeatureSpace):
        scales = [_scale_of_distance(k, r, e, z) for k in source.elements.tolist()]
        return Uncertainty(Calibration(method="distance", scales=tuple(scales), frames=len(indices)), source)
    elements = sorted({int(x) for x in z}) if model.linear is None else model.linear.elements
    samples = source.shape[-1] if source is not None else len(model.members) - 1
    scales = []
    for element in elements:
        mine = _of_element(z, element, np.ones(len(z), bool))
        floor, scale = floor_and_scale(r[mine], e[mine], 3 * samples)
        limit = float(np.hypot(floor, scale * MARGIN * r[mine].max()))
        scales.append(Scale(element=element, floor=floor, scale=scale, limit=limit))
    method: UncertaintyMethod = "committee" if source is None else "posterior"
    return Uncertainty(Calibration(method=method, scales=tuple(scales), frames=len(indices)), source)


def _of_element(z: np.ndarray, element: int, usable: np.ndarray) -> np.ndarray:
    """The usable atoms of an element; all usable ones where there are none of it."""
    mine = (z == element) & usable
    return mine if mine.any() else usable


def _scale_of_distance(element: int, r: np.ndarray, square: np.ndarray, z: np.ndarray) -> Scale:
    """For an element, from distances r [n], mean square errors [n] and atomic numbers [n] of validation atoms."""
    mine = _of_element(z, element, np.isfinite(r))
    if not mine.any():  # no validation atom is of an element that training atoms have
        return Scale(element=element, scale=0.0)
    power, scale = power_and_scale(r[mine], square[mine])
    limit = scale * (DISTANCE_MARGIN * r[mine].max()) ** power
    return Scale(element=element, scale=scale, power=power, limit=float(limit))


def power_and_scale(raw: np.ndarray, square: np.ndarray) -> tuple[float, float]:
    """Those of sigma = scale raw^power under which normal errors are most likely.

    Args:
        raw: [n] distances.
        square: [n] mean square errors of a force component of the same atoms.
    """
    logarithm = np.log(np.maximum(raw, 1e-12))

    def scale_of(power: float) -> float:
        return float(np.sqrt(np.mean(square * np.exp(-2 * power * logarithm))))

    def cost(power: float) -> float:
        return float(np.log(max(scale_of(power), 1e-300)) + power * logarithm.mean())

    power = float(minimize_scalar(cost, bounds=POWERS, method="bounded").x)
    return power, scale_of(power)


def floor_and_scale(raw: np.ndarray, square: np.ndarray, freedom: int) -> tuple[float, float]:
    """Those of `Scale` under which normal errors are most likely.

    Args:
        raw: [n] deviations r.
        square: [n] mean square errors of a force component of the same atoms.
        freedom: degrees of freedom of r^2.
    """
    r = np.square(raw)
    if not r.any():
        return float(np.sqrt(square.mean())), 0.0
    prior = r.mean() * PRIOR / freedom
    scale = float(np.sqrt(np.mean(square / (r + prior))))
    return scale * float(np.sqrt(prior)), scale


def save_uncertainties(model: ForceField, found: Sequence[Uncertainty], folder: str | Path) -> None:
    """Write them into the folder of their model."""
    tensors = dict[str, Tensor]()
    for source in (u.source for u in found):
        if source is not None:
            tensors |= source.tensors() if isinstance(source, FeatureSpace) else {"draws": source}
    settings: dict[str, Any] = {"format": FORMAT, "version": VERSION, "model": fingerprint(model)}
    settings["calibrations"] = [u.calibration.to_mapping() for u in found]
    write_tensors(Path(folder) / FILE, tensors, settings)


def forget_uncertainties(folder: str | Path) -> None:
    """Remove those of a model folder, before another model is written there."""
    (Path(folder) / FILE).unlink(missing_ok=True)


def load_uncertainties(path: str | Path, model: ForceField) -> dict[str, Uncertainty]:
    """By method, the best first, those in the model folder or training run that `model` was loaded from; there may be
    none.

    Raises:
        InputError: damaged, or of another model.
    """
    file = find_model(path) / FILE
    if not file.is_file():
        return {}
    tensors, settings = read_tensors(file, FORMAT, VERSION)
    if settings["model"] != fingerprint(model):
        raise InputError(f"{file}: belongs to another model than the one beside it; resume the run that wrote them.")
    found = [Calibration.from_mapping(mapping, str(file)) for mapping in settings["calibrations"]]
    draws = tensors["draws"].to(model.device) if "draws" in tensors else None
    sources = {"posterior": draws, "distance": FeatureSpace.from_tensors(tensors, model.device)}
    return {c.method: Uncertainty(c, sources.get(c.method)) for c in found}


def chosen_uncertainty(path: str | Path, model: ForceField, method: str = "auto") -> Uncertainty | None:
    """That of the model loaded from `path` by a method; "auto" is the best that there is, if any, "none" is None.

    Raises:
        InputError: the model has none by this method.
    """
    if method == "none":
        return None
    found = load_uncertainties(path, model)
    if method == "auto":
        return next(iter(found.values()), None)
    if method not in found:
        has = f"{', '.join(found)} only" if found else "none"
        raise InputError(
            f"{path}: the uncertainty by {method} was asked for, but the model has {has}; train one with "
            "rgnn train --preset ridge, with --chips 4 for a committee."
        )
    return found[method]
