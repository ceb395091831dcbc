"""What the libraries log, as a process of its own has it on standard error: one event, one line."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import logging
import asyncpg
from landline.app import logs

logs.configure("info", "text")
try:
    raise {error}
except Exception:
    logging.getLogger("asyncpg.pool").warning("Failed to restore %s", "the pool", exc_info=True)
"""


def logged(error: str) -> str:
    command = [sys.executable, "-c", PROGRAM.format(error=error)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stderr


@pytest.mark.parametrize("error", ["ConnectionRefusedError", "asyncpg.InvalidPasswordError"])
def test_a_database_that_is_away_or_lets_nobody_in_is_one_line(error: str) -> None:
    said = logged(f"{error}('nobody there')")
    assert f"Failed to restore the pool: {error.removeprefix('asyncpg.')}: nobody there" in said
    assert said.count("\n") == 1


def test_a_bug_keeps_its_traceback() -> None:
    assert "Traceback" in logged("ValueError('a bug')")


BUG = """
import logging
import structlog
from landline.app import logs

logs.configure("info", "{style}")

def send(recipient, text):
    raise ValueError("a bug")

try:
    send(*(part * 2 for part in ("+1206", "pay")))
except ValueError:
    structlog.get_logger().exception("ours")
    logging.getLogger("asyncio").exception("theirs")
"""


@pytest.mark.parametrize("style", ["json", "text"])
def test_a_traceback_tells_no_texts_and_no_numbers(style: str) -> None:
    command = [sys.executable, "-c", BUG.format(style=style)]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stderr
    assert said.count("a bug") == 2
    assert "+1206+1206" not in said
    assert "paypay" not in said
    if style == "json":
        ours, theirs = map(json.loads, said.splitlines())
        assert [each["exception"][0]["frames"][-1]["name"] for each in (ours, theirs)] == ["send", "send"]
