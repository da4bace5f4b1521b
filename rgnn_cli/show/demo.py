"""The four steps of the demo, by the same calls of the library as the commands make."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rgnn.data.store.reader import GraphStore
    from rgnn_cli.session.session import Session


def sample(session: Session, out: Path) -> GraphStore:
    """The packaged sample as a store, and its coldest frame as a structure file."""
    import ase.io

    from rgnn.data.fetch.registry import make_sample_store
    from rgnn.data.sample import sample_structure

    store = make_sample_store(out / "data")
    session.report.say(f"Made: {store.path}, {len(store)} frames of amorphous Li3PO4, labels of CHGNet 0.3.0")
    ase.io.write(out / "structure.xyz", sample_structure(), format="extxyz")
    return store


def training(session: Session, store: GraphStore, out: Path, epochs: int) -> Path:
    """A short training with its curve; the run folder."""
    from rgnn.plots.learning import training_curve
    from rgnn.training.request import train

    with session.listening("Training", "steps") as listener:
        result = train(store, out, bits=4, noise=0.05, epochs=epochs, device=str(session.device), listener=listener)
    best, curve = result.best, training_curve(result.history, out / "training.png")
    session.report.say(
        f"Best model: {out / 'best'} (relative force error on validation frames {100 * best.relative_error:.1f}%); "
        f"curve: {curve}"
    )
    return out


def evaluation(session: Session, model: Path, store: GraphStore, out: Path) -> None:
    """Force errors on the frames held out of training, with all figures."""
    from rgnn.evaluation import Evaluation, plan
    from rgnn.reports.evaluation import write_evaluation
    from rgnn_cli.show.evaluate import introduce, show

    planned = plan(model, store.path, repeats=2, device=session.device)
    introduce(session.report, planned)
    with session.listening("Evaluating", "passes") as listener:
        found = Evaluation(planned, planned.run(listener, keep=out), planned.reliability(listener))
    show(session.report, found, write_evaluation(found, out))


def dynamics(session: Session, structure: Path, model: Path, out: Path, steps: int) -> None:
    """A short run, with its table and figure."""
    from rgnn.md.plan import MDRequest, plan
    from rgnn_cli.show import md as show

    changes = {"steps": steps, "temperature": 300.0}
    request = MDRequest((structure,), model, changes=changes, out=out, overwrite=True)  # the demo has cleared it
    job = plan(request, session.device, session.newest_model)
    show.introduction(session, job)
    with session.listening("Dynamics", "steps") as listener:
        outcomes = job.run(listener)
    show.result(session, job, outcomes)
