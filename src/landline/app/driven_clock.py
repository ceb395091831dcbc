"""How far a data directory's clock was driven ahead is kept in it: what its database holds was told that time, and
would lie in the future of a server that began at the machine's again: unseen, and due only when that has come."""

from datetime import timedelta
from pathlib import Path

from landline.app.config import CannotConfigure
from landline.app.secrets import write_private
from landline.engines.clock import DrivenClock

IN_DATA = "clock-ahead"
"""Seconds, as text."""


def begin(data: Path) -> DrivenClock:
    """The clock of the server on `data`, where the one before it had got to. Raises `CannotConfigure`."""
    file = data / IN_DATA
    return DrivenClock(kept(data), keep=lambda ahead: write_private(file, f"{ahead.total_seconds()}\n"))


def kept(data: Path) -> timedelta:
    """How far it was driven; nothing where it never was. Raises `CannotConfigure`."""
    file = data / IN_DATA
    try:
        ahead = timedelta(seconds=float(file.read_text("ascii")))
    except FileNotFoundError:
        return timedelta(0)
    except (OSError, ValueError, OverflowError) as error:
        raise CannotConfigure(f"{file} does not say how far the clock is ahead, in seconds: {error}") from error
    return max(ahead, timedelta(0))
