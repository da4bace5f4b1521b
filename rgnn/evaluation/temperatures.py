"""Frames by their temperature: that of their thermostat where it is known, else that of the motion of their atoms."""

import numpy as np

# End of the names of groups whose temperature is that of the velocities.
OF_VELOCITIES = " (velocities)"
# Temperatures that are shown each for itself; more are put together.
MOST = 12
# Groups that many temperatures are put into at most, and the widths that these may have, K.
GROUPS = 8
WIDTHS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)


def temperature_groups(thermostat: np.ndarray, kinetic: np.ndarray) -> dict[str, list[int]]:
    """Places of the frames of each temperature, such as "300 K", or of each range, such as "400-500 K", in order.

    Args:
        thermostat: [frames] K as the files say; NaN where they do not.
        kinetic: [frames] K of the velocities; counts only of frames whose thermostat is unknown, which are named as in
            "400-500 K (velocities)". NaN where it is unknown too.
    """
    stated = np.flatnonzero(~np.isnan(thermostat))
    moving = np.flatnonzero(np.isnan(thermostat) & ~np.isnan(kinetic))
    return {**_grouped(thermostat, stated, ""), **_grouped(kinetic, moving, OF_VELOCITIES)}


def _grouped(kelvin: np.ndarray, places: np.ndarray, ending: str) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    if not len(places):
        return found
    mine = kelvin[places]
    if len(np.unique(mine)) <= MOST and not ending:
        for t in np.unique(mine).tolist():
            found[f"{t:g} K"] = places[mine == t].tolist()
        return found
    span = float(np.ptp(mine))
    width = next((w for w in WIDTHS if span / w <= GROUPS - 1), WIDTHS[-1])
    number = np.floor(mine / width).astype(int)
    for k in np.unique(number).tolist():
        found[f"{k * width}-{(k + 1) * width} K{ending}"] = places[number == k].tolist()
    return found
