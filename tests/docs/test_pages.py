"""Links and spelling of the pages, and facts that stand in several files."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
PAGES = sorted(p for p in [*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")] if "_run" not in p.parts)
PAGES_BY_NAME = {str(page.relative_to(PROJECT)): page for page in PAGES}
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]


def anchors(page: Path) -> set[str]:
    """What a link into a page may point to: its headings as GitHub and MyST spell them, and its named targets."""
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"^\((.+)\)=$", text, re.MULTILINE))
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return named | {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("name", PAGES_BY_NAME)
def test_links_lead_somewhere(name: str) -> None:
    """Files and headings of the project exist; addresses elsewhere are well formed (nothing is fetched)."""
    page = PAGES_BY_NAME[name]
    for target in LINK.findall(CODE.sub("", page.read_text(encoding="utf-8"))):
        if "://" in target:
            parts = urlsplit(target)
            assert parts.scheme in ("http", "https") and "." in parts.netloc and " " not in target, target
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file) if file else page
        assert there.exists(), f"{name}: {target}"
        generated = there.parent.name == "reference" or anchor.startswith(("settings-", "command-"))
        if anchor and there.suffix == ".md" and not generated:
            assert anchor in anchors(there), f"{name}: {target}; headings are {sorted(anchors(there))}"


def test_every_page_is_in_the_site() -> None:
    """The table of contents names each page, and README does not grow into a manual again."""
    index = (PROJECT / "docs/index.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^([\w/-]+)$", index, re.MULTILINE))
    pages = {str(p.relative_to(PROJECT / "docs").with_suffix("")) for p in PAGES if "docs" in p.parts}
    assert {p for p in pages if not p.startswith("decisions/")} - {"index"} <= listed
    decisions = (PROJECT / "docs/decisions/README.md").read_text(encoding="utf-8")
    for page in pages:
        if page.startswith("decisions/") and not page.endswith("README"):
            assert f"({Path(page).name}.md)" in decisions
    assert len((PROJECT / "README.md").read_text(encoding="utf-8").splitlines()) < 160


def test_words_are_spelled_right() -> None:
    codespell = Path(sys.executable).with_name("codespell")
    if not codespell.exists():
        pytest.skip("needs codespell, of the extra 'docs'")
    done = subprocess.run([codespell], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_version_and_requirements_are_the_same_everywhere() -> None:
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text(encoding="utf-8"))
    recipe = yaml.safe_load((PROJECT / "recipe/meta.yaml").read_text(encoding="utf-8"))
    assert citation["version"] == recipe["package"]["version"] == PYPROJECT["version"]
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert all({"type", "title", "authors", "doi"} <= reference.keys() for reference in citation["references"])
    # conda calls torch pytorch, and writes "name >=1,<2".
    wanted = {re.sub(r"^torch\b", "pytorch", d) for d in PYPROJECT["dependencies"]}
    found = {line.replace(" ", "") for line in recipe["requirements"]["run"] if not line.startswith("python ")}
    assert found == wanted
    assert f"python {PYPROJECT['requires-python']}" in recipe["requirements"]["run"]


def test_the_changelog_keeps_its_rule() -> None:
    text = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## (\S+)", text, re.MULTILINE)
    assert versions[0] in ("Unreleased", PYPROJECT["version"])
    assert len(versions) == len(set(versions))
