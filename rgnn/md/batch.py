"""Independent runs stepped together, the forces of all of them from one call of the model for each step.

Each run has its own integrator, outputs and restart, and a thread in which it waits for its forces; one other
thread, the caller's, evaluates the model. So nothing of a run is written twice for batches.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from ase import Atoms

from rgnn.base.errors import BrokenRunError, InputError, Interrupted, LostBoard
from rgnn.base.events import SILENT, Listener, Named
from rgnn.base.rng import torch_stream
from rgnn.base.run_folder import held
from rgnn.calculator import RGNNCalculator
from rgnn.chip.hardware import Hardware
from rgnn.chip.slow import Moment
from rgnn.graphs.graph import Graph
from rgnn.md.run import prepare_run
from rgnn.models.base import ForceField
from rgnn.models.inference import Arrays, predict
from rgnn.models.uncertainty import Uncertainty

if TYPE_CHECKING:
    from rgnn.md.settings import MDResult, MDSettings, RunOrigin


@dataclass(frozen=True)
class ForceRequest:
    """What a run asks of the model: the forces of a graph in its call of this number, with the seed of its noise.

    `estimates` asks for their uncertainty as well.
    """

    graph: Graph
    seed: int
    call: int
    estimates: bool = False


class BatchServer:
    """Where runs meet: waits until every live run has asked for its forces, and answers all of them at once."""

    def __init__(self, model: ForceField, n_runs: int, uncertainty: Uncertainty | None = None) -> None:
        self.model, self.uncertainty = model, uncertainty
        self.live = set(range(n_runs))
        self.steps, self.notes = [0] * n_runs, [""] * n_runs
        self.stopping = False
        self._changed = threading.Condition()
        self._asked: dict[int, ForceRequest] = {}
        self._answers: dict[int, Arrays] = {}
        self._failure: BaseException | None = None
        self._batch: tuple[list[Graph], Graph] | None = None

    def ask(self, number: int, question: ForceRequest) -> Arrays:
        """What `RGNNCalculator.evaluate` gives for the run of this number, in the run's thread."""
        with self._changed:
            self._asked[number] = question
            self._changed.notify_all()
            self._changed.wait_for(lambda: number in self._answers or self._failure is not None)
            if isinstance(self._failure, LostBoard):
                raise LostBoard(str(self._failure))
            if self._failure is not None:
                raise Interrupted("the batch was given up.")
            return self._answers.pop(number)

    def leave(self, number: int) -> None:
        """The run of this number asks no more."""
        with self._changed:
            self.live.discard(number)
            self._changed.notify_all()

    def serve(self, hardware: Hardware, total: int, listener: Listener) -> None:
        """Answer until no run is left; the listener is asked once for all runs, so that all stop at the same step."""
        begun = max(self.steps)
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._asked.keys() >= self.live)
                    if not self.live:
                        return
                    asked, self._asked = dict(sorted(self._asked.items())), {}
                answers = self._evaluate(asked, hardware)
                self.stopping = self.stopping or listener.stop()
                slowest = min(asked, key=lambda k: self.steps[k])
                if self.steps[slowest] > begun:
                    listener.progress(self.steps[slowest], total, self.notes[slowest])
                with self._changed:
                    self._answers.update(answers)
                    self._changed.notify_all()
        except BaseException as error:
            with self._changed:
                self._failure = error
                self._changed.notify_all()
            raise

    def _evaluate(self, asked: Mapping[int, ForceRequest], hardware: Hardware) -> dict[int, Arrays]:
        """By one call of the model, unless its arrays look at all the rows at once and would mix the runs.

        So they do where what they hold depends on the number of the call, which each run counts for itself.
        """
        questions = list(asked.values())
        mixes = self.model.uses_chip and (not hardware.rows_are_independent or hardware.follows_calls)
        groups = [[q] for q in questions] if mixes else [questions]
        answers = list[Arrays]()
        for group in groups:
            g = self._joined([q.graph for q in group])
            key = [group[0].call] if len(group) == 1 else [n for q in group for n in (q.seed, q.call)]
            noise = torch_stream(group[0].seed, "md noise", *key)
            uncertainty = self.uncertainty if any(q.estimates for q in group) else None
            reading = self.model.read(hardware, noise, moment=Moment(group[0].seed, group[0].call))
            answers += _shares(predict(self.model, g, reading, uncertainty), group)
        return dict(zip(asked, answers, strict=True))

    def _joined(self, graphs: list[Graph]) -> Graph:
        """One graph of all; the last one with other vectors where no edge has come or gone."""
        if len(graphs) == 1:
            return graphs[0]
        if self._batch is not None:
            before, whole = self._batch
            if len(before) == len(graphs) and all(
                a.topology is b.topology for a, b in zip(before, graphs, strict=True)
            ):
                volumes = None if whole.volume is None else _volumes(graphs)
                whole = whole.moved(torch.cat([g.edge_vector for g in graphs]), volumes)
                self._batch = graphs, whole
                return whole
        self._batch = graphs, Graph.batch(graphs)
        return self._batch[1]


def _volumes(graphs: Sequence[Graph]) -> torch.Tensor:
    """[frames] Angstrom^3, not-a-number where there is none."""
    unknown = torch.full((1,), torch.nan, dtype=torch.float64)
    return torch.cat([unknown if g.volume is None else g.volume for g in graphs])


