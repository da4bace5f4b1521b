"""A board in the place of the simulated cells of a model: every product of its crossbars is measured there."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from rgnn.base.errors import InputError, LostBoard
from rgnn.base.events import SILENT
from rgnn.chip.board.names import array_name
from rgnn.chip.board.planes import packed, summed
from rgnn.chip.board.protocol import BoardFault, BoardInfo, matrix_of, sums_of
from rgnn.chip.board.simulator import siemens_of
from rgnn.chip.board.tap import spread_over
from rgnn.chip.board.transports import TIMEOUT, Transport, transport
from rgnn.chip.crossbar import Crossbar
from rgnn.chip.hardware import Hardware
from rgnn.chip.noise import CacheKey, Noise
from rgnn.chip.product import AnalogProduct

# Calls that fail are made again so many times, after pauses of so many seconds, doubled each time.
RETRIES, PAUSE = 2, 0.2
# Bytes of bit planes that one call sends at most.
MOST_BYTES = 4 * 2**20
# Correlation of weights that are read back with those of the model, below which they are another chip's.
ANOTHER = 0.5

T = TypeVar("T")


@dataclass(frozen=True)
class ColumnGains:
    """What the digital side undoes of the columns of an array: sum = (measured - offset) / gain.

    Attributes:
        gain: [out].
        offset: [out] of the sum of one bit plane, in units of the weight.
    """

    gain: np.ndarray
    offset: np.ndarray


@dataclass
class Traffic:
    """What a board has done so far."""

    calls: int = 0
    rows: int = 0
    seconds: float = 0.0
    restarts: int = 0


@dataclass
class _Array:
    """One array on the board: its crossbar, and the weight of one count."""

    crossbar: Crossbar
    unit: float | np.ndarray = 1.0
    zero: float | np.ndarray = 0.0


class BoardConnection:
    """A board that answers for the crossbars of a model; a `Tap`.

    Copies of a model share it. A call that fails is repeated, after the board was started and programmed again.

    Args:
        way: to the board.
        name: of the driver, for sentences.
        retries: repetitions of a call that fails.

    Attributes:
        info: what the board says of itself.
        agreement: correlation of each array's weights, as the board reads them, with those of the model.
        gains: of arrays that were calibrated.
        traffic: calls, rows, seconds and restarts so far.
        listener: is warned when the board is started again, since its cells may then be others.
    """

    def __init__(self, way: Transport, name: str, retries: int = RETRIES) -> None:
        self._way, self.name, self.retries = way, name, retries
        self.agreement: dict[str, float] = {}
        self.gains: dict[str, ColumnGains] = {}
        self.traffic, self.listener = Traffic(), SILENT
        self._arrays: dict[str, _Array] = {}
        self.info = self._insist(lambda: BoardInfo.of(self._way.call("info", {})))

    def __deepcopy__(self, memo: dict[int, Any]) -> "BoardConnection":
        """Itself: there is one board."""
        return self

    # What a model asks of it

    def hardware(self, wanted: Hardware) -> Hardware:
        """The digital side: input codes and their range. Fluctuations and output converters are the board's.

        Raises:
            InputError: unquantised inputs, or more bits than the board takes.
        """
        if wanted.bits is None:
            raise InputError(f"the board '{self.name}' takes bit planes, but the hardware has bits null; give bits.")
        if wanted.bits > self.info.bits:
            raise InputError(
                f"the board '{self.name}' takes {self.info.bits} bits at most, but the hardware has {wanted.bits}; "
                "give fewer bits."
            )
        return Hardware(bits=wanted.bits, rounding=wanted.rounding, range=wanted.range, noise=None, tile=wanted.tile)

    def cells(self, crossbar: Crossbar, call: AnalogProduct) -> Noise:
        """Those of the board."""
        assert call.converter.levels is not None
        return MeasuredCells(self, crossbar, call.converter.levels.bit_length())

    # What the board does

    def attach(self, crossbars: Sequence[Crossbar]) -> None:
        """Program the arrays of a model, and compare what the board holds with their weights.

        Raises:
            InputError: the board holds something else.
            LostBoard: it does not answer.
        """
        for crossbar in crossbars:
            self._insist(lambda c=crossbar: self._program(c))  # type: ignore[misc]
        for crossbar in crossbars:
            weight = self.read(array_name(crossbar))
            if weight is None:
                continue
            alike = _correlation(weight, crossbar.weight.double().cpu().numpy())
            self.agreement[array_name(crossbar)] = alike
            if alike < ANOTHER:
                raise InputError(
                    f"the board '{self.name}' holds another {array_name(crossbar)} than the model (correlation "
                    f"{alike:.2f}); connect the board that the model's chip was read from, or one that is programmed."
                )

    def _program(self, crossbar: Crossbar) -> None:
        name, weight = array_name(crossbar), crossbar.weight.double().cpu().numpy()
        message: dict[str, Any] = {"array": name, "shape": list(weight.shape), "weight": weight}
        if crossbar.pair is not None and crossbar.siemens is not None:
            plus, minus = (float(crossbar.siemens) * crossbar.pair.double().cpu()).numpy()
            message |= {"plus": plus, "minus": minus, "tolerance": float(0.05 * np.mean([plus, minus]))}
        answer = self._timed("program", message, 0)
        units = {key: _per_column(answer, key, default, len(weight)) for key, default in (("unit", 1.0), ("zero", 0.0))}
        self._arrays[name] = _Array(crossbar, **units)

    def read(self, name: str) -> np.ndarray | None:
        """[out, in] the weights of an array as the board reads them, in the model's units; None where it cannot."""
        crossbar = self._arrays[name].crossbar
        shape = tuple(crossbar.weight.shape)

        def ask() -> np.ndarray | None:
            answer = self._timed("read", {"array": name}, 0)
            weight, plus, minus = (matrix_of(answer, key, shape) for key in ("weight", "plus", "minus"))
            if weight is not None or plus is None or minus is None:
                return weight
            clean = crossbar.weight.double().cpu().numpy()
            siemens = float(crossbar.siemens) if crossbar.siemens is not None else siemens_of(plus - minus, clean)
            return np.asarray((plus - minus) / siemens)

        return self._insist(ask)

    def by_plane(self, name: str, codes: np.ndarray, bits: int) -> np.ndarray:
        """[rows, bits, out] column sums of each bit plane of codes [rows, in], in units of the weight, uncorrected."""
        array = self._arrays[name]
        sums = [self._sums(name, part, bits, add=False) for part in self._parts(codes, bits)]
        return np.asarray(array.unit * (np.concatenate(sums) - array.zero))

    def product(self, name: str, codes: np.ndarray, bits: int) -> np.ndarray:
        """[rows, out] products of codes [rows, in], in code units; gains and offsets are undone where known."""
        array, gains = self._arrays[name], self.gains.get(name)
        planes = 2**bits - 1
        parts = []
        for part in self._parts(codes, bits):
            sums = self._sums(name, part, bits, add=True)
            parts.append(summed(sums) if sums.ndim == 3 else sums.astype(np.float64))
        y = np.concatenate(parts) if parts else np.zeros((0, array.crossbar.weight.shape[0]))
        y = array.unit * (y - planes * array.zero)
        return np.asarray(y if gains is None else (y - planes * gains.offset) / gains.gain)

    def _parts(self, codes: np.ndarray, bits: int) -> list[np.ndarray]:
        size = min(self.info.rows, max(1, MOST_BYTES // (bits * -(-codes.shape[1] // 8))))
        return [codes[first : first + size] for first in range(0, len(codes), size)]

    def _sums(self, name: str, codes: np.ndarray, bits: int, *, add: bool) -> np.ndarray:
        out, inputs = self._arrays[name].crossbar.weight.shape
        message = {"array": name, "planes": packed(codes, bits), "bits": bits, "inputs": inputs, "add": add}
        return self._insist(lambda: sums_of(self._timed("mvm", message, len(codes)), len(codes), bits, out, add))

    def _timed(self, call: str, message: Mapping[str, Any], rows: int) -> Mapping[str, Any]:
        began = time.monotonic()
        try:
            return self._way.call(call, message)
        finally:
            self.traffic.calls += 1
            self.traffic.rows += rows
            self.traffic.seconds += time.monotonic() - began

    def _insist(self, ask: Callable[[], T]) -> T:
        """The result of some calls, which are made again where the board failed.

        Raises:
            LostBoard: it failed each time.
        """
        fault: BoardFault | None = None
        for attempt in range(self.retries + 1):
            try:
                if fault is not None:
                    time.sleep(PAUSE * 2 ** (attempt - 1))
                    self._begin_again()
                    self.listener.warn(f"the board '{self.name}' {fault}; it was started and programmed again.")
                return ask()
            except BoardFault as found:
                fault = found
                if not fault.passing:
                    break
        tries = f"; {self.retries + 1} tries" if fault is not None and fault.passing and self.retries else ""
        raise LostBoard(f"the board '{self.name}' {fault}{tries}") from fault

    def _begin_again(self) -> None:
        self.traffic.restarts += 1
        self._way.restart()
        BoardInfo.of(self._way.call("info", {}))
        for array in list(self._arrays.values()):
            self._program(array.crossbar)

    def close(self) -> None:
        """Let the board go."""
        self._way.close()


class MeasuredCells:
    """Cells of an array on a board, as a `Noise`: their products are measured."""

    strength = 0.0
    bits: int | None = None
    draws_rows, has_closed_form = False, False
    variance: Tensor | None = None
    fluctuations: Tensor | None = None

    def __init__(self, board: BoardConnection, crossbar: Crossbar, planes: int) -> None:
        self.board, self.crossbar, self.weight, self.planes = board, crossbar, crossbar.weight, planes

    def cache_key(self) -> CacheKey | None:
        """None: nothing of it can be prepared."""
        return None

    def product(self, q: Tensor, columns: Tensor | slice, key: int, first: int) -> Tensor:
        """See `Noise`; inputs outside of the columns are not driven."""
        codes = spread_over(q, columns, self.weight.shape[1]).round().cpu().numpy().astype(np.uint16)
        return torch.from_numpy(self.board.product(array_name(self.crossbar), codes, self.planes)).to(q)


def _per_column(answer: Mapping[str, Any], key: str, default: float, out: int) -> float | np.ndarray:
    found = np.asarray(answer.get(key, default), dtype=np.float64)
    if found.shape not in ((), (out,)) or not np.isfinite(found).all() or (key == "unit" and not found.all()):
        raise BoardFault(f"says that {key} is {str(answer.get(key))[:60]}, which makes no sense", passing=False)
    return found if found.ndim else float(found)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    x, y = a.ravel() - a.mean(), b.ravel() - b.mean()
    size = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / size if size else 1.0


def connect(
    driver: str, crossbars: Sequence[Crossbar], timeout: float = TIMEOUT, retries: int = RETRIES, seed: int = 0
) -> BoardConnection:
    """Reach a board and attach the arrays of a model to it.

    Args:
        driver: see `rgnn.chip.board.transports.KINDS`.
        crossbars: of the model.
        timeout: seconds until a silent board counts as stopped.
        retries: repetitions of a call that fails.
        seed: of the noise, where the board is the simulator.

    Raises:
        InputError: no such driver, or the board holds another chip.
        LostBoard: the board does not answer.
    """
    connection = BoardConnection(transport(driver, timeout, seed), driver, retries)
    try:
        connection.attach(crossbars)
    except BaseException:
        connection.close()
        raise
    return connection
