"""Neighbour lists that are kept while atoms move little, by searching a little farther than the cutoff."""

import numpy as np

from rgnn.graphs.neighbours import neighbour_list

# A kept list reaches this much farther than the cutoff, in Angstrom. Lithium at 600 K crosses half of it in 0.1 ps.
SKIN = 0.5


class SkinList:
    """Neighbours of atoms that move from call to call, searched again once an atom has moved half of the skin.

    What a call returns does not depend on the calls before it: always the edges that are shorter than the cutoff
    now, in the order of `neighbour_list`.

    Args:
        cutoff: largest length of an edge, in Angstrom.
        skin: how much farther a search reaches, in Angstrom.

    Attributes:
        searches: number of neighbour searches so far.
    """

    def __init__(self, cutoff: float, skin: float = SKIN) -> None:
        self.cutoff, self.skin = cutoff, skin
        self.searches = 0
        self._positions = self._cell = self._pbc = np.empty(0)

    def edges(self, positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Edge index [2, E] int64 and edge vectors [E, 3] float64 in Angstrom.

        Args:
            positions: [N, 3] in Angstrom.
            cell: [3, 3] cell vectors as rows, in Angstrom.
            pbc: [3] whether the atoms are periodic along each cell vector.

        Raises:
            InputError: as `neighbour_list`.
        """
        positions, cell = np.asarray(positions, dtype=np.float64), np.asarray(cell, dtype=np.float64)
        if not self._still_holds(positions, cell, pbc):
            self._index, shift = neighbour_list(positions, cell, pbc, self.cutoff + self.skin)
            self._index = self._index.astype(np.int64)
            self._offset = shift @ cell
            self._positions, self._cell, self._pbc = positions.copy(), cell.copy(), np.array(pbc)
            self.searches += 1
        i, j = self._index
        vector = positions[j] - positions[i] + self._offset
        near = np.einsum("ij,ij->i", vector, vector) < self.cutoff**2
        return self._index[:, near], vector[near]

    def _still_holds(self, positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> bool:
        if positions.shape != self._positions.shape:
            return False
        if not (np.array_equal(cell, self._cell) and np.array_equal(pbc, self._pbc)):
            return False
        step = positions - self._positions
        return bool(np.einsum("ij,ij->i", step, step).max() < (self.skin / 2) ** 2)  # False where one is not a number
