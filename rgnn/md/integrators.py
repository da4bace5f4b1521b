"""What moves the atoms in ASE: its integrators, with random numbers and a target temperature that follow the step."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from ase import units
from ase.data import chemical_symbols
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.nose_hoover_chain import NoseHooverChainThermostat
from ase.md.verlet import VelocityVerlet
from ase.stress import voigt_6_to_full_3x3_stress

from rgnn.base.rng import numpy_stream
from rgnn.calculator import RGNNCalculator
from rgnn.data.frames import LARGEST_FORCE
from rgnn.graphs.neighbours import neighbour_list
from rgnn.md.barostat import Barostat, CellIntegrator, moves_cell
from rgnn.md.settings import Ensemble, MDResult, MDSettings
from rgnn.md.slow_model import SlowModel, TwoModels
from rgnn.md.state import State
from rgnn.models.base import ForceField
from rgnn.models.uncertainty import Uncertainty

# Thermostats in a Nose-Hoover chain, as ASE has them.
CHAIN = 3


class Thermostat:
    """Random numbers in a separate stream for each step; what ASE's thermostats ask of an `rng`."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def begin(self, step: int) -> None:
        """Start the stream of a step."""
        self.stream = numpy_stream(self.seed, "thermostat", step)

    def standard_normal(self, size: tuple[int, ...] | None = None) -> np.ndarray | float:
        """The stream's next numbers."""
        return self.stream.standard_normal(size)

    def standard_gamma(self, shape: float) -> float:
        """The stream's next number of a gamma distribution."""
        return float(self.stream.standard_gamma(shape))


