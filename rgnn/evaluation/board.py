"""An evaluation on a board: measured forces beside simulated ones, and what fitting the digital part again wins back.

Stages, each on the same frames: the board as it is; after gain and offset of each column were found and undone; and
after the digital part was fitted again to measured products (`rgnn.training.refit`). Forces of every pass are kept as
they come, so that nothing is measured twice when the board or this process stops.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rgnn.base.arrayfiles import npy, read_npy
from rgnn.base.errors import InputError, Interrupted, LostBoard
from rgnn.base.events import SILENT, Listener
from rgnn.base.files import write_atomic
from rgnn.base.run_folder import held
from rgnn.chip.board.connection import BoardConnection
from rgnn.chip.columns import ColumnFit
from rgnn.chip.hardware import Hardware
from rgnn.data.met import held_out_frames
from rgnn.evaluation.errors import TERMS, ErrorSums, HardwareErrors
from rgnn.evaluation.plan import EvaluationPlan
from rgnn.evaluation.run import evaluate_hardware, predict
from rgnn.models.base import ForceField
from rgnn.models.boards import FILE, calibrate_columns, load_gains, on_board, save_gains, set_tap
from rgnn.models.checkpoints import load_model
from rgnn.training.refit import refit, refit_frames

CONNECTED, CALIBRATED, REFITTED = "as connected", "columns calibrated", "refitted"


@dataclass(frozen=True)
class Stage:
    """The board at one stage.

    Attributes:
        name: `CONNECTED`, `CALIBRATED` or `REFITTED`.
        errors: against the labels.
        off: root mean square difference of its forces from the simulator's without read noise, eV/Angstrom; None
            where the digital part is another.
    """

    name: str
    errors: HardwareErrors
    off: float | None

    @property
    def relative_error(self) -> float:
        """Sum |dF| / sum |F| over all frames and reads."""
        return float(self.errors.errors().relative_error)


@dataclass
class BoardEvaluation:
    """What an evaluation on a board found.

    Attributes:
        plan: what was evaluated.
        board: what the board says of itself.
        agreement: correlation of each array's weights, as the board reads them, with the model's.
        simulated: errors of the ideal chip and of the hardware as asked for, simulated.
        noise: root mean square that the simulated read noise moves forces by, eV/Angstrom.
        stages: of the board.
        columns: fit of each column; empty where they were not calibrated.
        forces: simulated without read noise and as connected, [n, 3] eV/Angstrom each, of the first read.
        refitted: folder of the model whose digital part was fitted again; None where it was not.
        frames: numbers of training and validation frames of that fit.
        calls, rows, seconds, restarts: of the board in this process.
    """

    plan: EvaluationPlan
    board: str
    agreement: dict[str, float]
    simulated: list[HardwareErrors]
    noise: float
    stages: list[Stage] = field(default_factory=list)
    columns: list[ColumnFit] = field(default_factory=list)
    forces: tuple[np.ndarray, np.ndarray] = (np.zeros((0, 3)), np.zeros((0, 3)))
    refitted: Path | None = None
    frames: tuple[int, int] = (0, 0)
    calls: int = 0
    rows: int = 0
    seconds: float = 0.0
    restarts: int = 0

    @property
    def undisturbed(self) -> float:
        """Sum |dF| / sum |F| of the simulated hardware as asked for."""
        return float(self.simulated[-1].errors().relative_error)

    def to_mapping(self) -> dict[str, Any]:
        """Plain numbers with units in the keys."""
        groups = self.plan.groups
        return {
            "driver": self.plan.settings.board.driver,
            "board": self.board,
            "weights_correlation": self.agreement,
            "simulated": [row.to_mapping(groups) for row in self.simulated],
            "simulated_noise_ev_per_angstrom": self.noise,
            "measured": [
                {"stage": s.name, "from_simulator_ev_per_angstrom": s.off, **s.errors.to_mapping(groups)}
                for s in self.stages
            ],
            "drifted_columns": {fit.array: np.flatnonzero(fit.drifted).tolist() for fit in self.columns},
            "refitted": None if self.refitted is None else str(self.refitted),
            "refit_frames": list(self.frames),
            "board_calls": self.calls,
            "board_rows": self.rows,
            "board_seconds": self.seconds,
            "board_restarts": self.restarts,
        }


def evaluate_on_board(plan: EvaluationPlan, folder: str | Path, listener: Listener = SILENT) -> BoardEvaluation:
    """Measure the frames of a plan on its board, and fit the digital part again where its settings say so.

    Args:
        plan: of the evaluation, with a driver in its settings.
        folder: for what is measured; what lies there already is not measured again.
        listener: is given the passes over frames, and may ask to stop.

    Raises:
        InputError: no such driver, or it holds another chip; or no frames to fit on.
        LostBoard: the board does not answer any more; what it has measured is in the folder.
        Interrupted: the listener asked to stop; the same.
    """
    folder = Path(folder)
    with held(folder):
        plan.save(folder)
        try:
            return _Measuring(plan, folder, listener).run()
        except LostBoard as lost:
            raise LostBoard(f"{lost}; what was measured is kept", "evaluation", folder) from None
        except Interrupted:
            raise Interrupted("evaluation stopped; what was measured is kept", "evaluation", folder) from None


class _Measuring:
    """An evaluation on a board at work."""

    def __init__(self, plan: EvaluationPlan, folder: Path, listener: Listener) -> None:
        self.plan, self.folder, self.listener, self.settings = plan, folder, listener, plan.settings
        self.hardware: Hardware = plan.hardware[-1]
        n, self.repeats = len(plan.frames), self.settings.repeats
        self.done, self.total = 0, (3 if self.settings.refit else 1) * n * self.repeats

    def run(self) -> BoardEvaluation:
        """All stages."""
        plan, s = self.plan, self.settings
        plan.prepare(self.listener)
        simulated = evaluate_hardware(
            plan.model, plan.store, s.frames, [plan.model.hardware.ideal(), self.hardware], s.repeats, 1, s.seed,
            sample=plan.sample, keep=self.folder / "settings",
        )  # fmt: skip
        clean, noise = self._simulated()
        with on_board(plan.model, s.board, s.model, s.seed, self.listener) as board:
            assert board is not None
            found = BoardEvaluation(plan, board.info.name, dict(board.agreement), simulated, noise)
            forces = self._measured(plan.model, "connected")
            found.stages.append(self._stage(CONNECTED, forces, clean))
            found.forces = np.concatenate(clean), np.concatenate(forces[0])
            if s.refit:
                self._fit_again(board, found, clean)
            t = board.traffic
            found.calls, found.rows, found.seconds, found.restarts = t.calls, t.rows, t.seconds, t.restarts
        return found

    def _fit_again(self, board: BoardConnection, found: BoardEvaluation, clean: list[np.ndarray]) -> None:
        plan, s = self.plan, self.settings
        assert self.hardware.bits is not None
        found.columns = calibrate_columns(board, plan.model.crossbars, min(self.hardware.bits, board.info.bits), s.seed)
        found.stages.append(self._stage(CALIBRATED, self._measured(plan.model, "calibrated"), clean))
        train, validation = self._frames_to_fit()
        found.frames, found.refitted = (len(train), len(validation)), self.folder / "refit"
        if not (self.folder / "refit" / "best" / FILE).exists():
            said = f"Fitting the digital part on {len(train)} frames, with {len(validation)} to validate"
            self.listener.info(said)
            watch = _Unmetered(self.listener)
            refit(plan.model, plan.store, train, validation, found.refitted, seed=s.seed, listener=watch)
            save_gains(board, load_model(found.refitted), found.refitted / "best")
        fitted = load_model(found.refitted, plan.model.device)
        board.gains = load_gains(found.refitted, fitted)
        board.attach(fitted.crossbars)
        set_tap(fitted, board)
        found.stages.append(self._stage(REFITTED, self._measured(fitted, "refitted"), None))

    def _frames_to_fit(self) -> tuple[list[int], list[int]]:
        """Training frames of the model, or else frames of the store that are not evaluated."""
        plan, n = self.plan, len(self.plan.store)
        held_out = held_out_frames(plan.model.provenance, plan.store)
        kept_apart = set(plan.frames) if held_out is None else {*held_out, *plan.frames}
        allowed = [k for k in range(n) if k not in kept_apart]
        if len(allowed) < 2:
            raise InputError(
                f"{plan.store.path}: all its frames are evaluated, and none is left to fit the digital part on; "
                "evaluate fewer of them with --frames."
            )
        return refit_frames(plan.store, allowed, self.settings.refit)

    def _simulated(self) -> tuple[list[np.ndarray], float]:
        """Forces of each frame without read noise, and what read noise moves them by."""
        plan, seed = self.plan, self.settings.seed
        still = self.hardware.without_noise() if self.hardware.varies_between_reads else self.hardware
        clean, square = [], []
        for k in plan.frames:
            g = plan.store.graph(k)
            clean.append(predict(plan.model, g, still, seed, k, 0).forces)
            square.append(float(np.mean((predict(plan.model, g, self.hardware, seed, k, 0).forces - clean[-1]) ** 2)))
        return clean, float(np.sqrt(np.mean(square)))

    def _stage(self, name: str, forces: list[list[np.ndarray]], clean: list[np.ndarray] | None) -> Stage:
        plan = self.plan
        graphs = [plan.store.graph(k) for k in plan.frames]
        elements = tuple(sorted({z for g in graphs for z in g.atomic_numbers.unique().tolist()}))
        sums = np.zeros((1, self.repeats, len(graphs), len(elements), TERMS))
        for r, read in enumerate(forces):
            for f, (g, p) in enumerate(zip(graphs, read, strict=True)):
                if g.forces is None:
                    raise InputError(f"frame {plan.frames[f]} has no forces to compare with; evaluate labelled frames.")
                label, numbers = g.forces.numpy(), g.atomic_numbers.numpy()
                for z, element in enumerate(elements):
                    sums[0, r, f, z] = ErrorSums.of(p[numbers == element], label[numbers == element]).sums
        off = None
        if clean is not None:
            square = [np.mean((p - c) ** 2) for read in forces for p, c in zip(read, clean, strict=True)]
            off = float(np.sqrt(np.mean(square)))
        return Stage(name, HardwareErrors(self.hardware, elements, sums, sample=plan.sample), off)

    def _measured(self, model: ForceField, stage: str) -> list[list[np.ndarray]]:
        """[reads][frames] forces from the board, or from the folder where they are known."""
        return [
            [self._pass(model, f"{stage}-{repeat}-{k}", k) for k in self.plan.frames] for repeat in range(self.repeats)
        ]

    @torch.no_grad()
    def _pass(self, model: ForceField, name: str, frame: int) -> np.ndarray:
        file = self.folder / "measured" / f"{name}.npy"
        if not file.exists():
            if self.listener.stop():
                raise Interrupted("stopped; what was measured is kept.")
            forces = model.eval()(self.plan.store.graph(frame).to(model.device), model.read(self.hardware)).forces
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(file, npy(forces.cpu().numpy()))
        self.done += 1
        self.listener.progress(self.done, self.total)
        return read_npy(file)


class _Unmetered(Listener):
    """Passes on everything but progress, which is counted in frames."""

    def __init__(self, to: Listener) -> None:
        self.to = to

    def info(self, text: str) -> None:
        self.to.info(text)

    def warn(self, text: str) -> None:
        self.to.warn(text)

    def stop(self) -> bool:
        return self.to.stop()
