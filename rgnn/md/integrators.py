"""Steps in each ensemble: ASE's integrators, with random numbers and a target temperature that follow the step."""

import numpy as np
from ase import units
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.nose_hoover_chain import NoseHooverChainThermostat
from ase.md.verlet import VelocityVerlet

from rgnn.base.rng import numpy_stream
from rgnn.md.settings import Ensemble, MDSettings
from rgnn.md.state import State

# Thermostats in a Nose-Hoover chain, as ASE has them.
CHAIN = 3


class Thermostat:
    """Random numbers in a stream of its own for each step; what ASE's thermostats ask of an `rng`."""

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
        else:
            self.dynamics = VelocityVerlet(atoms, timestep)
        if ensemble != "nose-hoover":
            self.state.chain = None
        elif self.state.chain is None:
            self.state.chain = np.zeros(CHAIN)

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
