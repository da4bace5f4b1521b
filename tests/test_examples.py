"""The examples and the README's Python run as they say, with the names that `rgnn` alone exports."""

import ast
import itertools
import lzma
import re
import runpy
from pathlib import Path

import ase.io
import pytest

import rgnn
from rgnn.data import sample
from rgnn.data.fetch import registry

PROJECT = Path(__file__).parents[1]
# Pages for developers change the insides; tests/docs follows them.
PAGES = (p for p in sorted((PROJECT / "docs").rglob("*.md")) if not {"developers", "_run"} & set(p.parts))
DOCUMENTS = [PROJECT / "README.md", *PAGES]
# What makes a packaged file is no example for users.
EXAMPLES = (path for path in sorted((PROJECT / "examples").glob("*.py")) if path.name != "make_sample_model.py")
PYTHON = [
    *((path.name, path.read_text()) for path in EXAMPLES),
    *(
        (f"{path.name}-{number}", block)
        for path in DOCUMENTS
        for number, block in enumerate(re.findall(r"^```python\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE))
    ),
]


@pytest.fixture(autouse=True)
def ten_frames(monkeypatch) -> None:
    """The packaged sample, shortened."""
    frames = list(itertools.islice(sample.sample_frames(), 0, 270, 27))
    monkeypatch.setattr(registry, "sample_frames", lambda: iter(frames))


def test_chain(tmp_path, monkeypatch, capsys) -> None:
    runpy.run_path(str(PROJECT / "examples/chain.py"))["main"](tmp_path, epochs=1, md_steps=3)
    said = capsys.readouterr().out
    assert "86832 on the chip" in said and "4 bits, 5% read noise: relative force error" in said
    assert "3 steps, " in said and "after 3 fs more in ASE" in said
    assert (tmp_path / "run/best/model.safetensors").exists() and (tmp_path / "md/final.xyz").exists()


def test_readme(tmp_path, monkeypatch, capsys) -> None:
    """With less training and fewer steps."""
    monkeypatch.chdir(tmp_path)
    ase.io.write("structure.xyz", next(iter(sample.sample_frames())).to_atoms())
    (block,) = (code for name, code in PYTHON if name == "README.md-0")
    for long, short in (("epochs=20", "epochs=1"), ("steps=10_000", "steps=3")):
        assert long in block
        block = block.replace(long, short)
    exec(compile(block, "README.md", "exec"), {})
    said = capsys.readouterr().out
    assert "8 bits, 5% read noise" in said and said.count("(too few frames)") == 5 and said.count("[") == 192 + 1
    assert Path("md/mine/final.xyz").exists()


@pytest.mark.parametrize(("name", "code"), PYTHON, ids=[name for name, _ in PYTHON])
def test_documents_use_the_names_that_rgnn_exports(name: str, code: str) -> None:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith("rgnn"):
            assert node.module == "rgnn", f"{name}: from {node.module} import ..."
            assert {alias.name for alias in node.names} <= set(rgnn.__all__)
        elif isinstance(node, ast.Import):
            assert not [alias.name for alias in node.names if alias.name.startswith("rgnn.")]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "rgnn":
            assert node.attr in rgnn.__all__, f"{name}: rgnn.{node.attr}"


def test_make_sample_makes_the_packaged_sample(shared, tmp_path) -> None:
    files = [str(shared / f"data/lipo_chgnet_train_{part}.xyz") for part in "ab"]
    runpy.run_path(str(PROJECT / "examples/make_sample.py"))["main"](files, tmp_path / "lipo.xyz.xz")
    packaged = Path(sample.__file__).parent / sample.NAME
    assert lzma.decompress((tmp_path / "lipo.xyz.xz").read_bytes()) == lzma.decompress(packaged.read_bytes())
