"""The graphs of Xu et al. 2025, a pickle of many gigabytes, read without running it and without holding it.

A pickle is a program for a small stack machine. The machine here knows only the instructions that build plain
containers, numbers, text and NumPy arrays; the first that asks for anything else is refused by its name, before any
graph is given out. A first pass finds which values the file refers to again, so that the second need not keep all
the others, and the graphs of the list are given out as it grows.
"""

import pickletools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rgnn.base.errors import InputError, first_line
from rgnn.data.formats.selection import Items, Selection
from rgnn.data.frames import EdgeFrame, Unusable, check_forces
from rgnn.graphs.neighbours import CLOSEST

SUFFIXES = (".pkl", ".pickle")
# What a graph needs of what the published program wrote.
KEYS = ("forces", "_atomic_numbers", "_neighbors", "_distances", "_unit_vecs")
# Directions of float32 are of unit length within this.
NOT_UNIT = 1e-3
_NUMPY = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric")


def is_pickle(path: str | Path) -> bool:
    """Whether a file begins as pickles of protocols 2 to 5 do, or has the name of one."""
    with Path(path).open("rb") as file:
        start = file.read(2)
    return start in (b"\x80\2", b"\x80\3", b"\x80\4", b"\x80\5") or Path(path).suffix in SUFFIXES


class _Refused(ValueError):  # noqa: N818 (said of a file)
    """The file asks for something that is not plain data."""


class _Mark:
    """Where on the stack the items of a container begin."""


class _Array:
    """A NumPy array before its shape and content are known."""

    value: np.ndarray


MARK = _Mark()


def _dtype(name: str, align: bool = False, copy: bool = False) -> np.dtype:
    if name not in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"):
        raise _Refused(f"an array of '{name}'")
    return np.dtype(name)


def _from_buffer(data: Any, dtype: np.dtype, shape: tuple[int, ...], order: str, axis: Any = None) -> np.ndarray:
    return np.frombuffer(data, dtype).reshape(shape, order="F" if order == "F" else "C")


def _scalar(dtype: np.dtype, data: bytes) -> Any:
    return np.frombuffer(data, dtype)[0]


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise _Refused(f"text in '{encoding}'")
    return text.encode("latin1")


def _bytes_of(data: Any = b"") -> bytearray:
    if not isinstance(data, bytes | bytearray):
        raise _Refused("room that it does not fill")  # bytearray(2**33) is 8 GB of zeros
    return bytearray(data)


# How each thing that may be asked for is made; `_reconstruct` only ever makes an empty array.
_MAKERS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "dtype"): _dtype,
    ("numpy", "ndarray"): lambda *_: _Array(),
    ("_codecs", "encode"): _encode,
    ("builtins", "bytearray"): _bytes_of,
    ("__builtin__", "bytearray"): _bytes_of,
    **{(m, "_reconstruct"): lambda *_: _Array() for m in _NUMPY},
    **{(m, "_frombuffer"): _from_buffer for m in _NUMPY},
    **{(m, "scalar"): _scalar for m in _NUMPY},
}


def _maker(module: str, name: str) -> Callable[..., Any]:
    if (module, name) not in _MAKERS:
        raise _Refused(f"'{module}.{name}'")
    return _MAKERS[module, name]


def _build(what: Any, state: Any) -> Any:
    """What BUILD does to an empty array, or to a data type (its byte order)."""
    if isinstance(what, _Array):
        _, shape, dtype, fortran, data = state
        if not isinstance(data, bytes | bytearray):
            raise _Refused("an array of objects")
        what.value = _from_buffer(data, dtype, shape, "F" if fortran else "C")
        return what.value
    if isinstance(what, np.dtype):
        return what.newbyteorder(state[1]) if state[1] in "<>" else what
    raise _Refused(f"a {type(what).__name__} that restores its state by itself")


