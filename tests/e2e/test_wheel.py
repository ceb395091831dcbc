"""The wheel, installed into an empty virtual environment, is a working `landline dev`."""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Generator
from pathlib import Path

import pytest

import landline.testing.server
from landline.testing import Server

ROOT = Path(__file__).parents[2]


def run(*command: object) -> None:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


@pytest.fixture(scope="module")
def place() -> Generator[Path]:
    """A directory that PostgreSQL's user can reach: what it cannot is another test's matter."""
    with tempfile.TemporaryDirectory(prefix="landline-wheel-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def wheel(place: Path) -> Path:
    source = place / "source"
    source.mkdir()
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", place, source)
    return next(place.glob("landline-*.whl"))


def test_it_carries_the_migrations_and_the_licence(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    migrations = {file.relative_to(ROOT / "src").as_posix() for file in (ROOT / "src").rglob("migrations/*.sql")}
    assert migrations
    assert migrations <= inside
    assert any(name.endswith("licenses/LICENSE") for name in inside)


def test_it_runs_from_an_empty_virtual_environment(wheel: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(sys.executable, "-m", "venv", "--without-pip", place / "venv")
    python = place / "venv" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check"]
    install.append("--no-compile")  # of the hundreds of modules a few are needed
    run(*install, "--require-hashes", "-r", ROOT / "requirements" / "run.txt")
    run(*install, "--no-deps", wheel)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr(landline.testing.server, "COMMAND", (str(place / "venv" / "bin" / "landline"),))
    with Server(place / "data", env={"PATH": os.defpath}) as server:
        assert server.connection_string
        assert (
            "site-packages"
            in subprocess.run(
                [python, "-c", "import landline; print(landline.__file__)"], capture_output=True, text=True, check=True
            ).stdout
        )
