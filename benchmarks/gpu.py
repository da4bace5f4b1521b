"""A GPU beside the CPU: python benchmarks/gpu.py [--sizes N,N] [--rounds N]

For every preset: how far its forces on the GPU are from those on the CPU, without read noise and with it (noise is a
function of key, row and column, so it is the same); whether two equal calls on the GPU agree to the last bit; and times
and peak memory of forces, of a calculator's call and of a training step. Models are untrained; 192 atoms of the
packaged sample, and supercells of it.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import torch
from cases import CUTOFF, batch, calculator_of, graph_of, ready_model, settings_of

from rgnn import Graph, Hardware, kernels
from rgnn.base.rng import torch_stream
from rgnn.models.base import ForceField
from rgnn.training.gradient import GradientFit
from rgnn.training.settings import TrainingSettings

# Presets with the cutoffs that they are used with, in Angstrom.
PRESETS = dict.fromkeys(("default", "published", "gnnff"), CUTOFF) | dict.fromkeys(("moments", "ridge", "energy"), 5.0)


def forces(model: ForceField, g: Graph, hardware: Hardware | None = None) -> torch.Tensor:
    with torch.no_grad():
        return model(g, model.read(hardware, torch_stream(0, "benchmark"))).forces


def timed(work: Callable[[], object], rounds: int) -> str:
    """Median time and peak memory."""
    for _ in range(3):
        work()
    torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(rounds):
        torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return f"{1e3 * np.median(times):.2f} ms, {torch.cuda.max_memory_allocated() / 1e9:.2f} GB"


def agreement(model: ForceField, g: Graph) -> None:
    """Print how far the GPU is from the CPU; leaves the model on the GPU."""
    settings = {"no noise": model.hardware.model_copy(update={"noise": None}), "noise": None}
    expected = {name: forces(model, g, hardware) for name, hardware in settings.items()}
    model.to("cuda")
    g = g.to("cuda")
    for name, hardware in settings.items():
        found, again = (forces(model, g, hardware) for _ in range(2))
        error, size = (found.cpu() - expected[name]).abs(), expected[name].square().mean().sqrt()
        moved = (expected[name] - expected["no noise"]).square().mean().sqrt()
        same = "equal" if torch.equal(found, again) else f"apart by {(found - again).abs().max():.0e}"
        print(
            f"  {name}: GPU less CPU {error.square().mean().sqrt():.1e} rms, {error.max():.1e} at most, of {size:.2f} "
            f"eV/A, which noise moves by {moved:.1e}; two calls are {same}"
        )


def speed(model: ForceField, sizes: list[int], rounds: int) -> None:
    for size in sizes:
        g = graph_of(size, model.settings.cutoff).to("cuda")
        for kind in ("plain", "triton"):
            with kernels.use(kind), suppress(torch.OutOfMemoryError):
                print(f"  forces, {size} atoms, {kind}: {timed(lambda g=g: forces(model, g), rounds)}", flush=True)
            torch.cuda.empty_cache()
    print(f"  calculator, 192 atoms: {timed(calculator_of(model), rounds)}")


def training(preset: str, cutoff: float, rounds: int) -> None:
    frames, losses = batch(4, cutoff).to("cuda"), []
    for _ in range(2):
        trainer = GradientFit(ready_model(settings_of(preset, cutoff)).to("cuda").train(), TrainingSettings(), None)
        losses.append([trainer.step(frames) for _ in range(5)])
    same = "equal" if losses[0] == losses[1] else f"apart by {abs(losses[0][-1] - losses[1][-1]):.0e}"
    print(
        f"  training step, 4 frames: {timed(lambda: trainer.step(frames), rounds)}; two trainings are {same}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="192,1536,12288,98304", help="atoms of the supercells")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--presets", default=",".join(PRESETS))
    arguments = parser.parse_args()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}")
    for preset in arguments.presets.split(","):
        cutoff = PRESETS[preset]
        print(f"{preset}, {cutoff} A", flush=True)
        model = ready_model(settings_of(preset, cutoff))
        agreement(model, graph_of(192, cutoff))
        speed(model, [int(n) for n in arguments.sizes.split(",")], arguments.rounds)
        if not model.settings.is_solved:
            training(preset, cutoff, arguments.rounds)


if __name__ == "__main__":
    main()
