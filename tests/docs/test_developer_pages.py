"""The developer pages work as they are written: what they say is done to a copy, and run."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs/developers/add-an-effect.md").read_text(encoding="utf-8")
STEP = re.compile(
    r"^In (?P<new>the new file )?`(?P<file>[^`]+)`(?:, above the (?P<what>line|class) `(?P<anchor>[^`]+)`)?:\n\n"
    r"```python\n(?P<code>.*?)^```",
    re.DOTALL | re.MULTILINE,
)


def follow(folder: Path, step: re.Match[str]) -> None:
    """Do one step of the page in a copy of the project."""
    file = folder / step["file"]
    if step["new"]:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(step["code"], encoding="utf-8")
        return
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    begin = f"class {step['anchor']}" if step["what"] == "class" else step["anchor"]
    (place,) = (n for n, line in enumerate(lines) if line.strip().startswith(begin))
    while lines[place - 1].startswith("@"):
        place -= 1
    after = "\n\n" if step["what"] == "class" else ""
    file.write_text("".join([*lines[:place], step["code"] + after, *lines[place:]]), encoding="utf-8")


def test_an_effect_is_added_in_four_steps(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "sample")
    shutil.copytree(PROJECT / "rgnn", tmp_path / "rgnn", ignore=ignored)
    steps = list(STEP.finditer(PAGE))
    assert len(steps) == PAGE.count("```python") == 5
    for step in steps:
        follow(tmp_path, step)
    code = "import sys; sys.path.insert(0, '.'); import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    arguments = ["-q", "--import-mode=importlib", "-p", "no:cacheprovider", "tests/chip/test_drift.py"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout + done.stderr
    for changed in ("rgnn/chip/hardware.py", "rgnn/chip/effects.py"):
        added = (tmp_path / changed).read_text(encoding="utf-8")
        assert "rift" in added and "rift" not in (PROJECT / changed).read_text(encoding="utf-8")
    ruff = Path(sys.executable).with_name("ruff")
    style = subprocess.run(
        [ruff, "check", "--config", PROJECT / "pyproject.toml", "rgnn/chip"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert style.returncode == 0, style.stdout


def test_a_family_is_used_as_its_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """With the file that the page shows, which tests/models/test_families.py holds to the contract of all families."""
    import itertools

    from rgnn.data import sample
    from rgnn.data.fetch import registry

    page = (PROJECT / "docs/developers/add-a-family.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\{literalinclude\} (\S+)", page)) == {"../../tests/helpers/toy_family.py"}
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    frames = list(itertools.islice(sample.sample_frames(), 0, 270, 27))
    monkeypatch.setattr(registry, "sample_frames", lambda: iter(frames))
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "add-a-family.md", "exec"), {})
    said = capsys.readouterr().out
    assert "PairForces" in said and said.rstrip().endswith("%")
