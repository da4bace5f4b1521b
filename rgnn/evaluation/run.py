"""A grid of hardware settings, each evaluated on all frames with fresh noise and fresh chips; resumable."""

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
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
from rgnn.graphs.graph import Graph, LabelledFrames
from rgnn.models.base import ForceField

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


@torch.no_grad()
def predict(model: ForceField, g: Graph, hardware: Hardware, seed: int, *key: int) -> np.ndarray:
    """Forces [N, 3] in eV/Angstrom with a separate noise stream for each key, which is (frame, repeat).

    The frames of a repeat are read one after the other, as far as slow noise goes: the chip has drifted as little from
    one to the next as between two force calls, and repeats are long apart.
    """
    noise = torch_stream(seed, "evaluation noise", *key)
    moment = Moment(stream_seed(seed, "slow noise", *key[1:]), key[0] if key else 0)
    return model(g.to(model.device), model.read(hardware, noise, moment=moment)).forces.cpu().numpy()


def evaluate_hardware(
    model: ForceField,
    frames: LabelledFrames,
    indices: Sequence[int],
    settings: Sequence[Hardware],
    repeats: int = 1,
    chips: int = 1,
    seed: int = 0,
    *,
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
        keep: folder for the sums of finished settings; those found there are not computed again.
        listener: receives (done, total) forward passes, and may ask to stop before each batch.

    Raises:
        InputError: no frames, or a frame without labels.
        Interrupted: `stop` said so; finished settings are in `keep`.
    """
    if not len(indices):
        raise InputError("there are no frames to evaluate on; widen the selection.")
    model.eval()
    elements = tuple(sorted({z for k in indices for z in frames.graph(int(k)).atomic_numbers.unique().tolist()}))
    shapes = [
        (chips if h.is_frozen_random else 1, repeats if h.varies_between_reads else 1, len(indices)) for h in settings
    ]
    done, total = 0, sum(c * r * n for c, r, n in shapes)
    results = []
    for hardware, shape in zip(settings, shapes, strict=True):
        file = None if keep is None else Path(keep) / f"{_name(hardware, shape, seed)}.npy"
        if file is not None and file.exists():
            sums = np.load(file, allow_pickle=False)
            done += int(np.prod(shape))
            listener.progress(done, total)
        else:
            sums = np.zeros((*shape, len(elements), TERMS))
            for passes in _fill(sums, model, frames, indices, hardware, elements, seed):
                done += passes
                listener.progress(done, total)
                if listener.stop():
                    raise Interrupted("stopped; finished settings are kept.")
            if file is not None:
                _write(file, sums)
        results.append(HardwareErrors(hardware, elements, sums))
    return results


def _fill(
    sums: np.ndarray,
    model: ForceField,
    frames: LabelledFrames,
    indices: Sequence[int],
    hardware: Hardware,
    elements: Sequence[int],
    seed: int,
) -> Iterator[int]:
    """Fill in the sums of one setting; the number of passes after each step."""
    for c in range(sums.shape[0]):
        chip = hardware.override(chip=hardware.chip + c)
        for first, graphs in _batches(frames, indices):
            batch = Graph.batch(graphs)
            assert batch.forces is not None
            label, numbers = batch.forces.numpy(), batch.atomic_numbers.numpy()
            ends = np.cumsum(batch.atoms_per_frame)[:-1]
            truths = list(zip(np.split(label, ends), np.split(numbers, ends), strict=True))
            calls = [batch] if chip.rows_are_independent else graphs
            for r in range(sums.shape[1]):
                parts = [predict(model, g, chip, seed, int(indices[first + k]), r) for k, g in enumerate(calls)]
                for f, p in enumerate(np.split(np.concatenate(parts), ends)):
                    t, n = truths[f]
                    for z, element in enumerate(elements):
                        sums[c, r, first + f, z] = ErrorSums.of(p[n == element], t[n == element]).sums
                yield len(graphs)


def _name(hardware: Hardware, shape: tuple[int, ...], seed: int) -> str:
    """Name of the file that keeps a setting's sums; a new field of `Hardware` does not change it."""
    return hashlib.sha256(json.dumps([hardware.differences(), shape, seed], sort_keys=True).encode()).hexdigest()[:16]


def _write(file: Path, sums: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.save(buffer, sums)
    write_atomic(file, buffer.getvalue())


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
