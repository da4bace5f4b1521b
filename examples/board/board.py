"""A board that rgnn knows nothing of: cells that miss their targets, noisy reads, drifted columns and an ADC.

It answers the four calls of docs/chip-in-the-loop.md as JSON lines on its input and output, and needs NumPy alone. As
a start for a real board, replace `Cells` by what drives it.

    rgnn eval runs/latest --driver "process: python examples/board/board.py --noise 0.02"
"""

import argparse
import base64
import json
import sys

import numpy as np

PROTOCOL = "rgnn board 1"


class Cells:
    """One array: pairs of cells, and a converter for each column, all drawn from the seed and the array's name."""

    def __init__(self, weight, plus, minus, options, name):
        rng = np.random.default_rng([options.seed, *name.encode()])
        if plus is None:  # only differences are known: pairs about 20 uS, 4 uS a unit of weight
            plus, minus = 20e-6 + 2e-6 * weight, 20e-6 - 2e-6 * weight
        pair = np.stack([plus, minus])
        self.pair = np.maximum(0.0, pair * (1 + options.programming * rng.standard_normal(pair.shape)))
        difference = plus - minus
        self.siemens = float((difference * weight).sum() / (weight * weight).sum())
        self.weight = ((self.pair[0] - self.pair[1]) / self.siemens).astype(np.float32)
        out = len(weight)
        drifted = rng.random(out) < options.drifted
        self.gain = np.where(drifted, 1 + options.drift * rng.uniform(-1, 1, out), 1.0).astype(np.float32)
        # A converter spans what four deviations of a column with half of its inputs driven can give.
        self.unit = (
            float(8 * np.sqrt((weight**2).sum(1).max() / 2) + 2 * abs(weight.sum(1)).max()) / 2**options.adc_bits
        )
        self.offset = np.where(drifted, rng.uniform(-3, 3, out), 0.0).astype(np.float32)
        self.noise, self.half, self.rng = options.noise, 2 ** (options.adc_bits - 1), rng

    def counts(self, bits):
        """Codes of the columns [rows, out] for driven inputs [rows, in] of one bit plane."""
        x = bits.astype(np.float32)
        sums = x @ self.weight.T
        if self.noise:
            sums += self.noise * np.sqrt(x @ (self.weight**2).T) * self.rng.standard_normal(sums.shape, np.float32)
        codes = np.rint(sums * self.gain / self.unit + self.offset)
        return np.clip(codes, -self.half, self.half - 1).astype(np.int32)


class Board:
    """The four calls."""

    def __init__(self, options):
        self.options, self.arrays, self.calls = options, {}, 0

    def info(self):
        return {"protocol": PROTOCOL, "name": "example board", "bits": 8, "rows": 4096}

    def program(self, array, shape, weight, plus=None, minus=None, tolerance=None):
        cells = self.arrays[array] = Cells(weight, plus, minus, self.options, array)
        return {"programmed": True, "unit": cells.unit, "zero": 0}

    def read(self, array):
        plus, minus = self.arrays[array].pair
        return {"plus": plus, "minus": minus}

    def mvm(self, array, planes, bits, inputs, add=True):
        cells = self.arrays[array]
        total = 0
        each = []
        for b in range(bits):
            counts = cells.counts(np.unpackbits(planes[:, b], axis=-1, count=inputs, bitorder="little"))
            if add:
                total = total + (counts << b)
            else:
                each.append(counts)
        return {"sums": total if add else np.stack(each, axis=1)}


def unpacked(value):
    """An array of a message: its bytes are base64, little-endian in C order."""
    if not (isinstance(value, dict) and "data" in value):
        return value
    raw = base64.b64decode(value["data"])
    return np.frombuffer(raw, np.dtype(value["dtype"]).newbyteorder("<")).reshape(value["shape"])


def packed(value):
    if not isinstance(value, np.ndarray):
        return value
    data = np.ascontiguousarray(value, value.dtype.newbyteorder("<")).tobytes()
    return {"dtype": value.dtype.name, "shape": list(value.shape), "data": base64.b64encode(data).decode()}


def serve(board, requests, answers):
    """Answer each line until the input ends."""
    for line in requests:
        number = None
        try:
            message = {key: unpacked(value) for key, value in json.loads(line).items()}
            number, call = message.pop("id"), message.pop("call")
            if call not in ("info", "program", "read", "mvm"):
                raise ValueError(f"there is no call '{call}'")
            answer = getattr(board, call)(**message)
            answer = {"id": number, "ok": True, **{key: packed(value) for key, value in answer.items()}}
        except Exception as error:
            answer = {"id": number, "ok": False, "error": f"{type(error).__name__}: {error}", "retry": False}
        board.calls += 1
        if board.options.die_after and board.calls >= board.options.die_after:
            sys.exit("the power supply gave up")
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main():
    parser = argparse.ArgumentParser(description="An example board, which speaks JSON lines.")
    parser.add_argument("--noise", type=float, default=0.05, help="read noise, relative to each weight")
    parser.add_argument("--adc-bits", type=int, default=12, help="bits of the converter of a column")
    parser.add_argument("--programming", type=float, default=0.0, help="miss of a target, relative to it")
    parser.add_argument("--drifted", type=float, default=0.0, help="share of columns that have drifted")
    parser.add_argument("--drift", type=float, default=0.3, help="largest change of the gain of such a column")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn")
    parser.add_argument("--die-after", type=int, default=0, help="calls after which the board stops; 0 is never")
    serve(Board(parser.parse_args()), sys.stdin, sys.stdout)


if __name__ == "__main__":
    main()
