"""What PostgreSQL refuses for a reason of its own, such as a full disk: said in the log, and kept for a while for
whoever asks how the database is. That it is away is no such reason: everybody who meets that says so."""

import asyncio
from dataclasses import dataclass

import asyncpg
import structlog

log = structlog.get_logger()

FRESH_S = 15.0
"""Three heartbeats: who cannot write has been refused by then."""
_SAY_EVERY_S = 60.0
_FULL = "53100"
_PASSING = ("08", "40", "0A", "57P")
"""Classes of SQLSTATE (PostgreSQL, appendix A): connections that end, transactions that gave way to another one, plans
made anew, and starts and stops of the server."""
_SLOW = "statement_not_answered"


@dataclass(frozen=True, slots=True)
class Trouble:
    """One refusal. `at_s` is the event loop's time."""

    code: str
    reason: str
    at_s: float


class Troubles:
    """The latest refusals of one process's database."""

    def __init__(self) -> None:
        self._latest: Trouble | None = None
        self._full: Trouble | None = None
        self._said: dict[str, float] = {}

    def note(self, error: BaseException) -> None:
        """`error` is what a statement, or a connection, was refused with."""
        code, reason = _told(error)
        if not code or code.startswith(_PASSING):
            return
        now = asyncio.get_running_loop().time()
        trouble = self._latest = Trouble(code, reason, now)
        if code == _FULL:
            self._full = trouble
        if now - self._said.get(code, now - _SAY_EVERY_S) >= _SAY_EVERY_S:
            self._said[code] = now
            event = "store.postgres_broken" if code.startswith("XX") else "store.postgres_refuses"
            log.error(event, code=code, error=reason)

    def full(self) -> str | None:
        """What it said of its full disk, if it did so lately."""
        return _fresh(self._full)

    def latest(self) -> str | None:
        """What it refused something with, if it did so lately."""
        return _fresh(self._latest)


def _told(error: BaseException) -> tuple[str, str]:
    """Its code and its words. Its DETAIL is left out: rows may stand in it. No code: it is nothing to note."""
    if isinstance(error, asyncpg.PostgresError):
        return str(getattr(error, "sqlstate", "") or ""), str(error.args[0])
    if isinstance(error, TimeoutError):
        return _SLOW, "a statement was not answered in time: a lock is held, or PostgreSQL is slow"
    return "", ""


def _fresh(trouble: Trouble | None) -> str | None:
    if trouble is None or asyncio.get_running_loop().time() - trouble.at_s > FRESH_S:
        return None
    return trouble.reason
