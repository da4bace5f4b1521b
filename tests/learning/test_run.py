"""Active learning as a whole: its rounds, and that it goes on wherever it was cut off."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.calculators.fd import calculate_numerical_forces
from listeners import Heard
from wells import Wells, alloy

import rgnn.learning.run as run_module
from rgnn import GraphStore, load_model
from rgnn.base.errors import InputError, Interrupted
from rgnn.base.settings import dump_yaml, read_yaml
from rgnn.learning.explore import candidates
from rgnn.learning.labels import CalculatorLabels
from rgnn.learning.rounds import Folder
from rgnn.learning.run import Learning, learn
from rgnn.learning.settings import LearnRecord, LearnSettings
from rgnn.models.checkpoints import fingerprint
from rgnn.models.settings import EnergySettings, MomentSettings, RidgeSettings
from rgnn.models.uncertainty import load_uncertainties
from rgnn.training.run import RunSettings, TrainingRun
from rgnn.training.settings import TrainingSettings

SMALL = {
    "label": "wells:Wells", "start": 8, "batch": 3, "steps": 60, "every": 3, "temperature": 4000.0, "timestep": 2.0,
    "cutoff": 4.0, "rounds": 2, "config": "ridge.yaml",
}  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder with a structure and the settings of small models."""
    monkeypatch.chdir(tmp_path)
    ase.io.write("alloy.xyz", alloy())
    ridge = MomentSettings(cutoff=4.0, channels=6, readout=RidgeSettings(random_features=24))
    energy = EnergySettings(cutoff=4.0, channels=8, mixtures=4, widths=(8,))
    training = TrainingSettings(epochs=3, batch_size=4, rate_schedule="cosine", learning_rate=5e-3, split="random")
    for name, config in (("ridge", RunSettings(model=ridge)), ("energy", RunSettings(model=energy, training=training))):
        Path(f"{name}.yaml").write_text(dump_yaml(config.to_mapping()))
    return tmp_path


def learned(out: str, stop=lambda: False, **settings):
    return learn("alloy.xyz", out, listener=Heard(stop), **{**SMALL, **settings})


def everything(out: str) -> tuple:
    """All that learning came to."""
    folder = Folder(out)
    store = GraphStore(folder.store)
    model = load_model(folder.path)
    chosen = [file.read_bytes() for file in sorted(folder.path.glob("rounds/*/chosen.xyz"))]
    rows = folder.rounds()
    return store.checksum, fingerprint(model), chosen, rows


def test_the_reference_of_these_tests_has_right_forces_and_stress() -> None:
    atoms = alloy()
    atoms.rattle(0.1, seed=1)
    atoms.calc = Wells()
    np.testing.assert_allclose(atoms.get_forces(), calculate_numerical_forces(atoms, eps=1e-5), atol=1e-6)
    stress, volume, energies = atoms.get_stress(), atoms.get_volume(), []
    for strain in (1e-5, -1e-5):
        stretched = atoms.copy()
        stretched.calc = Wells()
        stretched.set_cell(atoms.cell[:] * [1 + strain, 1, 1], scale_atoms=True)
        energies.append(stretched.get_potential_energy())
    assert stress[0] == pytest.approx((energies[0] - energies[1]) / 2e-5 / volume, rel=1e-4)


def test_rounds_add_what_the_model_did_not_know(place) -> None:
    write_test(place)
    found = learned("a", test="test.xyz")
    assert not found.inside and [row.round for row in found.rounds] == [1, 2, 3]
    assert [row.frames for row in found.rounds] == [8, 11, 14] == [row.labels for row in found.rounds]
    first, _, last = found.rounds
    assert first.added == 3 and first.outside >= 1 and first.steps <= 60 and not first.inside
    assert last.steps is None and last.added is None
    assert last.test_mae < first.test_mae
    assert first.added_sigma > 0 and first.added_mae > 0
    store = GraphStore("a/store.zarr")
    assert len(store) == 14
    for k in (0, 13):  # labels are those of the reference
        atoms = store.frame(k).to_atoms()
        atoms.calc = Wells()
        np.testing.assert_allclose(store.frame(k).forces, atoms.get_forces(), atol=1e-6)
        assert store.frame(k).energy == pytest.approx(atoms.get_potential_energy())
        np.testing.assert_allclose(store.frame(k).stress, atoms.get_stress(), atol=1e-7)
    model = load_model("a")  # the folder is a model folder
    assert model.provenance.data_checksum == store.checksum
    assert load_uncertainties("a", model)
    table = Path("a/rounds.csv").read_text().splitlines()
    assert table[0].startswith("round,frames,labels") and len(table) == 4
    assert json.loads(Path("a/rounds.json").read_text())[0]["test_mae_ev_per_angstrom"] == first.test_mae


