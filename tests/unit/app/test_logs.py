"""What the libraries log, as a process of its own has it on standard error: one event, one line."""

import subprocess
import sys

PROGRAM = """
import logging
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


def test_a_database_that_is_away_is_one_line() -> None:
    said = logged("ConnectionRefusedError('nobody there')")
    assert "Failed to restore the pool: ConnectionRefusedError: nobody there" in said
    assert said.count("\n") == 1


def test_a_bug_keeps_its_traceback() -> None:
    assert "Traceback" in logged("ValueError('a bug')")