class _Machine:
    """The stack, and the values that are referred to again.

    Args:
        kept: numbers of those values.
    """

    def __init__(self, kept: set[int]) -> None:
        self.kept = kept
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.stored = 0

    def since_mark(self) -> list[Any]:
        """Take the items after the last mark, and the mark, off the stack."""
        place = len(self.stack) - 1
        while self.stack[place] is not MARK:
            place -= 1
        items = self.stack[place + 1 :]
        del self.stack[place:]
        return items

    def take(self, n: int) -> list[Any]:
        """Take the last n items off the stack."""
        items = self.stack[-n:]
        del self.stack[-n:]
        return items

    def store(self, number: int) -> None:
        """Remember the last item, if anything refers to it."""
        self.stored += 1
        if number in self.kept:
            self.memo[number] = self.stack[-1]

    def step(self, name: str, argument: Any) -> None:
        """One instruction, by its name in `pickletools`."""
        if name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _LITERALS:
            self.stack.append(argument)
        elif name in ("PROTO", "FRAME", "STOP"):
            pass
        elif name in _SIMPLE:
            _SIMPLE[name](self, argument)
        else:
            raise _Refused(f"the instruction {name}")

    def call(self, _: Any) -> None:
        maker, arguments = self.take(2)
        if not callable(maker):
            raise _Refused("a call of something that is not a function")
        self.stack.append(maker(*arguments))

    def build(self, _: Any) -> None:
        what, state = self.take(2)
        built = _build(what, state)
        self.stack.append(built)
        for number, value in self.memo.items():  # an array is complete, and a data type another, only now
            if value is what:
                self.memo[number] = built

    def set_items(self, pairs: list[Any]) -> None:
        """Put keys and values into the dictionary on top."""
        keys = pairs[::2]
        if strange := next((key for key in keys if not isinstance(key, str | bytes | int | float | None)), None):
            # To hash nested tuples can take for ever.
            raise _Refused(f"a dictionary with a {type(strange).__name__} as key")
        self.stack[-1].update(zip(keys, pairs[1::2], strict=True))


