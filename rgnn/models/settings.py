"""The shapes of models: one settings class for each family, chosen by the key `family`."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from rgnn.base.choices import Envelope, Preset, ShortRange
from rgnn.base.errors import InputError
from rgnn.base.settings import Must, Number, Variants, Whole, require


def _positive(widths: tuple[int, ...]) -> tuple[int, ...]:
    if min(widths, default=0) < 1:
        raise Must("one or more, each at least 1")
    return widths


# Of the hidden layers of a perceptron.
Widths = Annotated[tuple[Whole, ...], AfterValidator(_positive)]


class ModelSettings(Variants):
    """The shape of a model, without its weights; the base of the settings of all families.

    A subclass declares `family` as a Literal with its name as default, and is found by it in files from then on.
    """

    tag: ClassVar[str] = "family"
    usual: ClassVar[str] = "message-passing"

    family: str = ""
    """Name of the family."""
    cutoff: Number = Field(default=3.8, gt=0.5, le=20, json_schema_extra={"unit": "Angstrom"})
    """Radius of a neighbourhood, Å."""
    repulsion: ShortRange = "none"
    """Repulsion of nuclei at distances that no training frame has: "zbl" (Ziegler, Biersack and Littmark 1985), or
    "none" as published. It is digital, and zero on the training frames."""

    @classmethod
    def _upgraded(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        return of_version_1(values)

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

    @property
    def training_preset(self) -> Preset:
        """Name of the preset whose way of training suits such a model."""
        return "default"

    def for_elements(self, elements: tuple[int, ...]) -> Self:
        """The settings completed with the elements of the training data, where the family needs to know them."""
        return self

    def with_elements(self, more: tuple[int, ...]) -> Self:
        """The settings of the same model for further elements, where the family needs to know them."""
        return self

    def narrower(self) -> Iterator[Self]:
        """The same model with ever fewer weights on the chip, step by step."""
        yield from ()


class MessagePassingSettings(ModelSettings):
    """The shape of an RGNN: message passing over edges and triplets."""

    family: Literal["message-passing"] = "message-passing"
    """Name of the family."""
    n_features: Whole = Field(default=18, ge=2, le=1024)
    """Width F of node and edge features, an even number."""
    reservoir_layers: Whole = Field(default=2, ge=0, le=16)
    """Number of message-passing layers with fixed weights on the chip."""
    trained_layers: Whole = Field(default=1, ge=0, le=16)
    """Number of message-passing layers with trained digital weights, after those on the chip. Without layers on the
    chip the model is GNNFF, the all-digital twin."""
    envelope: Envelope = "cosine"
    """Envelope of messages and forces: "cosine" multiplies them by (1 + cos(pi d / cutoff)) / 2, so that forces are
    continuous when a neighbour crosses the cutoff; "none" as published."""

    @field_validator("n_features")
    @classmethod
    def _even(cls, number: int) -> int:
        if number % 2:
            raise Must("even, 2 to 1024")
        return number

    @model_validator(mode="after")
    def _has_layers(self) -> Self:
        layers = self.reservoir_layers + self.trained_layers
        require(layers > 0, "reservoir_layers + trained_layers", layers, "at least 1")
        return self

    @classmethod
    def published(cls) -> Self:
        """Two reservoir layers, one trained layer, 18 features, 3.8 Angstrom, no envelope (Xu et al. 2025)."""
        return cls(envelope="none")

    @property
    def uses_chip(self) -> bool:
        """Whether there are reservoir layers."""
        return self.reservoir_layers > 0

    def narrower(self) -> Iterator[Self]:
        """Fewer features, down to 4; then fewer reservoir layers of 4 features."""
        for features in range(self.n_features - 2, 2, -2):
            yield self.override(n_features=features)
        for layers in range(self.reservoir_layers - 1, 0, -1):
            yield self.override(n_features=min(4, self.n_features), reservoir_layers=layers)

    @classmethod
    def gnnff(cls) -> Self:
        """Three trained layers and none on a chip: GNNFF (Park et al. 2021)."""
        return cls(reservoir_layers=0, trained_layers=3)

    def describe(self) -> str:
        """The layers in words, for people."""
        return f"{self.reservoir_layers} reservoir + {self.trained_layers} trained layers"


class ReadoutSettings(Variants):
    """The last layer of a model of moments; the base of its kinds."""

    tag: ClassVar[str] = "kind"
    usual: ClassVar[str] = "network"

    kind: str = ""
    """Name of the kind."""


class RidgeSettings(ReadoutSettings):
    """Fixed random features on the chip, in which forces are linear; their weights are solved for."""

    kind: Literal["ridge"] = "ridge"
    """Name of the kind."""
    random_features: Whole = Field(default=512, ge=1)
    """Number D of random features."""


class NetworkSettings(ReadoutSettings):
    """A small trained digital network."""

    kind: Literal["network"] = "network"
    """Name of the kind."""
    widths: Widths = (64, 32)
    """Widths of the hidden layers."""


class NeighbourhoodSettings(ModelSettings):
    """What models that read moments of neighbourhoods from the chip have in common."""

    gaussians: Whole = Field(default=36, ge=2, le=1024)
    """Number of Gaussians that an edge's length is expanded in."""
    channels: Whole = Field(default=64, ge=1, le=1024)
    """Number K of channels of the moments, each read by separate cells."""
    elements: tuple[Whole, ...] = ()
    """Atomic numbers that the model distinguishes, ascending; empty is those of the training data."""

    @field_validator("elements")
    @classmethod
    def _ascending(cls, elements: tuple[int, ...]) -> tuple[int, ...]:
        if not all(0 < z < 120 for z in elements) or list(elements) != sorted(set(elements)):
            raise Must("atomic numbers in ascending order")
        return elements

    @property
    def training_preset(self) -> Preset:
        """That of moments, which take few milliseconds a step."""
        return "moments"

    @property
    def recommended_cutoff(self) -> float:
        """5 Angstrom, see docs/learning.md."""
        return 5.0

    def narrower(self) -> Iterator[Self]:
        """Fewer channels, down to 4."""
        for channels in range(self.channels - 1, 3, -1):
            yield self.override(channels=channels)

    def require_elements(self) -> None:
        """Raise InputError where no elements are named."""
        require(bool(self.elements), "elements", self.elements, "known to a model with moments")

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
        return self if self.elements else self.override(elements=elements)

    def with_elements(self, more: tuple[int, ...]) -> Self:
        """The settings with rows for these elements, too."""
        return self.override(elements=tuple(sorted({*self.elements, *more})))


