"""Settings."""

from dataclasses import dataclass
from typing import Literal, Self

from rgnn.base.settings import Settings, check_cutoff, require


@dataclass(frozen=True)
class ModelConfig(Settings):
    """The shape of a model.

    Attributes:
        cutoff: radius of a neighbourhood in Angstrom.
        n_features: width F of node and edge features.
        reservoir_layers: message-passing layers with fixed weights on the chip.
        trained_layers: message-passing layers with trained digital weights, after them. With no
            reservoir layers the model is GNNFF, the all-digital twin.
        envelope: "cosine" multiplies messages and forces by (1 + cos(pi d / cutoff)) / 2, so forces
            are continuous when a neighbour crosses the cutoff; "none" as published.
        moments: channels K of the moments of neighbourhoods, in place of message passing; 0 is none.
        elements: atomic numbers the moments tell apart; empty is those of the store.
        readout: "head" after message passing; after moments "ridge", fixed random features on the chip with weights
            solved for, or "network", trained.
        random_features: D of the ridge readout.
        widths: hidden layers of the network readout.
    """

    cutoff: float = 3.8
    n_features: int = 18
    reservoir_layers: int = 2
    trained_layers: int = 1
    envelope: Literal["cosine", "none"] = "cosine"
    moments: int = 0
    elements: tuple[int, ...] = ()
    readout: Literal["head", "ridge", "network"] = "head"
    random_features: int = 512
    widths: tuple[int, ...] = (64, 32)

    def __post_init__(self) -> None:
        check_cutoff(self.cutoff)
        require(
            2 <= self.n_features <= 1024 and self.n_features % 2 == 0, "n_features", self.n_features, "even, 2 to 1024"
        )
        require(0 <= self.reservoir_layers <= 16, "reservoir_layers", self.reservoir_layers, "between 0 and 16")
        require(0 <= self.trained_layers <= 16, "trained_layers", self.trained_layers, "between 0 and 16")
        layers = self.reservoir_layers + self.trained_layers
        require(0 <= self.moments <= 1024, "moments", self.moments, "between 0 and 1024")
        if self.moments:
            require(layers == 0, "reservoir_layers + trained_layers", layers, "0 with moments")
            require(self.readout != "head", "readout", self.readout, "ridge or network with moments")
        else:
            require(layers > 0, "reservoir_layers + trained_layers", 0, "at least 1 without moments")
            require(self.readout == "head", "readout", self.readout, "head without moments")
        known = all(0 < z < 120 for z in self.elements) and list(self.elements) == sorted(set(self.elements))
        require(known, "elements", self.elements, "atomic numbers in ascending order")
        require(self.random_features >= 1, "random_features", self.random_features, "at least 1")
        require(min(self.widths, default=0) >= 1, "widths", self.widths, "one or more, each at least 1")

    @classmethod
    def published(cls) -> Self:
        """Two reservoir layers, one trained layer, 18 features, 3.8 Angstrom, no envelope."""
        return cls(envelope="none")

    @classmethod
    def of_moments(cls, readout: Literal["ridge", "network"]) -> Self:
        """Moments of neighbourhoods and no message passing."""
        channels = 64 if readout == "network" else 32
        return cls(n_features=36, reservoir_layers=0, trained_layers=0, moments=channels, readout=readout)

    @property
    def invariants(self) -> int:
        """X, what is known of an edge with moments: its Gaussians and three ranks of moments at either end."""
        return self.n_features + 6 * self.moments

    def describe(self) -> str:
        """Its layers in words."""
        if not self.moments:
            return f"{self.reservoir_layers} reservoir + {self.trained_layers} trained layers"
        size = f"{self.random_features} random features" if self.readout == "ridge" else f"hidden {list(self.widths)}"
        return f"{self.moments} channels of moments, {self.readout} readout with {size}"

    @property
    def uses_chip(self) -> bool:
        """Whether some of its weights are on a chip."""
        return self.reservoir_layers > 0 or self.moments > 0

    @property
    def receptive_field(self) -> float:
        """Distance in Angstrom beyond which nothing changes an atom's force: (2 L + 1) cutoffs, with moments 2."""
        if self.moments:
            return 2 * self.cutoff
        return (2 * (self.reservoir_layers + self.trained_layers) + 1) * self.cutoff
