"""Exact counts of what a forward pass computes, matrix by matrix."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Workload:
    """A frame: atoms, directed edges, and triplets (i, j, k)."""

    atoms: float
    edges: float
    triplets: float


@dataclass(frozen=True)
class MatrixUse:
    """One matrix, or a part of its inputs that is multiplied for itself, in a pass; `place` is (layer, name)."""

    place: tuple[int, str]
    vectors: float
    inputs: int
    outputs: int

    @property
    def products(self) -> float:
        """Multiply-accumulates."""
        return self.vectors * self.inputs * self.outputs

    @property
    def weights(self) -> int:
        """Number of weights."""
        return self.inputs * self.outputs

    def arrays(self, tile: tuple[int, int]) -> int:
        """Arrays of `tile` inputs and outputs that it is cut into."""
        return -(-self.inputs // tile[0]) * self.sharing(tile)

    def sharing(self, tile: tuple[int, int]) -> int:
        """How many of them share out its outputs, each of which is driven by the same inputs."""
        return -(-self.outputs // tile[1])

    def conversions(self, bits: int, rows: int) -> float:
        """Output conversions: vectors * outputs * bits * ceil(inputs / rows of a tile)."""
        return self.vectors * self.outputs * bits * -(-self.inputs // rows)

    def drives(self, bits: int) -> float:
        """Input lines that may be driven, bit by bit."""
        return self.vectors * self.inputs * bits


@dataclass(frozen=True)
class Elementwise:
    """Operations outside of matrices."""

    multiplies: float = 0.0
    adds: float = 0.0
    lookups: float = 0.0

    def __add__(self, other: "Elementwise") -> "Elementwise":
        return Elementwise(self.multiplies + other.multiplies, self.adds + other.adds, self.lookups + other.lookups)


@dataclass(frozen=True)
class Operations:
    """Of one forward pass.

    Attributes:
        reservoir: matrices with fixed weights, analog on the chip.
        trained: matrices with trained weights, digital.
        elementwise: everything else, digital.
    """

    reservoir: tuple[MatrixUse, ...]
    trained: tuple[MatrixUse, ...]
    elementwise: Elementwise

    @property
    def reservoir_products(self) -> float:
        """Multiply-accumulates on the chip."""
        return sum(use.products for use in self.reservoir)

    @property
    def trained_products(self) -> float:
        """Multiply-accumulates with trained weights."""
        return sum(use.products for use in self.trained)

    @property
    def reservoir_weights(self) -> int:
        """Each once: the two parts of a split matrix are parts of it."""
        return sum(use.weights for use in self.reservoir)