class EnergySettings(NeighbourhoodSettings):
    """The shape of a model of energies, whose forces and stress are derivatives."""

    family: Literal["energy"] = "energy"
    """Name of the family."""
    mixtures: Whole = Field(default=48, ge=1, le=1024)
    """Number H of trained mixtures of the channels, separate for each element and rank."""
    widths: Widths = (64, 32)
    """Widths of the hidden layers of the digital part."""
    features: Whole = Field(default=16, ge=1, le=1024)
    """Number F of features of each rank that an atom sends to its neighbours."""

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        require(self.cutoff > 1, "cutoff", self.cutoff, "above 1 for a model of energies, whose Gaussians begin at 0.8")
        return self

    @property
    def training_preset(self) -> Preset:
        """That of energies."""
        return "energy"

    def describe(self) -> str:
        """The layers in words, for people."""
        first = f"energy of {self.channels} channels of moments, {self.mixtures} mixtures"
        return f"{first}, hidden {list(self.widths)}, messages of {self.features} features"


class MomentSettings(NeighbourhoodSettings):
    """The shape of a model of moments of neighbourhoods."""

    family: Literal["moments"] = "moments"
    """Name of the family."""
    envelope: Envelope = "cosine"
    """Envelope of an edge's contribution: "cosine" or "none", as of message passing."""
    readout: ReadoutSettings = NetworkSettings()
    """Last layer, after the moments."""

    @classmethod
    def network(cls) -> Self:
        """64 channels and a trained network."""
        return cls()

    @classmethod
    def ridge(cls) -> Self:
        """32 channels and weights that are solved for."""
        return cls(channels=32, readout=RidgeSettings())

    @property
    def is_solved(self) -> bool:
        """Whether the readout is a ridge."""
        return isinstance(self.readout, RidgeSettings)

    @property
    def invariants(self) -> int:
        """X, what is known of an edge: its Gaussians and three ranks of moments at either end."""
        return self.gaussians + 6 * self.channels

    def narrower(self) -> Iterator[Self]:
        """Fewer random features of a ridge readout, down to 64; then fewer channels, down to 4."""
        narrow: Self = self
        if isinstance(self.readout, RidgeSettings):
            for features in range(self.readout.random_features - 16, 63, -16):
                narrow = self.override(readout=RidgeSettings(random_features=features))
                yield narrow
        yield from super(MomentSettings, narrow).narrower()

    def describe(self) -> str:
        """The layers in words, for people."""
        r = self.readout
        ridge = isinstance(r, RidgeSettings)
        size = f"{r.random_features} random features" if ridge else f"hidden {list(r.widths)}"  # type: ignore
        return f"{self.channels} channels of moments, {r.kind} readout with {size}"


def of_version_1(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings as rgnn 0.1 wrote them before there were families, under today's keys; others as they are."""
    if "family" in mapping or "moments" not in mapping:
        return mapping
    old = dict(mapping)
    moments, readout = old.pop("moments"), old.pop("readout", "head")
    elements, features, widths = old.pop("elements", []), old.pop("random_features", 512), old.pop("widths", [64, 32])
    if not moments:
        return {"family": "message-passing", **old}
    last = (
        {"kind": "ridge", "random_features": features} if readout == "ridge" else {"kind": "network", "widths": widths}
    )
    kept: dict[str, Any] = {key: old[key] for key in ("cutoff", "envelope") if key in old}
    more = {"gaussians": old.get("n_features", 18), "channels": moments, "elements": elements, "readout": last}
    return {"family": "moments", **kept, **more}
