"""What effects of the hardware cost a force call: python benchmarks/effects.py [--rounds N] [--threads N]

192 atoms of the packaged sample, untrained models of the presets moments and default with the ranges of that frame,
8 bits and 5% read noise. Every round runs all cases in turns, each by the kernels that rgnn chooses and by the plain
ones; the smallest times are shown, since other work can only add. The floor of converted sums is their matrix
products alone: the rows of a pass, each as often as it has bit planes, times weights and variances in float32.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch
from cases import graph_of, ready_model

from rgnn import kernels
from rgnn.base.rng import torch_stream
from rgnn.training.run import RunSettings

ERRORS = {"adc_bits": 8, "adc_gain": 0.02, "adc_offset": 0.5, "adc_nonlinearity": 0.5}
CASES: dict[str, dict[str, object]] = {
    "no effect": {},
    "wires of 1 ohm": {"wire_resistance": 1.0},
    "4 slices of 2 bits": {"slices": 4, "slice_bits": 2},
    "1/f noise": {"slow_noise": 0.02},
    "noise of a bit plane shared by all rows": {"noise_sharing": "plane"},
    "8-bit converters": {"adc_bits": 8},
    "8-bit converters with errors": ERRORS,
    "8-bit converters with errors, calibrated": {**ERRORS, "adc_calibration": "linear"},
    "4 slices, 8-bit converters": {"slices": 4, "slice_bits": 2, "adc_bits": 8, "adc_range": "full"},
}
PRESETS = ("moments", "default")


def work_of(preset: str, changes: dict[str, object], by: str | None) -> Callable[[], object]:
    """A force call."""
    config = RunSettings() if preset == "default" else RunSettings.preset(preset)
    config = replace_hardware(config, changes)
    model, g = ready_model(config), graph_of()

    def run() -> object:
        with torch.no_grad(), kernels.use(by) if by else nullcontext():
            return model(g, model.read(None, torch_stream(0, "benchmark"))).forces

    return run


def replace_hardware(config: RunSettings, changes: dict[str, object]) -> RunSettings:
    """The run on other hardware."""
    return config.override(hardware=config.hardware.override(**changes))


def smallest(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of each, which take turns; the first round only warms up."""
    found = dict.fromkeys(works, float("inf"))
    for number in range(rounds + 1):
        for name, work in works.items():
            began = time.process_time()
            work()
            if number:
                found[name] = min(found[name], time.process_time() - began)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for preset in PRESETS:
        works = {
            f"{name}|{by or ''}": work_of(preset, changes, by)
            for name, changes in CASES.items()
            for by in (None, "plain")
        }
        found = smallest(works, options.rounds)
        print(f"\n{preset + ', ms':44}{'rgnn':>8}{'plain kernels':>15}")
        for name in CASES:
            print(f"{name:44}{1e3 * found[name + '|']:8.1f}{1e3 * found[name + '|plain']:15.1f}", flush=True)


if __name__ == "__main__":
    main()
