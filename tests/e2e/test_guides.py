"""The Python in the README and the guides is run as it stands: tests by pytest, scripts beside a running server."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from landline.testing import Server
from landline.testing.trust import VARIABLES

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guides").glob("*.md"))]


def blocks(page: Path) -> list[str]:
    return BLOCK.findall(page.read_text())


SCRIPTS = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, block in enumerate(blocks(page))
    if "def test_" not in block
]


@pytest.fixture(scope="module")
def beside() -> Iterator[Server]:
    """One whose time is that of the scripts: no other test has advanced it."""
    with Server() as server:
        yield server


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_of_a_page_runs(beside: Server, tmp_path: Path, script: str) -> None:
    told = {"COMMUNICATION_SERVICES_CONNECTION_STRING": beside.connection_string}
    run = python(["-"], tmp_path, script=script, **told, **dict.fromkeys(VARIABLES, beside.ca_bundle))
    assert run.returncode == 0, run.stdout


def test_the_tests_in_the_guides_pass(tmp_path: Path) -> None:
    """In a project of their own, with nothing but the plugin."""
    for page in PAGES:
        for number, block in enumerate(blocks(page)):
            if "def test_" in block:
                (tmp_path / f"test_{page.stem}_{number}.py").write_text(block)
    arguments = ["-m", "pytest", "-q", "--durations=5", *plugin_arguments(), str(tmp_path)]
    run = python(arguments, tmp_path)
    print(run.stdout)
    assert run.returncode == 0


def plugin_arguments() -> list[str]:
    """None when Landline is installed, with its entry point; from a bare tree pytest has to be told."""

    known = entry_points(group="pytest11", name="landline")
    return [] if known else ["-p", "landline.testing.plugin"]


def python(
    arguments: list[str], directory: Path, *, script: str = "", **environment: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        env={**os.environ, **environment},
        input=script,
        text=True,
        timeout=600,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
