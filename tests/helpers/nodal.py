"""The exact solution of an array with wires, node by node: what fast forms are tested against."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.linalg import spsolve


def nodal_currents(g: np.ndarray, segment: float, voltages: np.ndarray) -> np.ndarray:
    """[vectors, columns] currents out of an array, by Kirchhoff's law at each of its 2 rows columns nodes.

    Args:
        g: [rows, columns] conductances of the cells, S.
        segment: conductance of a segment of wire, S: one before each cell in its row, one after it in its column.
        voltages: [vectors, rows] at the left ends of the rows, V; NaN leaves a row floating.
    """
    rows, columns = g.shape
    row, column = np.arange(2 * g.size).reshape(2, rows, columns)  # the nodes on both sides of each cell
    links = [
        (row[:, :-1], row[:, 1:], np.full((rows, columns - 1), segment)),
        (column[:-1], column[1:], np.full((rows - 1, columns), segment)),
        (row, column, g),
    ]
    a, b, value = (np.concatenate([part.ravel() for part in parts]) for parts in zip(*links, strict=True))
    ground = np.zeros(2 * g.size)
    ground[column[-1]] = segment
    found = np.empty((len(voltages), columns))
    for k, v in enumerate(voltages):
        own = ground.copy()
        own[row[:, 0]] = np.where(np.isnan(v), 0, segment)
        at = np.arange(len(own))
        entries = np.concatenate([value, value, -value, -value, own])
        where = np.concatenate([a, b, a, b, at]), np.concatenate([a, b, b, a, at])
        given = np.zeros(len(own))
        given[row[:, 0]] = segment * np.nan_to_num(v)
        nodes = spsolve(coo_array((entries, where)).tocsc(), given)
        found[k] = segment * nodes[column[-1]]
    return found
