"""A grid of hardware settings, each evaluated on all frames with fresh noise and fresh chips; resumable."""

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field

from rgnn.base.errors import InputError, Interrupted
from rgnn.base.events import SILENT, Listener
from rgnn.base.files import write_atomic
from rgnn.base.rng import stream_seed, torch_stream
from rgnn.base.settings import Settings, Whole
from rgnn.chip.board.settings import BoardSettings
from rgnn.chip.hardware import Hardware
from rgnn.chip.slow import Moment
from rgnn.evaluation.errors import TERMS, ErrorSums, HardwareErrors
from rgnn.evaluation.frame_errors import FrameErrors
from rgnn.evaluation.intervals import Sample
from rgnn.graphs.graph import Graph, LabelledFrames, voigt
from rgnn.models import inference
from rgnn.models.base import ForceField
from rgnn.models.inference import Arrays

# Edges of the frames that are evaluated together, where the hardware reads every row for itself.
BATCH_EDGES = 16384


class EvaluationSettings(Settings):
    """All that an evaluation depends on; written to its config.yaml."""

    model: str = ""
    """Path of the model folder or training run."""
    fingerprint: str = ""
    """SHA-256 of the model, see `rgnn.models.checkpoints.fingerprint`."""
    store: str = ""
    """Path of the graph store."""
    checksum: str = ""
    """Checksum of the store."""
    frames: tuple[Whole, ...] = ()
    """Numbers of the frames that are evaluated."""
    calibration: tuple[Whole, ...] = ()
    """Numbers of the frames that missing ranges of converters were made from; none where none was missing."""
    settings: tuple[Hardware, ...] = ()
    """Hardware to evaluate."""
    repeats: Whole = Field(default=5, ge=1)
    """Fresh noise draws of each frame."""
    chips: Whole = Field(default=1, ge=1)
    """Fresh draws of what is frozen on a chip."""
    seed: Whole = Field(default=0, ge=0)
    """Seed of the noise."""
    board: BoardSettings = BoardSettings()
    """Board that is measured beside the simulator; none where it has no driver."""
    refit: Whole = Field(default=0, ge=0)
    """Number of training frames that the digital part is fitted again on, on the board; 0 leaves it as it is."""


def predict(model: ForceField, g: Graph, hardware: Hardware, seed: int, *key: int) -> Arrays:
    """Forces, and energies and stresses where the model has them; each key, (frame, repeat), has separate noise.

    The frames of a repeat are read one after the other, as far as slow noise goes: the chip has drifted as little from
    one to the next as between two force calls, and repeats are long apart.
    """
    noise = torch_stream(seed, "evaluation noise", *key)
    moment = Moment(stream_seed(seed, "slow noise", *key[1:]), key[0] if key else 0)
    return inference.predict(model, g, model.read(hardware, noise, moment=moment))


@dataclass(frozen=True)
class Predicted:
    """One frame with its prediction in one draw of chip and noise.

    Attributes:
        chip, draw: numbers of the draws.
        position: place of the frame among those that are evaluated.
        graph: the frame, with its labels.
        arrays: its prediction.
    """

    chip: int
    draw: int
    position: int
    graph: Graph
    arrays: Arrays


def predictions(
    model: ForceField,
    frames: LabelledFrames,
    indices: Sequence[int],
    hardware: Hardware,
    seed: int = 0,
    chips: int = 1,
    repeats: int = 1,
) -> Iterator[list[Predicted]]:
    """The predictions behind the errors of one hardware setting, some frames at a time; the same whenever asked."""
    for c in range(chips):
        chip = hardware.override(chip=hardware.chip + c)
        for first, graphs in _batches(frames, indices):
            calls = [Graph.batch(graphs)] if chip.rows_are_independent else graphs
            for r in range(repeats):
                found = [predict(model, g, chip, seed, int(indices[first + k]), r) for k, g in enumerate(calls)]
                each = [one for arrays, g in zip(found, calls, strict=True) for one in arrays.by_frame(g)]
                pairs = zip(graphs, each, strict=True)
                yield [Predicted(c, r, first + k, g, arrays) for k, (g, arrays) in enumerate(pairs)]


