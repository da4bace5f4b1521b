"""Golden vectors: what a frame drives an array with, bit plane by bit plane, and what its columns should answer."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from rgnn.base.arrayfiles import npy, read_npy
from rgnn.base.errors import InputError, first_line
from rgnn.base.estimate import evenly
from rgnn.base.files import write_atomic
from rgnn.base.rng import numpy_stream, torch_stream
from rgnn.chip.board.names import array_name
from rgnn.chip.board.planes import packed
from rgnn.chip.board.simulator import sums_by_plane
from rgnn.chip.board.tap import Recorder
from rgnn.chip.crossbar import Crossbar
from rgnn.chip.hardware import Hardware
from rgnn.chip.noise import bit_planes
from rgnn.chip.product import ConvertedPlanes
from rgnn.chip.slices import ConvertedSlices
from rgnn.graphs.graph import Graph
from rgnn.models.base import ForceField

FORMAT, VERSION = "rgnn golden vectors", 1
ARRAYS = ("codes", "planes", "weight", "sums", "deviation", "adc_codes", "adc_lsb", "adc_first")
# Rows of one array where nobody asks for another number.
ROWS = 256


@dataclass(frozen=True)
class GoldenVectors:
    """Stimulus of one array and the answers that the simulator expects, without noise, with their spread.

    Attributes:
        array: name of the array.
        bits: planes of a code.
        tile: inputs of one physical array; a larger one has partial sums.
        codes: [rows, in] input codes.
        weight: [out, in] signed weights after all that is frozen on the chip.
        sums: [rows, bits, tiles, out] column sums of each plane, in units of the weight.
        deviation: of the same shape, standard deviation of one read of a sum; zero without read noise.
        adc_codes: of the same shape, codes of the output converters; None where the hardware has none.
        adc_lsb, adc_first: [out] weight of one code, and code of the level 0; None as above.
        low, high: range of the input converters; None where each call has another one.
        about: model, frame and hardware, in plain values.
    """

    array: str
    bits: int
    tile: int
    codes: np.ndarray
    weight: np.ndarray
    sums: np.ndarray
    deviation: np.ndarray
    adc_codes: np.ndarray | None
    adc_lsb: np.ndarray | None
    adc_first: np.ndarray | None
    low: float | None
    high: float | None
    about: dict[str, Any]

    @property
    def hardware(self) -> Hardware:
        """The hardware they were made on."""
        return Hardware.from_mapping(self.about["hardware"], "golden vectors: hardware")

    @property
    def planes(self) -> np.ndarray:
        """[rows, bits, ceil(in / 8)] uint8, see `rgnn.chip.board.planes`."""
        return packed(self.codes, self.bits)

    @property
    def by_plane(self) -> np.ndarray:
        """[rows, bits, out] sums over the tiles."""
        return np.asarray(self.sums.sum(2))

    def save(self, folder: str | Path) -> None:
        """Write an NPY file for each array, and golden.json, which is the last."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name in ARRAYS:
            value = getattr(self, name)
            if value is not None:
                write_atomic(folder / f"{name}.npy", npy(value))
        plain = {"format": FORMAT, "version": VERSION, "array": self.array, "bits": self.bits, "tile": self.tile}
        plain |= {"input_low": self.low, "input_high": self.high, "rows": len(self.codes), **self.about}
        write_atomic(folder / "golden.json", json.dumps(plain, indent=2) + "\n")

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a folder that `save` has written.

        Raises:
            InputError: none is there, or it is damaged.
        """
        folder = Path(folder)
        file = folder / "golden.json"
        if not file.is_file():
            raise InputError(f"{folder}: holds no golden vectors (no golden.json); make some with rgnn chip golden.")
        try:
            plain = json.loads(file.read_text(encoding="utf-8"))
            if plain.pop("format") != FORMAT or plain.pop("version") != VERSION:
                raise InputError(f"{file}: is not of the format '{FORMAT}' {VERSION}; make it again.")
            arrays = {n: read_npy(folder / f"{n}.npy") if (folder / f"{n}.npy").is_file() else None for n in ARRAYS}
            fields = [plain.pop(name) for name in ("array", "bits", "tile", "input_low", "input_high", "rows")]
        except (ValueError, KeyError, RecursionError, OSError) as error:
            raise InputError(f"{file}: is damaged ({first_line(error)}); make the golden vectors again.") from None
        array, bits, tile, low, high, rows = fields
        arrays.pop("planes")
        missing = [n for n in ("codes", "weight", "sums", "deviation") if arrays[n] is None]
        if missing:
            raise InputError(f"{folder}: {missing[0]}.npy is missing; make the golden vectors again.")
        found = cls(array=array, bits=bits, tile=tile, low=low, high=high, about=plain, **arrays)  # type: ignore[arg-type]
        out, inputs = found.weight.shape
        if found.codes.shape != (rows, inputs) or found.sums.shape != (rows, bits, -(-inputs // tile), out):
            raise InputError(f"{folder}: its arrays do not fit each other; make the golden vectors again.")
        return found


def array_of(model: ForceField, layer: int, matrix: int, member: int = 0) -> Crossbar:
    """The crossbar at this place.

    Raises:
        InputError: the model has none there.
    """
    known = {(c.place, c.member): c for c in model.crossbars}
    if ((layer, matrix), member) not in known:
        names = ", ".join(array_name(c) for c in model.crossbars) or "none: it is all digital"
        raise InputError(f"the model has no array layer{layer}.matrix{matrix}; its arrays are {names}.")
    return known[(layer, matrix), member]


@torch.no_grad()
def golden_vectors(
    model: ForceField,
    g: Graph,
    crossbar: Crossbar,
    hardware: Hardware | None = None,
    rows: int = ROWS,
    about: dict[str, Any] | None = None,
) -> GoldenVectors:
    """Those of one array in the pass of a frame; its inputs are those of a pass without read noise.

    Args:
        model: ready to predict.
        g: the frame, with the model's cutoff.
        crossbar: the array, see `array_of`.
        hardware: None is that of the model.
        rows: most rows, evenly chosen among those that drive any cell; 0 takes them all.
        about: plain values that are kept with the vectors.

    Raises:
        InputError: hardware without input bits, or a frame that does not drive the array.
    """
    hardware = hardware or model.hardware
    if hardware.bits is None:
        raise InputError("golden vectors are bit planes, but the hardware has bits null; give bits.")
    if hardware.slices is not None:
        raise InputError(
            f"golden vectors are sums of whole weights, but the hardware has slices {hardware.slices}; set slices to "
            "null."
        )
    clean = hardware.without_noise() if hardware.varies_between_reads else hardware
    recorder, stream = Recorder(array_name(crossbar)), torch_stream(0, "golden vectors")  # which draws nothing
    reading = model.read(clean, stream)
    model(g.to(model.device), replace(reading, tap=recorder))
    driven = [q[(q > 0).any(1)] for q in recorder.codes]
    if not any(len(q) for q in driven):
        raise InputError(f"{array_name(crossbar)}: nothing in this frame drives it; take a frame with neighbours.")
    every = torch.cat(driven).double().cpu().round()
    codes = every[evenly(range(len(every)), rows)] if rows and len(every) > rows else every
    unit = torch.tensor(0.0), torch.tensor(1.0)  # of dynamic converters, which sums in code units do not depend on
    noise = crossbar.begin(clean, stream, unit if crossbar.follows(clean) else None).noise
    if isinstance(noise, ConvertedSlices):
        raise InputError("golden vectors are of one array, but weights are sliced over several; set slices to null.")
    bits, tile = hardware.bits, hardware.tile[0]
    cells, adc = (noise.inner, noise.adc) if isinstance(noise, ConvertedPlanes) else (noise, None)
    # In float64, so that whoever adds exactly meets the same codes.
    weight = cells.weight.double().cpu()
    sums = _by_tile(codes, weight.T, bits, tile)
    adc_codes = lsb = first = None
    if adc is not None:
        lsb, first = adc.lsb.double().cpu().numpy(), adc.first.double().cpu().numpy()
        adc_codes = np.clip(np.round(sums / lsb) - first, 0, adc.last).astype(np.int32)
    follows = hardware.range == "dynamic"
    low, high = (None, None) if follows else (float(crossbar.low), float(crossbar.high))
    return GoldenVectors(
        array_name(crossbar), bits, tile, codes.numpy().astype(np.uint8 if bits <= 8 else np.uint16), weight.numpy(),
        sums, _deviation(crossbar, hardware, codes), adc_codes, lsb, first, low, high,
        {**(about or {}), "hardware": hardware.to_mapping()},
    )  # fmt: skip


def _by_tile(codes: Tensor, matrix: Tensor, bits: int, tile: int) -> np.ndarray:
    """[rows, bits, tiles, out] products of the bit planes of codes [rows, in] with a matrix [in, out]."""
    planes = torch.stack(list(bit_planes(codes, bits)), dim=1)
    parts = [planes[..., k : k + tile] @ matrix[k : k + tile] for k in range(0, len(matrix), tile)]
    return np.asarray(torch.stack(parts, dim=2).numpy())


def _deviation(crossbar: Crossbar, hardware: Hardware, codes: Tensor) -> np.ndarray:
    """Of one read of each sum, whatever shares its draw: s sqrt(sum over driven cells of R^2)."""
    assert hardware.bits is not None
    reference = torch.zeros_like(crossbar.weight)
    fresh = 0.0 if hardware.noise_sharing == "chip" else hardware.noise or 0.0
    strength = float(np.hypot(fresh, hardware.slow_noise or 0.0))
    if strength:
        reference = crossbar.programmed(hardware, noisy=False).reference(hardware.noise_reference, hardware.noise_law)
    variance = _by_tile(codes, reference.double().cpu().square().T, hardware.bits, hardware.tile[0])
    return np.asarray(strength * np.sqrt(variance))


def replayed(golden: GoldenVectors, *, noisy: bool = False, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The same stimulus on the simulator: sums [rows, bits, tiles, out] before the output converters, and their codes.

    Args:
        golden: the vectors.
        noisy: with the read noise that `deviation` states, drawn for each sum apart from all others.
        seed: of the noise.

    Returns:
        The sums, and the codes as whole numbers; the sums twice where nothing is converted.
    """
    how = Hardware(bits=golden.bits, noise=None, tile=(golden.tile, golden.hardware.tile[1]))
    crossbar = Crossbar(torch.from_numpy(golden.weight)).double().eval()
    crossbar.low.zero_()
    crossbar.high.fill_(1.0)
    if golden.adc_lsb is not None and golden.adc_first is not None:
        bits = golden.hardware.adc_bits
        assert bits is not None
        lsb, first = torch.from_numpy(golden.adc_lsb), torch.from_numpy(golden.adc_first)
        crossbar.adc_low, crossbar.adc_high = first * lsb, (first + 2**bits - 1) * lsb
        how = how.override(adc_bits=bits)
    call = crossbar.begin(how, None)
    sums, _ = sums_by_plane(call, torch.from_numpy(golden.codes.astype(np.float64)), golden.bits, golden.tile)
    if noisy:
        draws = numpy_stream(seed, "replay").standard_normal(golden.deviation.shape)
        sums = sums + torch.from_numpy(golden.deviation * draws)
    adc = call.noise.adc if isinstance(call.noise, ConvertedPlanes) else None
    if adc is None or golden.adc_lsb is None or golden.adc_first is None:
        return sums.numpy(), sums.numpy()
    converted = adc.convert(sums.flatten(0, 2).clone()).view_as(sums).numpy()
    return sums.numpy(), np.rint(converted / golden.adc_lsb - golden.adc_first).astype(np.int32)
