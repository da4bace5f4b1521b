"""The figure of training."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.ticker import MaxNLocator

from rgnn.plots import style
from rgnn.training.log import Epoch


def training_curve(history: Sequence[Epoch], path: str | Path) -> Path:
    """Validation error and training loss against the epoch."""
    drawing = style.figure(6, 3.6)
    axes = drawing.subplots()
    epochs = [row.epoch for row in history]
    axes.plot(epochs, [100 * row.relative_error for row in history], "o-", ms=3, color=style.ACCENT)
    axes.set(xlabel="epoch", ylim=(0, None))
    axes.set_ylabel("validation, relative force error (%)", color=style.ACCENT)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    best = min(history, key=lambda row: row.relative_error)
    axes.axvline(best.epoch, color=style.GREY, lw=0.8, ls=":")
    axes.annotate(
        f"best {100 * best.relative_error:.1f}%",
        (best.epoch, 100 * best.relative_error),
        xytext=(-4, 10),
        textcoords="offset points",
        ha="right",
        color=style.ACCENT,
    )
    loss = axes.twinx()
    loss.semilogy(epochs, [row.loss for row in history], color=style.SECOND, lw=1)
    loss.set_ylabel("training loss", color=style.SECOND)
    axes.spines["top"].set_visible(False)
    loss.spines["top"].set_visible(False)
    return style.save(drawing, path)
