"""The README's figure: python benchmarks/readme_figure.py MODEL STORE MD_RUN LABELLED.xyz TEMPERATURE

Left: predicted against labelled force components on the frames of STORE, as trained. Right: radial
distributions of the second half of MD_RUN against those of the labelled frames at TEMPERATURE (K), with
the positions of their first peaks, which are printed too.
"""

import sys
from pathlib import Path

import ase.io
import numpy as np
from ase.data import chemical_symbols

from rgnn import GraphStore, load_model
from rgnn.analysis.observables import radial_distribution
from rgnn.base.estimate import evenly
from rgnn.evaluation import predict
from rgnn.plots import style
from rgnn.plots.dynamics import second_half

OUT = Path(__file__).parents[1] / "docs" / "result.png"
PAIRS = ((8, 15), (3, 8), (8, 8))


def main(model_path: str, store_path: str, run: str, labelled: str, temperature: float) -> None:
    model, store = load_model(model_path), GraphStore(store_path)
    drawing = style.figure(10, 4)
    left, right = drawing.subplots(1, 2, width_ratios=[1, 1.5])

    predictions, labels, numbers = [], [], []
    for index in evenly(range(len(store)), 40):
        g = store.graph(index)
        predictions.append(predict(model, g, model.hardware, 0, index, 0))
        labels.append(g.forces.numpy())
        numbers.append(g.atomic_numbers.numpy())
    x, y, z = np.concatenate(labels), np.concatenate(predictions), np.concatenate(numbers)
    limit = 1.02 * np.abs(x).max()
    left.plot([-limit, limit], [-limit, limit], color=style.GREY, lw=0.8)
    for element in np.unique(z):
        mine, colour = z == element, style.element_colour(int(element))
        name = chemical_symbols[element]
        left.plot(x[mine].ravel(), y[mine].ravel(), ".", ms=1.5, alpha=0.4, color=colour, rasterized=True)
        left.plot([], [], "o", color=colour, label=name)
    left.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    left.set(xlabel="CHGNet force (eV/Å)", ylabel="predicted (eV/Å)", title=model.hardware.describe())
    left.legend(frameon=False)

    frames = [a for a in ase.io.read(labelled, ":") if a.info["temperature"] == temperature]
    ours, theirs = radial_distribution(second_half(run)), radial_distribution(frames)
    for pair in PAIRS:
        name = "-".join(chemical_symbols[k] for k in pair)
        colour = style.element_colour(next((k for k in pair if k != 8), 8))
        a, b = ours.first_peak(pair), theirs.first_peak(pair)
        print(f"{name}: first peak {a:.3f} Å, labelled frames {b:.3f} Å, difference {a - b:+.3f} Å")
        right.plot(theirs.r, theirs.of(pair), color=colour, lw=3, alpha=0.25)
        right.plot(ours.r, ours.of(pair), color=colour, lw=1, label=f"{name}: {a:.2f} Å ({b:.2f} Å)")
    right.set(xlabel="r (Å)", ylabel="g(r)", xlim=(1, 6), title=f"{temperature:g} K; pale: CHGNet dynamics")
    right.set_ylim(bottom=0)
    right.legend(frameon=False, title="first peak (CHGNet)")
    for axes in (left, right):
        style.tidy(axes)
    print(style.save(drawing, OUT))


if __name__ == "__main__":
    main(*sys.argv[1:5], float(sys.argv[5]))