def test_frames_that_are_trained_on_are_no_test(place) -> None:
    write_test(place)
    with pytest.raises(
        InputError,
        match=r"b/test.zarr: 6 of its 6 frames, .* are in b/store.zarr, which is trained on",
    ):
        learned("b", test="test.xyz", frames="test.xyz", relabel=False)


def write_test(place: Path) -> None:
    """Frames that no round has seen: hot ones, labelled by the reference."""
    frames = []
    for seed in range(6):
        atoms = alloy()
        atoms.rattle(0.2, seed=100 + seed)
        atoms.calc = Wells()
        atoms.get_forces()
        frames.append(atoms)
    ase.io.write(place / "test.xyz", frames, format="extxyz")


class Killed(BaseException):
    """Stands for a kill: nothing that handles errors takes it for one."""


STAGES = {
    "start": (run_module, "write_structures"),
    "convert": (run_module, "convert"),
    "training": (TrainingRun, "run"),
    "publishing": (run_module, "save_model"),
    "dynamics": (run_module, "explore"),
    "choice": (run_module, "farthest_frames"),
    "labels": (CalculatorLabels, "label"),
    "record": (Folder, "keep"),
}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_kill_at_any_stage_changes_nothing(after: bool, place, monkeypatch) -> None:
    """In each call of each stage in turn, before it has done anything and after it has done all."""
    learned("whole", batch=2, rounds=1)
    expected, out = everything("whole"), "broken"
    for stage, (home, name) in STAGES.items():
        for call in range(3 if stage == "convert" else 2):
            calls = []
            real = getattr(home, name)

            def cut(*given, real=real, calls=calls, call=call, **options):
                calls.append(1)
                if len(calls) == call + 1 and not after:
                    raise Killed
                result = real(*given, **options)
                if len(calls) == call + 1:
                    raise Killed
                return result

            with monkeypatch.context() as patch:
                patch.setattr(home, name, cut)
                try:
                    learned(out, batch=2, rounds=1)
                except Killed:
                    continue
                assert len(calls) <= call, f"{stage}: {len(calls)} calls"
    learned(out, batch=2, rounds=1)
    assert everything(out) == expected
    assert not list(Path(out).rglob("*.partial"))


def test_dynamics_that_is_stopped_goes_on(place) -> None:
    learned("whole", rounds=1)
    lines, said, log = 2, [], Path("broken/rounds/01/md/log.csv")

    def stop() -> bool:
        """Each time the dynamics has two more frames on the disk than when it was stopped before."""
        nonlocal lines
        there = len(log.read_text().splitlines()) if log.exists() else 0
        if there < lines:
            return False
        lines = there + 2
        return True

    for _ in range(40):
        try:
            learned("broken", stop, rounds=1)
            break
        except Interrupted as stopped:
            said.append(stopped)
    assert len(said) > 1
    assert all(each.work is None and "round 1; the same command goes on" in str(each) for each in said)
    assert everything("broken") == everything("whole")


def test_a_killed_process_goes_on(place) -> None:
    """SIGKILL in a slow calculator, when some labels are there."""
    (place / "slow.py").write_text(
        "import time\nfrom wells import Wells\nclass Slow(Wells):\n    def calculate(self, *given, **options):\n"
        "        time.sleep(0.1)\n        super().calculate(*given, **options)\n"
    )
    code = "import rgnn\nrgnn.learn('alloy.xyz', 'a', **{settings})"
    settings = {**SMALL, "label": "slow:Slow", "rounds": 1, "batch": 2}
    path = os.pathsep.join([str(Path(__file__).parents[1] / "helpers"), *sys.path, "."])
    command = [sys.executable, "-c", code.replace("{settings}", repr(settings))]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, cwd=place)
    labels, deadline = place / "a/rounds/00/labels", time.monotonic() + 300
    while len(list(labels.glob("*.xyz"))) < 3 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    there = len(list(labels.glob("*.xyz")))
    assert 3 <= there < 8
    kept = {file.name: file.stat().st_mtime_ns for file in labels.glob("*.xyz")}
    learned("a", rounds=1, batch=2, label="slow:Slow")
    assert {name: (labels / name).stat().st_mtime_ns for name in kept} == kept
    assert len(GraphStore("a/store.zarr")) == 10


