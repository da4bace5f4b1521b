"""What a command reads is never destroyed by what it writes."""

import subprocess
import sys

import pytest

from rgnn.base.errors import InputError
from rgnn.base.run_folder import clear_run, held, refuse_existing


@pytest.fixture
def run(tmp_path):
    """A run folder with its models, and a store inside of it."""
    for name in ("best", "last"):
        (tmp_path / "run" / name).mkdir(parents=True)
        (tmp_path / "run" / name / "model.safetensors").touch()
    (tmp_path / "run" / "data.zarr").mkdir()
    (tmp_path / "run" / "data.zarr" / "zarr.json").touch()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("out", ["run", "run/best", "run/best/inner", "run/last", "link", ".", "run/../run"])
def test_what_is_or_holds_an_input_is_refused(run, out: str) -> None:
    with pytest.raises(InputError, match="holds what is read from"):
        refuse_existing(run.parent / out, True, run)


def test_a_store_is_whole(run) -> None:
    store = run / "data.zarr"
    for out in (run, store, store / "inner"):
        with pytest.raises(InputError, match=r"holds what is read from .*data\.zarr"):
            refuse_existing(out, True, "", None, store)


def test_beside_the_inputs_is_free(run) -> None:
    refuse_existing(run / "eval", True, run, run / "data.zarr", run / "nothing")
    refuse_existing(run.parent / "other", False, run)
    with pytest.raises(InputError, match="already exists"):
        refuse_existing(run, False)


def files(folder) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_run_is_cleared_and_nothing_else_is(tmp_path) -> None:
    run = tmp_path / "run"
    for name in ("best/model.safetensors", "settings/a.npy", "log.csv", "config.yaml", "report.html"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).touch()
    clear_run(run)
    assert files(run) == set() and files(tmp_path) == {"run"}


@pytest.mark.parametrize(
    "name", ["thesis.tex", "settings/thesis.tex", "best/photo.jpg", "last/notes/a.txt", "members/mine/x"]
)
def test_foreign_files_are_left_alone_with_all_the_rest(name: str, tmp_path) -> None:
    (tmp_path / "run/best").mkdir(parents=True)
    (tmp_path / "run/restart.safetensors").touch()
    (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "run" / name).write_text("precious")
    before = files(tmp_path)
    with pytest.raises(InputError, match="which no run has written"):
        clear_run(tmp_path / "run")
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    "name", ["config.yaml", "report.html", "final.xyz", "log.csv", "analysis.json", "best/mine.txt"]
)
def test_a_folder_that_is_no_run_is_left_alone(name: str, tmp_path) -> None:
    (tmp_path / "mine" / name).parent.mkdir(parents=True)
    (tmp_path / "mine" / name).write_text("a: 1\n")
    with pytest.raises(InputError, match="which no run has written"):
        clear_run(tmp_path / "mine")
    assert (tmp_path / "mine" / name).is_file()


def test_settings_that_rgnn_wrote_make_a_run(tmp_path) -> None:
    for begin in (
        "# Continue with: rgnn train --resume x\n", "md: {}\nmodel_fingerprint: a\n", "a: 1\nversions: {}\n",
        "analysis:\n  r_max: 6.0\n",
    ):  # fmt: skip
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run/config.yaml").write_text(begin)
        clear_run(tmp_path / "run")
        assert files(tmp_path / "run") == set()


def test_links_are_removed_and_not_followed(tmp_path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/model.safetensors").touch()
    (tmp_path / "run").mkdir()
    (tmp_path / "run/state.safetensors").touch()
    (tmp_path / "run/best").symlink_to(tmp_path / "elsewhere")
    clear_run(tmp_path / "run")
    assert (tmp_path / "elsewhere/model.safetensors").exists() and files(tmp_path / "run") == set()


def test_one_writer_at_a_time(tmp_path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "restart.safetensors").touch()
    code = "import sys; from rgnn.base.run_folder import held; c = held(sys.argv[1]); c.__enter__(); print(1); input()"
    child = subprocess.Popen(
        [sys.executable, "-c", code, run], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stdout.readline() == "1\n"
    for act in (lambda: clear_run(run), lambda: held(run).__enter__()):
        with pytest.raises(InputError, match="another rgnn is writing here"):
            act()
    assert (run / "restart.safetensors").exists()
    child.kill()
    child.wait()
    with held(run):
        pass
    assert files(tmp_path) == {"run", "run/restart.safetensors"}
