"""The resistance of an array's wires (IR drop): what its columns carry when voltage is lost on the way to the cells.

Rows are driven from the left and columns end below in virtual grounds, one segment of wire before each cell and one
after it, as in badcrossbar (Joksas & Mehonic, SoftwareX 12, 100617 (2020)). A row that is not driven is held at 0 V.
The network is then linear, so its currents are those of other, effective conductances, whichever rows are driven:

    I_j = sum_i G'_ij V_i,    G' = what the nodes' equations leave when all voltages but V are eliminated.

That G' is exact, and is found once for an array: data changes it in nothing, and a product costs what it did before.
Rows that float instead of being held at 0 V are another network and are not covered.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from rgnn.base.errors import InputError
from rgnn.chip.cells import Cells


def effective_conductances(g: np.ndarray, segment: float) -> np.ndarray:
    """[rows, columns] conductances that give the currents of an array with wires, in the unit of both arguments.

    Columns are eliminated one after the other, from the far end of the rows. Of a column, the nodes' equations
    (T + D) c = D x give the voltages c on its wire from those on the rows, x, where T is the ladder of its wire and D
    its cells. So it takes the currents S x = (D - D (T + D)^-1 D) x, and what lies to the left of it sees the
    admittance K = S + s (1 - P'), with the voltages P' x of the next column to the right; P = (1 + K / s)^-1. This
    takes about 6 columns rows^3 operations; the shorter side is taken for the rows, since the network is reciprocal.

    Args:
        g: [rows, columns] conductances of the cells, none negative.
        segment: conductance of a segment of wire.
    """
    from scipy.linalg import lapack  # many a chip has no wires

    rows, columns = g.shape
    if rows > columns:  # the same network seen from its outputs: voltages and currents change places
        return effective_conductances(g[::-1, ::-1].T, segment).T[::-1, ::-1]
    one = np.eye(rows)
    ladder = np.full((2, rows), -segment)  # diagonal and what is next to it
    ladder[0] = 2 * segment
    ladder[0, 0] = segment  # the top of a column is open, its end is a segment from 0 V
    onward, found = one, np.zeros((0, rows))
    for column in g.T[::-1]:
        wire = lapack.dpbsv(ladder + np.stack([column, np.zeros(rows)]), one, lower=1)[1]
        out = segment * wire[-1] * column
        admittance = np.diag(column) - column[:, None] * wire * column + segment * (one - onward)
        half = lapack.dpotri(lapack.dpotrf(one + admittance / segment, lower=1)[0], lower=1)[0]  # the lower half
        onward = np.tril(half) + np.tril(half, -1).T
        found = np.vstack([out, found]) @ onward
    return found.T


@dataclass(frozen=True)
class WireResistance:
    """G -> G', see `effective_conductances`, in tiles of `tile` inputs and outputs; each output has two columns.

    The columns of G+ and G- of an output are neighbours, G+ first, so a tile is an array of tile[0] rows and
    2 tile[1] columns. Fluctuations stay relative to what is read, so to G': a fluctuation of a cell is taken to be
    diminished as the cell is, whichever rows are driven.

    Attributes:
        ohm: resistance of a segment.
        tile: inputs and outputs of one array.
    """

    ohm: float
    tile: tuple[int, int]
    name = "wires"

    def apply(self, cells: Cells, generator: torch.Generator) -> Cells:
        """The cells after it; raises InputError where it needs what is not known of them."""
        pair = cells.conductances("wire_resistance")
        if cells.siemens is None:
            raise InputError(
                "wire_resistance needs conductances in siemens, but this chip's unit is not known; import it with "
                "--unit."
            )
        segment = 1 / (self.ohm * float(cells.siemens))
        g = pair.detach().double().cpu().numpy()
        after = np.empty_like(g)
        for o in range(0, g.shape[1], self.tile[1]):
            for i in range(0, g.shape[2], self.tile[0]):
                here = np.s_[:, o : o + self.tile[1], i : i + self.tile[0]]
                by_columns = g[here].transpose(2, 1, 0)  # [inputs, outputs, 2]: neighbours are a pair
                found = effective_conductances(by_columns.reshape(len(by_columns), -1), segment)
                after[here] = found.reshape(by_columns.shape).transpose(2, 1, 0)
        share = torch.where(pair > 0, torch.from_numpy(after).to(pair) / pair.clamp_min(1e-30), 1.0)
        gain = share if cells.gain is None else share * cells.gain
        seen = replace(cells.with_pair(torch.from_numpy(after).to(pair)), gain=gain)
        return self._weakened(seen, pair)

    @staticmethod
    def _weakened(after: Cells, before: torch.Tensor) -> Cells:
        """A measured deviation of a read is less by as much as the cells are."""
        if after.read_deviation is None or after.pair is None:
            return after
        now, was = (pair.square().sum(0).sqrt() for pair in (after.pair, before))
        return replace(after, read_deviation=after.read_deviation * now / was.clamp_min(1e-30))