def test_it_ends_where_the_dynamics_stays_inside(place) -> None:
    found = learned("a", temperature=20.0, steps=30, rounds=3)
    assert found.inside and len(found.rounds) == 1
    assert found.rounds[0].steps == 30 and not found.rounds[0].ended
    again = learned("a", temperature=20.0, steps=30, rounds=3)
    assert again.rounds == found.rounds


def test_more_rounds_go_on_after_the_last(place) -> None:
    one = learned("a", rounds=1)
    two = learned("a", rounds=2)
    assert two.rounds[0] == one.rounds[0] and len(two.rounds) == 3
    assert (two.rounds[1].frames, two.rounds[1].validation_mae) == (one.rounds[1].frames, one.rounds[1].validation_mae)
    learned("other", rounds=2)
    assert everything("a") == everything("other")


def test_models_of_an_energy_learn_too(place) -> None:
    found = learned("a", config="energy.yaml", rounds=1)
    assert len(found.rounds) == 2
    assert load_model("a").outputs == {"energy", "forces", "stress"}
    assert list(load_uncertainties("a", load_model("a"))) == ["distance"]


def test_labelled_frames_start_it_and_elements_must_be_there(place) -> None:
    write_test(place)
    found = learned("a", frames="test.xyz", rounds=1)
    assert found.rounds[0].frames == 6 and found.rounds[0].labels == 0
    pure = alloy()
    pure.numbers[:] = 29
    frames = []
    for seed in range(4):
        atoms = pure.copy()
        atoms.rattle(0.1, seed=seed)
        atoms.calc = Wells()
        atoms.get_forces()
        frames.append(atoms)
    ase.io.write("pure.xyz", frames, format="extxyz")
    with pytest.raises(InputError, match="has Au, which the frames to start from lack"):
        learned("b", frames="pure.xyz", rounds=1)


def test_frames_are_labelled_again(place) -> None:
    """Whatever labels they have."""
    write_test(place)
    wrong = ase.io.read("test.xyz", ":")
    for atoms in wrong:
        atoms.calc = None
    ase.io.write("bare.xyz", wrong, format="extxyz")
    with pytest.raises(InputError, match="has no forces"):
        learned("a", frames="bare.xyz", rounds=1)
    learned("b", frames="bare.xyz", relabel=True, start=4, rounds=1)
    store = GraphStore("b/store.zarr")
    atoms = store.frame(0).to_atoms()
    atoms.calc = Wells()
    np.testing.assert_allclose(store.frame(0).forces, atoms.get_forces(), atol=1e-6)


def test_what_cannot_work_is_refused(place) -> None:
    with pytest.raises(InputError, match="give one of label"):
        LearnSettings()
    with pytest.raises(InputError, match="inputs and template belong together"):
        LearnSettings(inputs="vasp")
    with pytest.raises(InputError, match="names no calculator"):
        learned("a", label="wells")
    learned("a", rounds=1)
    with pytest.raises(InputError, match=r"a: was begun with temperature = 4000\.0, not 900\.0; give the same"):
        learned("a", rounds=1, temperature=900.0)
    Path("b").mkdir()
    Path("b/thesis.tex").touch()
    with pytest.raises(InputError, match="b: holds something that learning has not written"):
        learned("b")
    assert [item.name for item in Path("b").iterdir()] == ["thesis.tex"]


def test_split_and_seed_of_a_settings_file_stand(place) -> None:
    """An option replaces the seed; where the file names no split, frames are held out at random."""
    plain = read_yaml(Path("energy.yaml"))
    plain["training"] |= {"split": "blocks", "seed": 7}
    Path("blocks.yaml").write_text(dump_yaml(plain))
    del plain["training"]["split"], plain["training"]["seed"]
    Path("silent.yaml").write_text(dump_yaml(plain))
    for out, settings, expected in (
        ("a", {"config": "blocks.yaml"}, (7, "blocks")),
        ("b", {"config": "blocks.yaml", "seed": 3}, (3, "blocks")),
        ("c", {"config": "silent.yaml"}, (0, "random")),
    ):
        learned(out, **settings, temperature=20.0, steps=3, rounds=1)
        run = RunSettings.read(Path(out) / "rounds/01/model/config.yaml")
        assert (run.training.seed, run.training.split) == expected
        assert LearnRecord.read(Path(out)).learn.seed == expected[0]


