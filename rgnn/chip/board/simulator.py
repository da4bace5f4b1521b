"""The simulator as a board: cells, their effects and fluctuations, and converters, behind the four calls."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rgnn.base.errors import InputError
from rgnn.base.rng import torch_stream
from rgnn.chip.board.names import place_of
from rgnn.chip.board.planes import codes_of
from rgnn.chip.board.protocol import PROTOCOL, BoardFault
from rgnn.chip.cells import Cells
from rgnn.chip.crossbar import Crossbar
from rgnn.chip.hardware import Hardware
from rgnn.chip.product import EVERY, AnalogProduct, ConvertedPlanes
from rgnn.chip.slices import ConvertedSlices
from rgnn.chip.slow import Moment


class SimulatedBoard:
    """A chip that is simulated on this hardware. Its converters span whatever a column can give.

    Args:
        hardware: fluctuations, defects and output converters; the input range is the host's.
        seed: of the fluctuations, a stream for each call.
    """

    def __init__(self, hardware: Hardware | None = None, seed: int = 0) -> None:
        hardware = Hardware() if hardware is None else hardware
        if hardware.noise is not None and hardware.noise_sharing == "product":
            raise InputError(
                "noise_sharing 'product' draws once for all bit planes, but a board reads each plane for itself; set "
                "noise_sharing to 'read', 'plane', 'call' or 'chip'."
            )
        if hardware.slices is not None:
            raise InputError(
                f"slices is {hardware.slices}, but a board gives the sums of whole weights; set slices to null."
            )
        if hardware.slow_noise is not None:
            raise InputError(
                "slow_noise follows the number of a force call, which a board does not know; leave it out of the "
                "hardware of the simulated board."
            )
        self.hardware = hardware.override(offset="clean", adc_range="full")
        self.seed, self.calls = seed, 0
        self._arrays: dict[str, Crossbar] = {}

    def info(self) -> Mapping[str, Any]:
        """See `Board`."""
        return {"protocol": PROTOCOL, "name": f"simulator, {self.hardware.describe()}", "bits": 16}

    def program(
        self,
        array: str,
        shape: Sequence[int],
        plus: np.ndarray | None = None,
        minus: np.ndarray | None = None,
        weight: np.ndarray | None = None,
        tolerance: float | None = None,
    ) -> Mapping[str, Any]:
        """See `Board`; cells go through programming noise, retention and stuck cells of the hardware."""
        if weight is None:
            raise BoardFault("the simulator needs the weights of an array", passing=False)
        signed, pair, siemens = torch.tensor(np.asarray(weight, np.float32)), None, None
        if plus is not None and minus is not None:
            conductances = np.stack([plus, minus]).astype(np.float64)
            siemens = siemens_of(conductances[0] - conductances[1], np.asarray(weight, np.float64))
            pair = torch.tensor(conductances / siemens, dtype=torch.float32)
        place, member = place_of(array) or ((len(self._arrays), 0), 0)
        crossbar = Crossbar(Cells(signed, pair, siemens=siemens), place=place)
        crossbar.member = member
        crossbar.low.zero_()
        crossbar.high.fill_(1.0)
        crossbar.programmed(self.hardware, noisy=True)  # refuses what these cells cannot have
        self._arrays[array] = crossbar.eval()
        return {"programmed": True}

    def read(self, array: str) -> Mapping[str, Any]:
        """See `Board`."""
        cells = self._array(array).programmed(self.hardware, noisy=True)
        if cells.pair is None or cells.siemens is None:
            return {"weight": cells.weight.double().numpy()}
        plus, minus = (float(cells.siemens) * cells.pair.double()).numpy()
        return {"plus": plus, "minus": minus}

    def mvm(self, array: str, planes: np.ndarray, bits: int, inputs: int, add: bool = True) -> Mapping[str, Any]:
        """See `Board`; partial sums of tiles are converted one by one, and added up."""
        crossbar, self.calls = self._array(array), self.calls + 1
        codes = torch.tensor(codes_of(planes, inputs), dtype=torch.float32)
        noise, moment = torch_stream(self.seed, "board", self.calls), Moment(self.seed, self.calls)
        call = crossbar.begin(self.hardware.override(bits=bits), noise, moment=moment)
        if add:
            return {"sums": call.noise.product(codes, EVERY, call.key(), 0).numpy()}
        return {"sums": sums_by_plane(call, codes, bits, self.hardware.tile[0])[1].sum(2).numpy()}

    def _array(self, name: str) -> Crossbar:
        if name not in self._arrays:
            raise BoardFault(f"there is no array '{name}' on the board; program it first", passing=False)
        return self._arrays[name]


def siemens_of(difference: np.ndarray, weight: np.ndarray) -> float:
    """Conductance of one unit of weight: the least-squares factor between the two."""
    power = float((weight * weight).sum())
    return float((difference * weight).sum()) / power if power else 1.0


def sums_by_plane(call: AnalogProduct, codes: Tensor, bits: int, tile: int) -> tuple[Tensor, Tensor]:
    """Column sums of each bit plane and tile, and what the output converters make of the same sums.

    Args:
        call: of a crossbar.
        codes: [rows, in] whole numbers.
        bits: planes of a code.
        tile: inputs of one array.

    Returns:
        [rows, bits, tiles, out] in units of the weight, before conversion with their noise; and after it, the same
        where nothing is converted.

    Raises:
        InputError: weights are sliced, so that each slice has codes of its own.
    """
    if isinstance(call.noise, ConvertedSlices):
        raise InputError(
            "weights that are sliced over several cells have other codes for each slice, and no sums of a plane; set "
            "slices to null, or adc_bits to null."
        )
    seen, cells = list[Tensor](), call.noise
    inner, adc = (cells.inner, cells.adc) if isinstance(cells, ConvertedPlanes) else (cells, None)
    ConvertedPlanes(inner, bits, tile, None, lambda y: seen.append(y.clone()), None).product(
        codes, EVERY, call.key(), 0
    )
    tiles = -(-codes.shape[1] // tile)
    sums = torch.stack(seen, dim=1).view(len(codes), bits, tiles, -1)
    if adc is None:
        return sums, sums
    by_tile = [adc.convert(sums[:, :, t].flatten(0, 1).clone(), None, t) for t in range(tiles)]
    return sums, torch.stack(by_tile, dim=1).view(len(codes), bits, tiles, -1)
