"""What the tidy tests look at: every file of the repository that we wrote."""

import ast
import gc
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "landline"
_NOT_OURS = {
    ".git", ".venv", ".hypothesis", ".pytest_cache", ".ruff_cache", ".import_linter_cache", ".landline", "__pycache__",
    "node_modules", "dist", "build",
}  # fmt: skip
_TEXT = {".py", ".pyi", ".md", ".toml", ".txt", ".sql", ".js", ".ts", ".tsx", ".json", ".sh", ".yml", ".cfg", ""}


@cache
def files() -> tuple[Path, ...]:
    """All text files, sorted."""
    return tuple(sorted(_walk(ROOT)))


def python(*roots: str) -> list[Path]:
    """The Python files below these directories of the repository."""
    places = [ROOT / root for root in roots]
    return [file for file in files() if file.suffix == ".py" and any(file.is_relative_to(place) for place in places)]


@cache
def parsed(file: Path) -> ast.Module:
    collecting = gc.isenabled()
    gc.disable()  # nothing of a tree is garbage, and to look through all trees for some takes longer than to parse them
    try:
        return ast.parse(file.read_text("utf-8"), str(file))
    finally:
        if collecting:
            gc.enable()


def name(file: Path) -> str:
    """Its path in the repository."""
    return str(file.relative_to(ROOT))


def texts(module: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, text) of all strings of a module but its docstrings; of formatted ones the fixed parts."""
    docstrings = {
        id(node.value)
        for node in ast.walk(module)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def sql(file: Path) -> list[tuple[int, str]]:
    """(line, SQL) of a migration, or of a module's strings that are SQL."""
    if file.suffix == ".sql":
        return [(1, re.sub(r"--.*", "", file.read_text("utf-8")))]
    return [(line, text) for line, text in texts(parsed(file)) if _SQL.search(text)]


_SQL = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE|ALTER|DROP|FROM|WHERE|VALUES|RETURNING)\b")


def _walk(directory: Path) -> Iterator[Path]:
    for entry in directory.iterdir():
        if entry.is_symlink() or entry.name in _NOT_OURS:
            continue
        if entry.is_dir():
            yield from _walk(entry)
        elif entry.suffix in _TEXT:
            yield entry
