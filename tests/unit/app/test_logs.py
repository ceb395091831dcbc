"""What the libraries log: one event, one line."""

import logging
from collections.abc import Callable, Iterator

import pytest

from landline.app import logs


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """What was logged since it was last asked."""
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    logs.configure("info", "json")
    yield lambda: capsys.readouterr().err
    root.handlers[:], level = before
    root.setLevel(level)


def warned(error: Exception, name: str) -> None:
    try:
        raise error
    except type(error):
        logging.getLogger(name).warning("Failed to restore %s", "the pool", exc_info=True)


def test_a_database_that_is_away_is_one_line(said: Callable[[], str]) -> None:
    warned(ConnectionRefusedError("nobody there"), "asyncpg.pool")
    line = said()
    assert "Failed to restore the pool: ConnectionRefusedError: nobody there" in line
    assert "test_logs.py" not in line


def test_a_bug_keeps_its_traceback(said: Callable[[], str]) -> None:
    warned(ValueError("a bug"), "asyncpg.pool")
    assert "test_logs.py" in said()
