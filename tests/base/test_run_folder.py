"""What a command reads is never destroyed by what it writes."""

import pytest

from rgnn.base.errors import InputError
from rgnn.base.run_folder import refuse_existing


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
