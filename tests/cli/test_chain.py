"""The README's chain as typed, in an empty folder and a real shell."""

from pathlib import Path

import ase.io


def test_convert_train_eval_md(shell, trajectory) -> None:
    done = shell(f"rgnn convert {trajectory} --out data/tiny.zarr")
    assert done.code == 0, done.err
    done = shell("rgnn train --bits 4 --noise 0.05 --epochs 2")
    assert done.code == 0, done.err
    assert "data/tiny.zarr (the one made last here)" in done.out
    done = shell("rgnn eval --repeats 2")
    assert done.code == 0, done.err
    assert "Relative force error by temperature" in done.out
    ase.io.write("structure.xyz", ase.io.read(trajectory, 0))
    done = shell("rgnn md structure.xyz --steps 20")
    assert done.code == 0, done.err
    assert len(ase.io.read("md/structure-001/trajectory.xyz", ":")) == 3
    assert Path("runs/latest/best/model.safetensors").exists()


def test_errors_are_one_sentence_with_exit_code_2(shell) -> None:
    done = shell("rgnn train nowhere.zarr")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Error: nowhere.zarr: ")
    assert "Traceback" in shell("rgnn --debug train nowhere.zarr").err


def test_the_sample_is_fetched_quietly(shell) -> None:
    done = shell("rgnn fetch-data sample --quiet")
    assert (done.code, done.out) == (0, "")
    assert Path("data/sample.zarr/zarr.json").exists()
