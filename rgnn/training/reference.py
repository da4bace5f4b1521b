"""What the best preset has reached beside the published architecture, as a reference for those who train the latter."""

from dataclasses import dataclass

from rgnn.base.choices import Preset


@dataclass(frozen=True)
class Reference:
    """Relative force errors on 200 frames of a sample of Li3PO4 that no training frame is of.

    Attributes:
        material: of the frames, and whose labels they carry.
        preset: name of the best one.
        error: it reaches, as a fraction, after `minutes` of one core.
        published: the error of the published architecture, after `published_minutes`.
    """

    material: str
    preset: Preset
    error: float
    minutes: float
    published: float
    published_minutes: float


# docs/energy.md and docs/learning.md, "What was measured" and "What is reached": 8 bits and 5% read noise.
BEST = Reference("Li3PO4 (labels of CHGNet, not DFT)", "energy", 0.0819, 10, 0.1353, 12)