def evaluate_hardware(
    model: ForceField,
    frames: LabelledFrames,
    indices: Sequence[int],
    settings: Sequence[Hardware],
    repeats: int = 1,
    chips: int = 1,
    seed: int = 0,
    *,
    sample: Sample | None = None,
    keep: str | Path | None = None,
    listener: Listener = SILENT,
) -> list[HardwareErrors]:
    """Errors of `model` on labelled frames for each hardware setting.

    Args:
        model: ready to predict (`load_model` or `eval()`).
        frames: the labelled frames.
        indices: numbers of those to evaluate on.
        settings: hardware to evaluate. Nothing is computed twice that a repeat or another chip does not change.
        repeats: fresh noise draws of each frame.
        chips: fresh draws of what is frozen on a chip, numbered from the setting's own `chip`.
        seed: of the noise.
        sample: which of the frames belong together; None takes them for one trajectory in the order given.
        keep: folder for the sums of finished settings; those found there are not computed again.
        listener: receives (done, total) forward passes, and may ask to stop before each batch.

    Raises:
        InputError: no frames, or a frame without labels.
        Interrupted: `stop` said so; finished settings are in `keep`.
    """
    if not len(indices):
        raise InputError("there are no frames to evaluate on; widen the selection.")
    model.eval()
    inside = [frames.graph(int(k)).atomic_numbers.numpy() for k in indices]
    elements = tuple(sorted({int(z) for numbers in inside for z in np.unique(numbers)}))
    contents = np.array([[(numbers == z).sum() for z in elements] for numbers in inside])
    _, composition = np.unique(contents, axis=0, return_inverse=True)
    shapes = [
        (chips if h.is_frozen_random else 1, repeats if h.varies_between_reads else 1, len(indices)) for h in settings
    ]
    done, total = 0, sum(c * r * n for c, r, n in shapes)
    results = []
    for hardware, shape in zip(settings, shapes, strict=True):
        tables = _Tables.empty(shape, len(elements), "energy" in model.outputs)
        file = None if keep is None else Path(keep) / f"{_name(hardware, shape, seed)}.npy"
        if file is not None and tables.restore(file):
            done += int(np.prod(shape))
            listener.progress(done, total)
        else:
            for each in predictions(model, frames, indices, hardware, seed, *shape[:2]):
                for one in each:
                    tables.add(one, elements)
                done += len(each)
                listener.progress(done, total)
                if listener.stop():
                    raise Interrupted("stopped; finished settings are kept.")
            if file is not None:
                tables.save(file)
        whole, sample = None, sample or Sample.of_one_run(len(indices))
        if tables.whole is not None:
            energy, stress = tables.whole[..., 0], tables.whole[..., 1:]
            whole = FrameErrors(contents.sum(axis=1), composition.ravel(), energy, stress, sample)
        results.append(HardwareErrors(hardware, elements, tables.sums, whole, sample))
    return results


@dataclass(frozen=True)
class _Tables:
    """What one setting fills.

    Attributes:
        sums: [chips, repeats, frames, elements, 11], see `ErrorSums`.
        whole: [chips, repeats, frames, 7] errors of the energy and of the stress; None without an energy.
    """

    sums: np.ndarray
    whole: np.ndarray | None

    @classmethod
    def empty(cls, shape: tuple[int, int, int], elements: int, energy: bool) -> "_Tables":
        return cls(np.zeros((*shape, elements, TERMS)), np.full((*shape, 7), np.nan) if energy else None)

    def add(self, one: Predicted, elements: Sequence[int]) -> None:
        place = one.chip, one.draw, one.position
        labels, numbers = one.graph.labels, one.graph.atomic_numbers.numpy()
        assert labels.forces is not None
        label = labels.forces.numpy()
        for k, z in enumerate(elements):
            self.sums[(*place, k)] = ErrorSums.of(one.arrays.forces[numbers == z], label[numbers == z]).sums
        if self.whole is None:
            return
        if labels.energy is not None and one.arrays.energy is not None:
            self.whole[(*place, 0)] = float(one.arrays.energy[0] - labels.energy[0].numpy())
        if labels.stress is not None and one.arrays.stress is not None:
            self.whole[(*place, slice(1, 7))] = voigt(one.arrays.stress[0] - labels.stress[0].numpy())

    def restore(self, file: Path) -> bool:
        """Whether the setting was finished there, and is here now."""
        if not file.exists():
            return False
        self.sums[:] = np.load(file, allow_pickle=False)
        if self.whole is not None:
            self.whole[:] = np.load(_beside(file), allow_pickle=False)
        return True

    def save(self, file: Path) -> None:
        """Keep it; the sums are written last, so that all is there where they are."""
        file.parent.mkdir(parents=True, exist_ok=True)
        for path, values in ((_beside(file), self.whole), (file, self.sums)):
            if values is not None:
                buffer = io.BytesIO()
                np.save(buffer, values)
                write_atomic(path, buffer.getvalue())


def _beside(file: Path) -> Path:
    return file.with_name(f"{file.stem}-whole.npy")


def _name(hardware: Hardware, shape: tuple[int, ...], seed: int) -> str:
    """Name of the file that keeps a setting's sums; a new field of `Hardware` does not change it."""
    return hashlib.sha256(json.dumps([hardware.differences(), shape, seed], sort_keys=True).encode()).hexdigest()[:16]


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