class Integrator:
    """The steps of a run, each in the ensemble of its stage and at the target temperature of its number.

    All that one step leaves to the next is in the state: ASE's Langevin and Bussi keep nothing that matters, and the
    Nose-Hoover chain's velocities are `state.chain`.
    """

    def __init__(self, state: State, config: MDSettings) -> None:
        self.state, self.config = state, config
        self.random = Thermostat(config.seed)
        self.ensemble: Ensemble | None = None
        self.freedom = state.atoms.get_number_of_degrees_of_freedom()

    def prepare(self) -> None:
        """Begin with a cell that is at rest, where the first step moves it."""
        if moves_cell(ensemble := self.config.ensemble_at(1)):
            self._begin(ensemble, target := self.config.target(1))
            assert self.state.barostat is not None
            pressure = self.config.pressure * units.GPa
            self.state.held = self.cell.energy(self.state.barostat, target, pressure, bath=ensemble == "npt")

    def step(self, forces: np.ndarray) -> np.ndarray:
        """Move the atoms from `state.step` to the next step; [N, 3] forces at the old and at the new positions."""
        number = self.state.step + 1
        temperature, ensemble = self.config.target(number), self.config.ensemble_at(number)
        if ensemble != self.ensemble:
            self._begin(ensemble, temperature)
        self.random.begin(self.state.step)
        if ensemble == "nvt":
            self.dynamics.set_temperature(temperature_K=temperature)
        elif ensemble == "bussi":
            self.dynamics.target_kinetic_energy = 0.5 * units.kB * temperature * self.freedom
        elif ensemble == "nose-hoover":
            return self._chained(forces, temperature)
        elif moves_cell(ensemble):
            return self._in_moving_cell(forces, temperature)
        return np.asarray(self.dynamics.step(forces))

    def _begin(self, ensemble: Ensemble, temperature: float) -> None:
        """The integrator of an ensemble; a chain starts at rest, unless the state brings it."""
        atoms, timestep, rate = self.state.atoms, self.config.timestep * units.fs, self.config.friction / units.fs
        self.ensemble = ensemble
        if ensemble == "nvt":
            self.dynamics = Langevin(
                atoms, timestep, temperature_K=temperature, friction=rate, fixcm=False, rng=self.random
            )
        elif ensemble == "bussi":
            self.dynamics = Bussi(atoms, timestep, temperature_K=temperature, taut=1 / rate, rng=self.random)
        elif not moves_cell(ensemble):
            self.dynamics = VelocityVerlet(atoms, timestep)
        self._begin_cell(ensemble)
        if ensemble != "nose-hoover":
            self.state.chain = None
        elif self.state.chain is None:
            self.state.chain = np.zeros(CHAIN)

    def _begin_cell(self, ensemble: Ensemble) -> None:
        """A cell that is at rest, unless the state brings its motion; none where it does not move."""
        if not moves_cell(ensemble):
            self.state.barostat, self.state.held = None, 0.0
            return
        self.cell = CellIntegrator(self.state.atoms, self.config, self.freedom)
        if self.state.barostat is None:
            self.state.barostat = Barostat.at_rest()

    def _in_moving_cell(self, forces: np.ndarray, temperature: float) -> np.ndarray:
        """A step of atoms and cell."""
        state, bath, pressure = self.state, self.ensemble == "npt", self.config.pressure * units.GPa
        assert state.barostat is not None and state.stress is not None
        forces = self.cell.step(state.barostat, forces, state.stress, temperature, pressure, bath=bath)
        state.held = self.cell.energy(state.barostat, temperature, pressure, bath=bath)
        return forces

    def _chained(self, forces: np.ndarray, temperature: float) -> np.ndarray:
        """Half a step of the chain, one of velocity Verlet, half a step of the chain.

        That is the splitting of ASE's NoseHooverChainNVT, whose class counts 3 N degrees of freedom whatever is fixed
        and passes constraints by. Velocities of the chain stay as they are where a ramp changes its masses.
        """
        atoms, half = self.state.atoms, 0.5 * self.config.timestep * units.fs
        chain = NoseHooverChainThermostat(
            num_atoms_global=self.freedom / 3,
            masses=atoms.get_masses()[:, None],
            temperature_K=temperature,
            tdamp=units.fs / self.config.friction,
            tchain=CHAIN,
        )
        chain._p_eta[:] = self.state.chain * chain._Q
        atoms.set_momenta(chain.integrate_nhc(atoms.get_momenta(), half), apply_constraint=False)
        forces = np.asarray(self.dynamics.step(forces))
        atoms.set_momenta(chain.integrate_nhc(atoms.get_momenta(), half), apply_constraint=False)
        self.state.chain = chain._p_eta / chain._Q
        return forces


