"""News of changed configuration between processes (LISTEN/NOTIFY), so that caches of it can be trusted.

A cache registers what to forget; while the listening connection is down, every cache is told to forget everything and
`trusted` is False: readers then ask the database each time. That a connection brings nothing any more, not even its
end, is found out by asking.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import asyncpg
import structlog

from landline.core.errors import Unavailable
from landline.store.database import UNREACHED, Connection
from landline.store.watched import watched

log = structlog.get_logger()
_CHANNEL = "landline_changes"
_RETRY_S = 0.5
_ASK_S = 5.0
_ANSWER_S = 5.0


class Changes:
    """One process's ear for changes. `publish` in the transaction that makes the change."""

    def __init__(self, dsn: str, *, ask_s: float = _ASK_S, answer_s: float = _ANSWER_S) -> None:
        """`ask_s`: how often the connection is asked whether it is there still; `answer_s`: how long it may take."""
        self._dsn = dsn
        self._ask_s = ask_s
        self._answer_s = answer_s
        self._forget: dict[str, list[Callable[[str | None], None]]] = {}
        self._task: asyncio.Task[None] | None = None
        self.trusted = False

    def watch(self, subject: str, forget: Callable[[str | None], None]) -> None:
        """Call `forget(key)` when `subject`'s `key` changed in any process, `forget(None)` when anything may have."""
        self._forget.setdefault(subject, []).append(forget)

    async def publish(self, connection: Connection, subject: str, key: str) -> None:
        """Tell every process, when the surrounding transaction commits, that `subject`'s `key` changed."""
        await connection.execute("SELECT pg_notify($1, $2)", _CHANNEL, f"{subject}\n{key}")

    def forget(self, subject: str, key: str | None) -> None:
        """Have this process's caches forget at once, without waiting for the news to come round."""
        for forget in self._forget.get(subject, ()):
            forget(key)

    async def start(self) -> None:
        """Begin to listen; returns when the first connection listens. Raises `Unavailable`: where PostgreSQL has no
        connection left for this, who starts us is to be told, and not to wait."""
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = watched(self._listen(begun), "changes")
        await begun

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _listen(self, begun: asyncio.Future[None]) -> None:
        while True:
            try:
                await self._listen_once(begun)
            except UNREACHED as error:
                if not begun.done():
                    begun.set_exception(Unavailable(f"cannot reach PostgreSQL: {error}"))
                    return
                log.warning("changes.lost", error=type(error).__name__)
            await asyncio.sleep(_RETRY_S)

    async def _listen_once(self, begun: asyncio.Future[None]) -> None:
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        connection: Any = await asyncpg.connect(self._dsn, timeout=10, command_timeout=self._answer_s)
        try:
            connection.add_termination_listener(partial(_end, ended))
            await connection.add_listener(_CHANNEL, self._heard)
            self._forget_everything()
            self.trusted = True
            _end(begun)
            while not ended.done():
                await asyncio.wait([ended], timeout=self._ask_s)
                if not ended.done():
                    await connection.execute("SELECT 1")
        finally:
            self.trusted = False
            self._forget_everything()
            await connection.close(timeout=1)

    def _heard(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        subject, _, key = str(payload).partition("\n")
        self.forget(subject, key)

    def _forget_everything(self) -> None:
        for subject in self._forget:
            self.forget(subject, None)


def _end(ended: asyncio.Future[None], _connection: object = None) -> None:
    if not ended.done():
        ended.set_result(None)