def test_the_cutoff_of_a_settings_file_stands(place) -> None:
    assert LearnSettings(label="a:b", config="ridge.yaml").resolved().cutoff == 4.0
    assert LearnSettings(label="a:b").resolved().cutoff == 5.0


def test_labelled_frames_that_are_left_out_are_said(place) -> None:
    write_test(place)
    frames = ase.io.read("test.xyz", ":")
    frames[1].calc.results["forces"][2] = 5000.0
    frames.append(frames[0])
    ase.io.write("broken.xyz", frames, format="extxyz")
    said = []
    learn("alloy.xyz", "a", listener=Heard(warn=said.append), **{**SMALL, "frames": "broken.xyz", "rounds": 1})
    assert any(
        "1 labelled frame is left out (absurd forces): broken.xyz: frame 1: the force on" in text for text in said
    )
    assert any("1 labelled frame is left out (duplicate" in text for text in said)


@pytest.mark.parametrize("scale", [1.0, 1.3])
def test_labels_of_another_reference_are_said(scale: float, place) -> None:
    """Frames to start from whose forces are not those of the calculator that labels all others."""
    write_test(place)
    frames = ase.io.read("test.xyz", ":")
    for atoms in frames:
        atoms.calc.results["forces"] *= scale
    ase.io.write("mine.xyz", frames, format="extxyz")
    said = []
    settings = {**SMALL, "frames": "mine.xyz", "rounds": 1, "temperature": 20.0, "steps": 3}
    learn("alloy.xyz", "a", listener=Heard(warn=said.append), **settings)
    assert any("which labels all other frames; --relabel" in text for text in said) == (scale != 1.0)


@pytest.mark.parametrize("relabel", [False, True])
def test_frames_to_test_on_are_not_trained_on(relabel: bool, place) -> None:
    write_test(place)
    with pytest.raises(InputError, match=r"its 6 frames, the first of them frame 0, are in .* name other frames than"):
        learned("a", frames="test.xyz", test="test.xyz", relabel=relabel, rounds=1)


def test_trainings_begin_with_a_model(place) -> None:
    """That of each round, as rgnn train --from begins with it; its frames may not be tested on."""
    write_test(place)
    learned("before", config="energy.yaml", rounds=1)
    settings = {"config": None, "from_model": "before", "cutoff": None, "rounds": 1, "epochs": 2}
    learned("after", **settings, frames="test.xyz")
    for number in (1, 2):
        run = RunSettings.read(Path(f"after/rounds/{number:02d}/model/config.yaml"))
        assert run.from_model == "before" and run.training.epochs == 2
        assert run.replay == load_model("before").provenance.data
    assert load_model("after").provenance.started_from == "before"
    assert GraphStore("after/store.zarr").cutoff == 4.0
    with pytest.raises(InputError, match=r"before was trained on 10 of its 11 frames"):
        learned("other", **settings, frames="test.xyz", test="before/store.zarr")
    with pytest.raises(InputError, match="give one of config, preset"):
        LearnSettings(label="a:b", from_model="before", preset="energy")


def test_a_step_that_was_written_twice_is_one_candidate(place) -> None:
    learned("a", rounds=1)
    run, model = Path("a/rounds/01/md"), load_model("a")
    known = candidates(run, model)
    lines = (run / "trajectory.xyz").read_text().splitlines(keepends=True)
    size = len(alloy()) + 2
    (run / "trajectory.xyz").write_text("".join([*lines[: 2 * size], *lines[size:]]))
    assert len(candidates(run, model)) == len(known)


def test_a_calculator_that_fails_is_said(place) -> None:
    with pytest.raises(InputError, match="could be labelled: wells:Failing fails at structure 0"):
        learned("a", label="wells:Failing")


def test_the_record_says_what_was_asked(place) -> None:
    learned("a", rounds=1)
    record = LearnRecord.read(Path("a"))
    assert record.learn.label == "wells:Wells" and record.structure == "alloy.xyz"
    assert Learning(record, "a").settings == record.learn
