"""Move files and definitions to new modules, and rewrite all imports: python scripts/move.py MOVES

Lines of MOVES are 'a.py moves to b.py' or 'from a.py to b.py: Name, other'. Run it on a branch to bring it along.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

TREES = ("rgnn", "rgnn_cli", "tests", "benchmarks", "examples")
TEXTS = ("docs/*.md", "README.md", "CHANGELOG.md", "pyproject.toml")


def dotted(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def read_moves(file: Path) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
    files, names = {}, {}
    for line in file.read_text().splitlines():
        if line.startswith("from "):
            old, new, what = re.fullmatch(r"from (\S+) to (\S+): (.*)", line).groups()
            names |= {(old, name.strip()): new for name in what.split(",")}
        elif " moves to " in line:
            old, new = line.split(" moves to ")
            files[old.strip()] = new.strip()
    return files, names


def bound(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Assign):
        return {n.id for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name)}
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return {node.target.id}
    return set()


def extents(source: str, tree: ast.Module) -> list[tuple[int, int, ast.stmt]]:
    """First and last line (from 0, end exclusive) of each statement with the comments above it."""
    lines, found = source.splitlines(), []
    for node in tree.body:
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))]) - 1
        while first > 0 and lines[first - 1].startswith("#"):
            first -= 1
        found.append((first, node.end_lineno, node))
    return found


class Move:
    def __init__(self, moves: Path) -> None:
        self.files, self.names = read_moves(moves)
        self.modules = {dotted(a): dotted(b) for a, b in self.files.items()}
        self.symbols = {(dotted(a), name): dotted(b) for (a, name), b in self.names.items()}

    def module(self, old: str) -> str:
        return self.modules.get(old, old)

    def home(self, module: str, name: str) -> str:
        return self.symbols.get((module, name)) or self.module(module)

    def import_of(self, module: str, alias: ast.alias) -> str:
        """One import line for one name."""
        tail = f" as {alias.asname}" if alias.asname else ""
        whole = f"{module}.{alias.name}"
        if whole in self.modules and (module, alias.name) not in self.symbols:  # a module, by its package
            package, _, name = self.modules[whole].rpartition(".")
            if name != alias.name and not alias.asname:
                tail = f" as {alias.name}"
            return f"from {package} import {name}{tail}"
        return f"from {self.home(module, alias.name)} import {alias.name}{tail}"

    def rewritten(self, source: str, mine: str) -> str:
        """The source of the module `mine` with all imports of what moves."""
        tree, lines, edits = ast.parse(source), source.splitlines(), []
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom) or not node.module or node.module.split(".")[0] not in TREES:
                continue
            new = [self.import_of(node.module, alias) for alias in node.names]
            kept = [line for line in new if not line.startswith(f"from {mine} import")]
            indent = " " * node.col_offset
            tail = re.search(r"\s+# noqa.*$", lines[node.end_lineno - 1])
            edits.append(
                (node.lineno - 1, node.end_lineno, [indent + line + (tail.group() if tail else "") for line in kept])
            )
        imports = {k for first, last, _ in edits for k in range(first, last)}
        lines = [line if k in imports else self.paths(line) for k, line in enumerate(lines)]
        for first, last, new in sorted(edits, reverse=True):
            lines[first:last] = new
        return "\n".join(lines) + "\n"

    def paths(self, text: str) -> str:
        """With dotted and slashed paths in strings and prose, each replaced once."""
        new = {f"{old}.{name}": f"{home}.{name}" for (old, name), home in self.symbols.items()} | self.modules
        words = "|".join(re.escape(old) for old in sorted(new, key=len, reverse=True))
        text = re.sub(rf"(?<![\w./])({words})(?!\w|\.py)", lambda m: new[m[1]], text)
        slashed = "|".join(re.escape(old) for old in sorted(self.files, key=len, reverse=True))
        return re.sub(rf"(?<![\w/])({slashed})", lambda m: self.files[m[1]], text)

    def run(self) -> None:
        taken: dict[str, list[tuple[str, str]]] = {}
        for old in sorted({old for old, _ in self.names}):
            path = Path(old)
            source = path.read_text()
            tree, lines = ast.parse(source), source.splitlines()
            imports = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
            imports += [m for n in tree.body if isinstance(n, ast.If) for m in n.body if isinstance(m, ast.ImportFrom)]
            header = "\n".join(ast.unparse(n) for n in imports)
            top = set().union(*(bound(n) for n in tree.body))
            cut = []
            for first, last, node in extents(source, tree):
                hit = {n for n in bound(node) if (old, n) in self.names}
                if not hit:
                    continue
                new = self.names[(old, min(hit))]
                text = "\n".join(lines[first:last])
                used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} & top - bound(node)
                used |= {w for w in re.findall(r"\"(\w+)\"", text) if w in top} - bound(node)
                mine = [
                    f"from {dotted(old)} import {name}"
                    for name in sorted(used)
                    if self.home(dotted(old), name) != dotted(new)
                ]
                taken.setdefault(new, []).append((header + "\n" + "\n".join(mine), text))
                cut.append((first, last, hit, dotted(new)))
            for first, last, _, _ in sorted(cut, reverse=True):
                del lines[first:last]
            left = "\n".join(lines)
            back = [
                f"from {dotted(old)} import {n}"
                for _, _, hit, _ in cut
                for n in sorted(hit)
                if re.search(rf"\b{n}\b", left)
            ]
            place = next((n.lineno - 1 for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)), 1)
            lines[place:place] = back
            path.write_text("\n".join(lines) + "\n")
        for old, new in self.files.items():
            Path(new).parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["git", "mv", "-k", old, new], check=True)
        for package in {Path(new).parent for new in [*self.files.values(), *taken]}:
            package.mkdir(parents=True, exist_ok=True)
            init = package / "__init__.py"
            if not init.exists():
                init.write_text(f'"""{package.name.replace("_", " ").capitalize()}."""\n')
        for new, pieces in taken.items():
            path = Path(new)
            before = path.read_text() if path.exists() else f'"""{path.stem.replace("_", " ").capitalize()}."""\n'
            headers, bodies = zip(*pieces, strict=True)
            doc, _, rest = before.partition('"""\n') if path.exists() else (before[:-4], "", "")
            path.write_text(doc + '"""\n' + "\n".join(headers) + "\n" + rest + "\n\n\n" + "\n\n\n".join(bodies) + "\n")
        for tree in TREES:
            for path in Path(tree).rglob("*.py"):
                path.write_text(self.rewritten(path.read_text(), dotted(str(path))))
        for pattern in TEXTS:
            for path in Path().glob(pattern):
                path.write_text(self.paths(path.read_text()))


if __name__ == "__main__":
    Move(Path(sys.argv[1])).run()
