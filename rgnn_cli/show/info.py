"""Words for what `rgnn info` and the commands that make a store say of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rgnn.data.store.summary import StoreSummary

# More temperatures than these are shown as a range.
LISTED = 12


def store_facts(summary: StoreSummary) -> dict[str, str]:
    """Names and values of a table that describes a graph store."""
    s = summary
    few, many = s.smallest_frame_atoms, s.largest_frame_atoms
    facts = {
        "frames": f"{s.frames:,}",
        "atoms in a frame": f"{few}" if few == many else f"{few} to {many}",
        "elements": ", ".join(f"{symbol} {count:,}" for symbol, count in s.elements.items()),
        "cutoff": f"{s.cutoff_angstrom:g} Å",
        "neighbours": f"{s.mean_neighbours:.1f} of an atom on average, {s.fewest_neighbours} to {s.most_neighbours}",
        "force": f"{s.force_rms_ev_per_angstrom:.3f} eV/Å root mean square of a component",
        "temperatures": _temperatures(s.temperatures_kelvin),
        "sources": ", ".join(f"{source.name} ({source.frames})" for source in s.sources),
    }
    if labels := {source.labels for source in s.sources if source.labels}:
        facts["labels"] = ", ".join(sorted(labels))
    if s.left_out:
        facts["left out"] = ", ".join(f"{count} {reason}" for reason, count in s.left_out.most_common())
    if s.unfinished:
        facts["unfinished"] = "an append broke off; run the same command again to complete it"
    return facts


def _temperatures(frames: Mapping[float, int]) -> str:
    if not frames:
        return "not recorded"
    if len(frames) > LISTED:
        return f"{min(frames):g} to {max(frames):g} K"
    return ", ".join(f"{t:g} K: {count}" for t, count in frames.items())
