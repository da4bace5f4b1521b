"""Speed and memory of forces and training steps: python benchmarks/speed.py [--threads N] [--repeats N]

One frame of the packaged sample (192 atoms, about 4,100 edges and 90,000 triplets). Medians, with the quickest and
the slowest tenth beside them, all rows interleaved in one process so that a busy machine disturbs them alike. The
floor of a row is its dense algebra alone, measured in the same rounds: the products with W5 of all triplets, one
without noise and two with read noise, in both reservoir layers; a training step on two frames does them twice.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from rgnn import RGNN, Chip, Graph, Hardware
from rgnn.config import ModelConfig
from rgnn.neighbours import neighbour_list
from rgnn.runs import RunConfig
from rgnn.sample import sample_frames
from rgnn.streams import torch_stream
from rgnn.training import TrainConfig, Trainer


@dataclass
class Row:
    """One thing that is measured; `floor` names the row it is compared with."""

    name: str
    run: Callable[[], object]
    floor: str | None = None
    seconds: list[float] = field(default_factory=list)


def ready_model(config: ModelConfig, hardware: Hardware, g: Graph) -> RGNN:
    model = RGNN(config, hardware, Chip.synthetic().matrices(RGNN.shapes(config)))
    with torch.no_grad():
        model.train()(g)
    return model.eval()


def rows() -> list[Row]:
    frames = [f for f, _ in zip(sample_frames(), range(2), strict=False)]
    graphs = [Graph.from_positions(f.numbers, f.positions, f.cell, f.pbc, 3.8, f.forces) for f in frames]
    one, two = graphs[0], Graph.batch(graphs)
    print(
        f"{one.n_atoms} atoms, {one.n_edges} edges, {one.whole.plan.n_triplets} triplets; "
        f"{torch.get_num_threads()} threads"
    )

    h, w = torch.randint(0, 256, (4096, 180)).float(), torch.randn(36, 180)
    blocks = round(one.whole.plan.n_triplets / 4096)

    def products(n: int) -> Callable[[], None]:
        def run() -> None:
            for _ in range(n * blocks):
                torch.mm(h, w.T)

        return run

    def forces(model: RGNN, hardware: Hardware | None = None) -> Callable[[], object]:
        model = model.eval()

        def run() -> object:
            with torch.no_grad():
                return model(one, hardware, torch_stream(0, "benchmark"))

        return run

    def training(config: RunConfig) -> Callable[[], object]:
        trainer = Trainer(ready_model(config.model, config.hardware, one), TrainConfig(), None)
        return lambda: trainer.step(two)

    model = ready_model(ModelConfig(), Hardware(), one)
    published, digital = RunConfig.preset("published"), RunConfig.preset("gnnff")
    f = frames[0]
    return [
        Row("products, no noise", products(2)),
        Row("products, read noise", products(4)),
        Row("products, two frames", products(8)),
        Row("neighbour search", lambda: neighbour_list(f.positions, f.cell, f.pbc, 3.8)),
        Row("forces, 8 bits, no noise", forces(model, Hardware(noise=None)), "products, no noise"),
        Row("forces, 8 bits, 5% read noise", forces(model), "products, read noise"),
        Row("forces, 4 bits, 5% read noise", forces(model, Hardware(bits=4)), "products, read noise"),
        Row("forces, published settings", forces(ready_model(published.model, published.hardware, one))),
        Row("forces, GNNFF (all digital)", forces(ready_model(digital.model, digital.hardware, one))),
        Row("training step, 2 frames", training(RunConfig()), "products, two frames"),
        Row("training step, 2 frames, GNNFF", training(digital)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    table = rows()
    for repeat in range(options.repeats + 2):
        for row in table:
            began = time.perf_counter()
            row.run()
            if repeat >= 2:
                row.seconds.append(time.perf_counter() - began)
    medians = {row.name: float(np.median(row.seconds)) for row in table}
    print(f"{'':32}{'median ms':>10}{'10% to 90%':>16}{'x floor':>9}")
    for row in table:
        low, high = np.quantile(row.seconds, [0.1, 0.9])
        ratio = f"{medians[row.name] / medians[row.floor]:.1f}" if row.floor else ""
        print(f"{row.name:32}{1e3 * medians[row.name]:10.1f}{f'{1e3 * low:.1f} to {1e3 * high:.1f}':>16}{ratio:>9}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)
    print(f"peak memory of the process: {peak:.2f} GB")


if __name__ == "__main__":
    main()
