"""Dynamics does not continue with atoms that have fused."""

import pytest
from listeners import Heard
from springs import CONFIG, DISTANCE, Springs, crystal

from rgnn.base.errors import BrokenRunError
from rgnn.base.provenance import Closest, Provenance, TrainingDomain
from rgnn.md import read_log, run_atoms
from rgnn.md.contacts import STOP, WARN, ContactWatch
from rgnn.md.state import State

LABELLED = 1.9
DOMAIN = TrainingDomain(closest=(Closest(first=3, second=9, distance=LABELLED),), frames=1)


def model(distance: float = DISTANCE) -> Springs:
    """Springs whose training set had lithium and fluorine at this distance at least."""
    springs = Springs()
    closest = (Closest(first=3, second=9, distance=distance),)
    springs.provenance = Provenance(elements=(3, 9), seen=TrainingDomain(closest=closest, frames=1))
    return springs


def looked(distance: float, action="stop") -> tuple[str | None, list[str]]:
    said: list[str] = []
    atoms = crystal()
    atoms.positions[1] = atoms.positions[0] + (distance, 0, 0)
    watch = ContactWatch(DOMAIN, action, said.append)
    first = watch.look(7, atoms)
    watch.look(8, atoms)
    return first, said


def test_the_limits_are_shares_of_the_closest_labelled_distance() -> None:
    assert looked(WARN * LABELLED + 0.01) == (None, [])
    stopped, said = looked(WARN * LABELLED - 0.01)
    assert stopped is None and len(said) == 1 and "step 7" in said[0] and "F" in said[0]
    assert looked(STOP * LABELLED + 0.01)[0] is None
    stopped, _ = looked(STOP * LABELLED - 0.01)
    assert stopped is not None and "1.51 Angstrom" in stopped and "1.9 at least" in stopped
    stopped, said = looked(0.3, "warn")
    assert stopped is None and len(said) == 1
    assert looked(0.3, "ignore") == (None, [])


def test_a_run_stops_where_atoms_fuse_and_keeps_the_state_before(tmp_path) -> None:
    """Springs that pull neighbours together: the same run ends when nobody looks."""
    atoms, settings = crystal(), CONFIG.override(steps=60, temperature=3000, timestep=2.0, friction=0.1)
    pulling = model(2.5)  # the crystal is at 0.81 of it, so the first vibrations cross the limit
    said: list[str] = []
    with pytest.raises(BrokenRunError, match=r"F are 1.* Angstrom apart, where the training set has 2.5 at least"):
        run_atoms(atoms, pulling, settings, tmp_path / "stop", listener=Heard(lambda: False, warn=said.append))
    assert said and "leaves what the model was trained on" in said[0]
    last = int(read_log(tmp_path / "stop")["step"][-1])
    assert 0 < last < 60 and (tmp_path / "stop/broken.xyz").is_file()
    assert not (tmp_path / "stop/summary.json").exists()
    assert State.load(tmp_path / "stop", pulling, settings).step == last - 1
    result = run_atoms(atoms, pulling, settings.override(close_contacts="ignore"), tmp_path / "ignore")
    assert result.steps == 60