def _shares(found: Arrays, requests: Sequence[ForceRequest]) -> list[Arrays]:
    """What each of several frames of a batch has of its prediction."""
    shares, first = [], 0
    for frame, request in enumerate(requests):
        mine = slice(first, first := first + request.graph.n_atoms)
        share = Arrays(
            found.forces[mine],
            None if found.energy is None else found.energy[frame : frame + 1],
            None if found.stress is None or request.graph.volume is None else found.stress[frame : frame + 1],
            None if found.sigma is None or not request.estimates else found.sigma[mine],
        )
        shares.append(share)
    return shares


class SharedCalculator(RGNNCalculator):
    """The calculator of one run of a batch."""

    def __init__(self, together: BatchServer, number: int, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.together, self.number = together, number

    def evaluate(self, g: Graph) -> Arrays:
        """See the base class; the other runs of the batch are evaluated with this one."""
        return self.together.ask(self.number, ForceRequest(g, self.seed, self.calls, self.estimates))


class _Follower(Listener):
    """Listens to one run of a batch: keeps its step and temperature, and asks it to stop with all the others."""

    def __init__(self, name: str, number: int, server: BatchServer, to: Listener) -> None:
        self.name, self.number, self.server, self.to = name, number, server, to

    def progress(self, done: float, total: float, note: str = "") -> None:
        self.server.steps[self.number], self.server.notes[self.number] = int(done), note

    def info(self, text: str) -> None:
        self.to.info(f"{self.name}: {text}")

    def warn(self, text: str) -> None:
        self.to.warn(f"{self.name}: {text}")

    def stop(self) -> bool:
        return self.server.stopping


def run_batch(
    structures: Sequence[Atoms] | None,
    model: ForceField,
    settings: Sequence[MDSettings],
    outs: Sequence[str | Path],
    *,
    resume: bool = False,
    origins: Sequence[RunOrigin] | None = None,
    listener: Listener = SILENT,
    uncertainty: Uncertainty | None = None,
) -> list[MDResult | BrokenRunError | Interrupted]:
    """Run molecular dynamics of several structures at once, each into a separate folder.

    Without read noise each run equals the same run alone, to the rounding of sums in another order. With it, the draws
    of a step depend on which runs are in the batch, so a resumed batch equals an unbroken one where all its runs stood
    at the same step (they do when it was stopped, and when it was killed, unless that fell between two restart files).
    A run that ends or breaks off leaves the batch, and the others continue.

    Args:
        structures: where to start; None on `resume`.
        model: on the device to compute on.
        settings: of each run; they differ in the seed, and agree in bits and noise.
        outs: folders of the runs.
        resume: continue from the restart files.
        origins: of each run, for its config.yaml.
        listener: receives the smallest step of the runs and the sentences of each, with the name of its folder; True
            from `stop`, which is asked once a step, saves all states, and every run's outcome is Interrupted.
        uncertainty: of the model, as of `run_atoms`.

    Returns:
        The outcome of each run: its result, or the error that it broke off with.

    Raises:
        InputError: as `run_atoms`, before any run has begun; or the runs differ in bits or noise.
    """
    if len({(s.bits, s.noise) for s in settings}) != 1:
        raise InputError("runs of one batch share a chip; give them the same bits and noise, or run them apart.")
    with ExitStack() as folders:
        for out in outs:
            folders.enter_context(held(out))
        return _run_batch(structures, model, settings, outs, resume, origins, listener, uncertainty)


def _run_batch(
    structures: Sequence[Atoms] | None,
    model: ForceField,
    settings: Sequence[MDSettings],
    outs: Sequence[str | Path],
    resume: bool,
    origins: Sequence[RunOrigin] | None,
    listener: Listener,
    uncertainty: Uncertainty | None,
) -> list[MDResult | BrokenRunError | Interrupted]:
    server = BatchServer(model, len(outs), uncertainty)
    runs = []
    for k, (own, out) in enumerate(zip(settings, outs, strict=True)):
        minimising = Named(Path(out).name, listener)
        run = prepare_run(
            None if structures is None else structures[k], model, own, Path(out), resume=resume,
            origin=None if origins is None else origins[k], listener=minimising, uncertainty=uncertainty,
            calculator=partial(SharedCalculator, server, k),
        )  # fmt: skip
        run.listener = _Follower(Path(out).name, k, server, listener)
        runs.append(run)
    server.steps = [run.state.step for run in runs]
    outcomes: list[Any] = [None] * len(runs)

    def work(number: int) -> None:
        try:
            outcomes[number] = runs[number].run()
        except BaseException as error:
            outcomes[number] = error
        finally:
            server.leave(number)

    threads = [threading.Thread(target=work, args=(number,), name=f"run {number}") for number in range(len(runs))]
    for thread in threads:
        thread.start()
    try:
        server.serve(
            model.hardware.with_given(settings[0].bits, settings[0].noise),
            max(own.total_steps for own in settings),
            listener,
        )
    finally:
        for thread in threads:
            thread.join()
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, BrokenRunError | Interrupted):
            raise outcome
    return outcomes
