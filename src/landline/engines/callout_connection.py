"""One connection of the callout engine: a request is written at once and whole, its answer read as it comes."""

import asyncio
from typing import Protocol, cast

from landline.engines.callout_answer import AnswerReader, BadAnswer
from landline.ports.callout import Answered, CalloutFailed

Origin = tuple[str, str, int]
"""Scheme, host and port: what requests must share to share connections."""


class NothingCame(CalloutFailed):
    """The connection was lost before a byte of the answer."""

    def __init__(self, why: str) -> None:
        super().__init__("connection", why)


def closing() -> CalloutFailed:
    """What becomes of requests when the engine closes."""
    return CalloutFailed("connection", "this server is closing")


class Keeper(Protocol):
    """What keeps connections between their requests."""

    def free(self, connection: "Connection") -> None:
        """`connection` can take another request."""
        ...

    def lost(self, connection: "Connection") -> None:
        """`connection` is no more; told once."""
        ...


class Connection(asyncio.Protocol):
    """A connection to one origin, with at most one request under way.

    It is kept after a whole answer that did not announce the connection's end and left nothing behind; in all other
    cases it is closed.
    """

    __slots__ = ("_answered", "_keeper", "_loop", "_open", "_reader", "_transport", "idle_since", "kept", "origin")

    def __init__(self, origin: Origin, keeper: Keeper) -> None:
        self.origin = origin
        self.kept = False
        """Whether it has brought an answer already."""
        self.idle_since = 0.0
        self._keeper = keeper
        self._loop = asyncio.get_running_loop()
        self._open = True
        self._transport: asyncio.Transport | None = None
        self._answered: Answered | None = None
        self._reader = AnswerReader()

    @property
    def usable(self) -> bool:
        """Whether a request may be written."""
        return self._open and self._transport is not None and not self._transport.is_closing()

    def now(self) -> float:
        """The event loop's time."""
        return self._loop.time()

    def ask(self, request: bytes, limit_bytes: int, answered: Answered) -> None:
        """Write `request`; `answered` is told its answer, the body cut at `limit_bytes`, or `CalloutFailed`, unless the
        connection is aborted before. Raises `NothingCame`."""
        assert self._answered is None
        if self._transport is None:
            raise NothingCame("the connection was closed as soon as it was made")
        self._reader.begin(limit_bytes)
        self._answered = answered
        self._transport.write(request)

    def abort(self) -> None:
        """End it now, and whatever is under way, of which nobody is told anything more."""
        self._answered = None
        self._open = False
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """End it in the orderly way."""
        self._open = False
        if self._transport is not None:
            self._transport.close()

    def leave(self) -> None:
        """The callout engine closes: nothing under way is waited for."""
        if self._answered is None:
            self.close()
        else:
            self.fail(closing())

    def fail(self, failure: CalloutFailed) -> None:
        """Give up the request under way, and the connection with it."""
        answered = self._answered
        self.abort()
        if answered is not None:
            answered(failure)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._answered is None:
            self.abort()  # nobody asked
            return
        try:
            whole = self._reader.receive(data)
        except BadAnswer as error:
            self.fail(CalloutFailed("protocol", str(error)))
            return
        if whole:
            self._finish()

    def eof_received(self) -> None:
        self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc)
        self._transport = None  # asyncio's own over TLS cannot be aborted any more
        self._keeper.lost(self)

    def _end(self, cause: Exception | None) -> None:
        self._open = False
        if self._answered is None:
            return
        if self._reader.silent:
            self.fail(NothingCame(str(cause or "") or "the connection was closed before an answer came"))
        elif self._reader.end():
            self._finish()
        else:
            self.fail(CalloutFailed("protocol", "the answer ends in the middle"))

    def _finish(self) -> None:
        assert self._transport is not None
        assert self._answered is not None
        answered, self._answered = self._answered, None
        answer = self._reader.answer()
        # An answer may come before the request has left: then the rest of it would run into the next.
        if self._reader.reusable and self._open and not self._transport.get_write_buffer_size():
            self.kept = True
            self.idle_since = self._loop.time()
            self._keeper.free(self)
        elif self._transport.get_write_buffer_size():
            self.abort()  # it would close only when that has left, and who answers before may never read it
        else:
            self.close()
        answered(answer)