_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "MARK": lambda: MARK,
}
_LITERALS = {"BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "BINUNICODE8"}
_LITERALS |= {"SHORT_BINUNICODE", "BINBYTES", "BINBYTES8", "SHORT_BINBYTES", "BYTEARRAY8"}
_SIMPLE: dict[str, Callable[[_Machine, Any], None]] = {
    "GLOBAL": lambda m, a: m.stack.append(_maker(*a.split(" ", 1))),
    "STACK_GLOBAL": lambda m, a: m.stack.append(_maker(*m.take(2))),
    "REDUCE": _Machine.call,
    "BUILD": _Machine.build,
    "TUPLE": lambda m, a: m.stack.append(tuple(m.since_mark())),
    "TUPLE1": lambda m, a: m.stack.append(tuple(m.take(1))),
    "TUPLE2": lambda m, a: m.stack.append(tuple(m.take(2))),
    "TUPLE3": lambda m, a: m.stack.append(tuple(m.take(3))),
    "APPEND": lambda m, a: m.stack[-2].append(m.stack.pop()),
    "APPENDS": lambda m, a: (lambda items: m.stack[-1].extend(items))(m.since_mark()),
    "SETITEM": lambda m, a: m.set_items(m.take(2)),
    "SETITEMS": lambda m, a: (lambda items: m.set_items(items))(m.since_mark()),
    "BINPUT": lambda m, a: m.store(a),
    "LONG_BINPUT": lambda m, a: m.store(a),
    "MEMOIZE": lambda m, a: m.store(m.stored),
    "BINGET": lambda m, a: m.stack.append(m.memo[a]),
    "LONG_BINGET": lambda m, a: m.stack.append(m.memo[a]),
    "POP": lambda m, a: m.stack.pop() and None,
}
_KNOWN = _CONSTANTS.keys() | _LITERALS | _SIMPLE.keys() | {"PROTO", "FRAME", "STOP"}


def _inspect(path: Path) -> set[int]:
    """The numbers of the values that are referred to again; refuses what is not plain data.

    Names that STACK_GLOBAL takes off the stack are checked when it is run; nothing has been given out by then but
    graphs made of arrays.
    """
    kept: set[int] = set()
    with path.open("rb") as file:
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name not in _KNOWN:
                raise _Refused(f"the instruction {opcode.name}")
            if opcode.name == "GLOBAL":
                _maker(*str(argument).split(" ", 1))
            elif opcode.name in ("BINGET", "LONG_BINGET"):
                kept.add(int(argument or 0))
    return kept


def read_list(path: Path) -> Iterator[Any]:
    """The items of the list that a pickle holds, one after the other.

    Raises:
        InputError: it is cut short, or holds anything but plain containers and NumPy arrays.
    """
    try:
        machine = _Machine(_inspect(path))
        with path.open("rb") as file:
            for opcode, argument, _ in pickletools.genops(file):
                machine.step(opcode.name, argument)
                if opcode.name in ("APPEND", "APPENDS") and len(machine.stack) == 1:
                    items = machine.stack[0]
                    yield from items
                    items.clear()
    except _Refused as refused:
        raise InputError(
            f"{path}: refused without running it, because it asks for {refused}, which is not plain data."
        ) from None
    except Exception as error:  # a damaged file ends the machine in many ways
        raise InputError(
            f"{path}: cannot be read ({first_line(error)}); download it again, since it may be cut short."
        ) from None
    if machine.stack != [[]]:
        raise InputError(f"{path}: holds no list of graphs.")


def read_graph_pickle(path: str | Path, wanted: Selection, cutoff: float) -> Items:
    """The wanted graphs of a published pickle, with their edges up to the cutoff in Angstrom.

    Raises:
        InputError: the file is not such a pickle.
    """
    path = Path(path)
    index = -1
    for index, graph in enumerate(read_list(path)):
        if wanted.past(index):
            return
        if index not in wanted:
            continue
        where = f"{path}: graph {index}"
        missing = [key for key in KEYS if not isinstance(graph, dict) or key not in graph]
        if missing:
            raise InputError(f"{where}: has no '{missing[0]}', so it is not a pickle of published graphs.")
        try:
            yield index, _edge_frame(graph, cutoff, where)
        except Unusable as problem:
            yield index, problem
        except (ValueError, IndexError, TypeError) as error:
            raise InputError(f"{where}: its arrays do not fit together ({first_line(error)}).") from None
    if index < 0:
        raise InputError(f"{path}: holds no list of graphs.")


def _edge_frame(graph: dict[str, np.ndarray], cutoff: float, where: str) -> EdgeFrame:
    """One published graph; its padded rows hold -1 where an atom has no further neighbour."""
    numbers = np.asarray(graph["_atomic_numbers"]).ravel().astype(np.int64)
    neighbours = np.asarray(graph["_neighbors"]).reshape(len(numbers), -1)
    distance = np.asarray(graph["_distances"]).reshape(neighbours.shape)
    unit = np.asarray(graph["_unit_vecs"]).reshape(*neighbours.shape, 3)
    i, slot = np.nonzero((neighbours >= 0) & (distance < cutoff))
    j, vector = neighbours[i, slot].astype(np.int64), distance[i, slot, None] * unit[i, slot]
    if not len(i):
        raise Unusable(f"{where}: no atom has a neighbour within {cutoff:g} Angstrom.", "no neighbours")
    if j.max() >= len(numbers) or not np.isfinite(vector).all() or numbers.min() < 1 or numbers.max() > 118:
        raise Unusable(f"{where}: a neighbour, an element or a distance is impossible.", "impossible geometry")
    length = distance[i, slot]
    if length.min() < CLOSEST or np.abs(np.linalg.norm(unit[i, slot], axis=1) - 1).max() > NOT_UNIT:
        raise Unusable(
            f"{where}: a distance is not above {CLOSEST:g} Angstrom, or a direction is not a unit vector.",
            "impossible geometry",
        )
    order = np.lexsort((*vector.T[::-1], j, i))
    forces = check_forces(graph["forces"], len(numbers), where)
    return EdgeFrame(numbers, np.stack([i, j])[:, order], np.ascontiguousarray(vector[order]), forces)
