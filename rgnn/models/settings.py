"""The shapes of models: one settings class for each family, chosen by the key `family`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from rgnn.base.errors import InputError
from rgnn.base.settings import Settings, check_cutoff, require

Envelope = Literal["cosine", "none"]


@dataclass(frozen=True)
class ModelSettings(Settings):
    """The shape of a model, without its weights; the base of the settings of all families.

    A subclass declares `family` with its name as default, and is found by it in files from then on.

    Attributes:
        family: name of the family.
        cutoff: radius of a neighbourhood, Angstrom.
    """

    family: str = ""
    cutoff: float = 3.8

    _known: ClassVar[dict[str, type["ModelSettings"]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        ModelSettings._known[cls.family] = cls

    def __post_init__(self) -> None:
        check_cutoff(self.cutoff)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any] | None, where: str = "model") -> Self:
        """Settings of the family that the mapping names; message passing where it names none.

        Raises:
            InputError: no such family, an unknown key, or a value that makes no sense.
        """
        mapping = of_version_1(mapping or {})
        family = mapping.get("family", MessagePassingSettings.family)
        if family not in cls._known:
            raise InputError(f"{where}.family is {family!r}, but it must be one of {', '.join(cls._known)}.")
        chosen = cls._known[family]
        return super(ModelSettings, chosen).from_mapping(mapping, where)  # type: ignore[return-value]

    def describe(self) -> str:
        """The layers in words, for people."""
        return self.family

    @property
    def uses_chip(self) -> bool:
        """Whether some of the weights are on a chip."""
        return True

    @property
    def recommended_cutoff(self) -> float | None:
        """Cutoff in Angstrom below which the family does worse on all materials tried; None where none is known."""
        return None

    @property
    def is_solved(self) -> bool:
        """Whether all trained weights are solved for in one pass, since forces are linear in them."""
        return False

    def for_elements(self, elements: tuple[int, ...]) -> Self:
        """The settings completed with the elements of the training data, where the family needs to know them."""
        return self


@dataclass(frozen=True)
class MessagePassingSettings(ModelSettings):
    """The shape of an RGNN: message passing over edges and triplets.

    Attributes:
        n_features: width F of node and edge features.
        reservoir_layers: message-passing layers with fixed weights on the chip.
        trained_layers: message-passing layers with trained digital weights, after them. Without reservoir layers the
            model is GNNFF, the all-digital twin.
        envelope: "cosine" multiplies messages and forces by (1 + cos(pi d / cutoff)) / 2, so that forces are
            continuous when a neighbour crosses the cutoff; "none" as published.
    """

    family: str = "message-passing"
    n_features: int = 18
    reservoir_layers: int = 2
    trained_layers: int = 1
    envelope: Envelope = "cosine"

    def __post_init__(self) -> None:
        super().__post_init__()
        f = self.n_features
        require(2 <= f <= 1024 and f % 2 == 0, "n_features", f, "even, 2 to 1024")
        require(0 <= self.reservoir_layers <= 16, "reservoir_layers", self.reservoir_layers, "between 0 and 16")
        require(0 <= self.trained_layers <= 16, "trained_layers", self.trained_layers, "between 0 and 16")
        layers = self.reservoir_layers + self.trained_layers
        require(layers > 0, "reservoir_layers + trained_layers", layers, "at least 1")

    @classmethod
    def published(cls) -> Self:
        """Two reservoir layers, one trained layer, 18 features, 3.8 Angstrom, no envelope (Xu et al. 2025)."""
        return cls(envelope="none")

    @property
    def uses_chip(self) -> bool:
        """Whether there are reservoir layers."""
        return self.reservoir_layers > 0

    @classmethod
    def gnnff(cls) -> Self:
        """Three trained layers and none on a chip: GNNFF (Park et al. 2021)."""
        return cls(reservoir_layers=0, trained_layers=3)

    def describe(self) -> str:
        """The layers in words, for people."""
        return f"{self.reservoir_layers} reservoir + {self.trained_layers} trained layers"


@dataclass(frozen=True)
class ReadoutSettings(Settings):
    """The last layer of a model of moments; the base of its kinds.

    Attributes:
        kind: name of the kind.
    """

    kind: str = ""

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any] | None, where: str = "readout") -> Self:
        """Settings of the kind that the mapping names; "network" where it names none."""
        mapping = mapping or {}
        kinds: dict[str, type[ReadoutSettings]] = {"ridge": RidgeSettings, "network": NetworkSettings}
        kind = mapping.get("kind", "network")
        if kind not in kinds:
            raise InputError(f"{where}.kind is {kind!r}, but it must be one of {', '.join(kinds)}.")
        return super(ReadoutSettings, kinds[kind]).from_mapping(mapping, where)  # type: ignore[return-value]


@dataclass(frozen=True)
class RidgeSettings(ReadoutSettings):
    """Fixed random features on the chip, in which forces are linear; their weights are solved for.

    Attributes:
        random_features: number D of random features.
    """

    kind: str = "ridge"
    random_features: int = 512

    def __post_init__(self) -> None:
        require(self.random_features >= 1, "random_features", self.random_features, "at least 1")


@dataclass(frozen=True)
class NetworkSettings(ReadoutSettings):
    """A small trained digital network.

    Attributes:
        widths: hidden layers.
    """

    kind: str = "network"
    widths: tuple[int, ...] = (64, 32)

    def __post_init__(self) -> None:
        require(min(self.widths, default=0) >= 1, "widths", self.widths, "one or more, each at least 1")


@dataclass(frozen=True)
class MomentSettings(ModelSettings):
    """The shape of a model of moments of neighbourhoods.

    Attributes:
        gaussians: Gaussians of an edge's length.
        channels: channels K of the moments, each read by cells of its own.
        elements: atomic numbers that the model tells apart, ascending; empty is those of the training data.
        envelope: "cosine" or "none", as of message passing.
        readout: what comes after the moments.
    """

    family: str = "moments"
    gaussians: int = 36
    channels: int = 64
    elements: tuple[int, ...] = ()
    envelope: Envelope = "cosine"
    readout: ReadoutSettings = NetworkSettings()

    def __post_init__(self) -> None:
        super().__post_init__()
        require(2 <= self.gaussians <= 1024, "gaussians", self.gaussians, "between 2 and 1024")
        require(1 <= self.channels <= 1024, "channels", self.channels, "between 1 and 1024")
        known = all(0 < z < 120 for z in self.elements) and list(self.elements) == sorted(set(self.elements))
        require(known, "elements", self.elements, "atomic numbers in ascending order")

    @classmethod
    def network(cls) -> Self:
        """64 channels and a trained network."""
        return cls()

    @classmethod
    def ridge(cls) -> Self:
        """32 channels and weights that are solved for."""
        return cls(channels=32, readout=RidgeSettings())

    @property
    def recommended_cutoff(self) -> float:
        """5 Angstrom, see docs/learning.md."""
        return 5.0

    @property
    def is_solved(self) -> bool:
        """Whether the readout is a ridge."""
        return isinstance(self.readout, RidgeSettings)

    @property
    def invariants(self) -> int:
        """X, what is known of an edge: its Gaussians and three ranks of moments at either end."""
        return self.gaussians + 6 * self.channels

    def require_elements(self) -> None:
        """Raise InputError where no elements are named."""
        require(bool(self.elements), "elements", self.elements, "known to a model with moments")

    def describe(self) -> str:
        """The layers in words, for people."""
        r = self.readout
        ridge = isinstance(r, RidgeSettings)
        size = f"{r.random_features} random features" if ridge else f"hidden {list(r.widths)}"  # type: ignore
        return f"{self.channels} channels of moments, {r.kind} readout with {size}"

    def for_elements(self, elements: tuple[int, ...]) -> Self:
        """The settings with these elements where none are named.

        Raises:
            InputError: the elements are named, and do not include one of these.
        """
        if strange := set(elements) - set(self.elements or elements):
            raise InputError(
                f"the model has no rows for the elements {sorted(strange)} ({self.elements}); "
                "name all elements in the model's settings."
            )
        return self if self.elements else self.replace(elements=elements)


def of_version_1(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings as rgnn 0.1 wrote them before there were families, under today's keys; others as they are."""
    if "family" in mapping or "moments" not in mapping:
        return mapping
    old = dict(mapping)
    moments, readout = old.pop("moments"), old.pop("readout", "head")
    elements, features, widths = old.pop("elements", []), old.pop("random_features", 512), old.pop("widths", [64, 32])
    if not moments:
        return {"family": MessagePassingSettings.family, **old}
    last = (
        {"kind": "ridge", "random_features": features} if readout == "ridge" else {"kind": "network", "widths": widths}
    )
    kept: dict[str, Any] = {key: old[key] for key in ("cutoff", "envelope") if key in old}
    more = {"gaussians": old.get("n_features", 18), "channels": moments, "elements": elements, "readout": last}
    return {"family": MomentSettings.family, **kept, **more}