class AseMover:
    """Moves the atoms of one run by ASE's integrators, with forces from the model's calculator.

    Args:
        state, model, settings: of the run.
        calculator: makes the calculator.
        uncertainty: of the model; None estimates nothing.
        slow: model of multiple time stepping; None is one model.
    """

    writes = True

    def __init__(
        self,
        state: State,
        model: ForceField,
        settings: MDSettings,
        calculator: Callable[..., RGNNCalculator] = RGNNCalculator,
        uncertainty: Uncertainty | None = None,
        slow: SlowModel | None = None,
    ) -> None:
        self.state, self.settings, s = state, settings, settings
        options: dict[str, Any] = {"remove_net_force": True, "any_element": s.any_element, "uncertainty": uncertainty}
        if slow is None or s.slow_every is None:
            self.calculator = calculator(model, s.bits, s.noise, s.seed, **options)
        else:
            self.calculator = TwoModels(model, s.bits, s.noise, s.seed, slow=slow, every=s.slow_every, **options)
        self.calculator.calls = state.step + (state.forces is not None)  # one call for each step, and one for step 0
        state.atoms.calc = self.calculator
        self.integrator = Integrator(state, settings)
        a = state.atoms
        index, _ = neighbour_list(a.positions, a.cell[:], a.pbc, model.settings.cutoff)
        self.alone = np.bincount(index[0], minlength=len(a)) == 0
        self.moved, self.bonds_broke = np.zeros((len(a), 3)), False

    @property
    def net_force(self) -> float:
        """Size of the sum of the forces of the last call, before its removal."""
        return float(np.linalg.norm(self.calculator.net_force))

    @property
    def sigma(self) -> np.ndarray | None:
        """[N] of the last call."""
        return self.calculator.sigma

    def start(self) -> None:
        """Compute the first forces."""
        self._keep(self.state.atoms.get_forces(md=True))
        self.integrator.prepare()

    def stopping(self, asked: bool) -> bool:
        """As asked: this process runs alone."""
        return asked

    def step(self, estimate: bool) -> float:
        """One step of the integrator, with the work of the forces along it by the trapezoidal rule."""
        state = self.state
        before, positions = state.moving, state.atoms.get_positions()
        assert before is not None
        self.calculator.estimates = estimate
        try:
            after = self.integrator.step(before)
        except RuntimeError as error:
            if "converge" not in str(error):  # what ASE says where atoms fly apart that a constraint holds together
                raise
            self.bonds_broke = True
        state.step += 1
        if self.bonds_broke:
            return float(state.atoms.get_temperature())
        self.moved = state.atoms.positions - positions
        if state.barostat is None:  # in a moving cell stress does work too
            state.work += 0.5 * float(((before + after) * self.moved).sum())
        self._keep(after)
        return float(state.atoms.get_temperature())

    def _keep(self, moving: np.ndarray) -> None:
        """What moves the atoms, and of the last call the forces, and energy and stress where the model has them."""
        found, state = self.calculator.results, self.state
        state.forces, state.impulse = moving, None
        if isinstance(self.calculator, TwoModels) and (own := self.calculator.model_forces) is not None:
            state.forces, state.impulse = own, moving
        self.state.energy = found.get("energy")
        self.state.stress = voigt_6_to_full_3x3_stress(found["stress"]) if "stress" in found else None

    def fault(self) -> str | None:
        """An absurd force, an atom that went too far or lost its last neighbour, or bonds that could not be kept."""
        forces, isolated = self.state.forces, self.calculator.isolated
        if self.bonds_broke or forces is None:
            return "bonds of fixed length could not be kept"
        largest = np.abs(forces).max(axis=1)
        worst = int(np.nan_to_num(largest, nan=np.inf).argmax())
        if not largest[worst] <= LARGEST_FORCE:
            return f"the force on {self._atom(worst)} is {largest[worst]:.4g} eV/Angstrom"
        path = np.linalg.norm(self.moved, axis=1)
        farthest, limit = int(path.argmax()), self.settings.max_displacement
        if not path[farthest] <= limit:
            return (
                f"{self._atom(farthest)} moved {path[farthest]:.3g} Angstrom in one step, more than "
                f"max_displacement = {limit:g}"
            )
        lost = np.flatnonzero(isolated & ~self.alone)
        if len(lost):
            return f"{self._atom(lost[0])} lost its last neighbour"
        self.alone = isolated
        return None

    def hottest(self) -> str:
        """The most energetic atom."""
        momenta, masses = self.state.atoms.get_momenta(), self.state.atoms.get_masses()
        return f", with {self._atom(int(((momenta**2).sum(axis=1) / masses).argmax()))} the most energetic"

    def good(self) -> State:
        """A copy of the state."""
        return self.state.copy()

    def update(self) -> bool:
        """Nothing: the integrators work on the state itself."""
        return True

    def result(self, found: MDResult | None) -> MDResult:
        """The result, with what the slow model took."""
        assert found is not None
        if not isinstance(self.calculator, TwoModels):
            return found
        fast, slow = self.calculator.seconds
        return replace(found, slow_calls=self.calculator.slow_calls, slow_time=float(slow / max(fast + slow, 1e-9)))

    def close(self) -> None:
        """Nothing to free."""

    def _atom(self, index: int) -> str:
        return f"atom {index} ({chemical_symbols[self.state.atoms.numbers[index]]})"
