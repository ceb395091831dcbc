"""The answers on one HTTP/1.1 connection: each in one write, a streamed one as fast as its client reads it."""

import asyncio
import re
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

import structlog

from landline.edge.http import Live, Request, Response
from landline.edge.room import Room

log = structlog.get_logger()

PIECE_TIMEOUT_S = 30.0
"""How long a client may take to read an answer, or a piece of a streamed one."""
_UNSAFE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}


class Gone(Exception):
    """The client left before it had its whole answer, or reads too slowly."""


class Answers:
    """Writes to one client. Its connection says when the transport is full, has room again, or is lost."""

    __slots__ = ("_drained", "_loop", "_room", "_transport", "live", "lost")

    def __init__(self, transport: asyncio.Transport, room: Room, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._room = room
        self._loop = loop
        self._drained: asyncio.Event | None = None
        self.live: Live | None = None
        """Who streams the answer in hand, when it has no end of its own."""
        self.lost = False

    def pause(self) -> None:
        """The client has to read before more is written."""
        self._drained = asyncio.Event()

    def resume(self) -> None:
        """It has read."""
        if self._drained is not None:
            self._drained.set()
            self._drained = None

    def lose(self) -> None:
        """Nobody reads any more."""
        self.lost = True
        if self._drained is not None:
            self._drained.set()
        if self.live is not None:
            self.live.gone()

    async def write(self, request: Request, response: Response, goes_on: bool) -> None:
        """Answer `request`; `goes_on`: whether the connection stays. Raises `Gone`."""
        bare = request.method == "HEAD"
        if response.stream is not None:
            return await self._write_stream(request, response, goes_on, bare)
        if self.lost:
            return None
        length = "" if response.status == 204 else f"content-length: {len(response.body)}\r\n"  # RFC 9110 §8.6
        head = _head(request, response, length, goes_on)
        self._transport.write(head if bare else head + response.body)
        if self._drained is not None:
            await self._drain()
        return None

    async def _write_stream(self, request: Request, response: Response, goes_on: bool, bare: bool) -> None:
        """The answer in pieces, each given to a reader that took the one before in time. Raises `Gone`."""
        stream = response.stream
        assert stream is not None
        try:
            if bare:
                await stream.aclose()  # first, so that who has the answer and asks again finds free what it held
            if self.lost:
                raise Gone
            self._transport.write(_head(request, response, "transfer-encoding: chunked\r\n", goes_on))
            if not bare:
                self.live = response.live
                if self.live is not None:
                    self.live.begun(self._transport.abort)
                await self._write_chunk(response.body)
                async for piece in stream:
                    await self._write_chunk(piece)
                if self.lost:
                    raise Gone
                self._transport.write(b"0\r\n\r\n")
        except Gone:
            raise
        except Exception as error:  # too late for another status
            log.exception("edge.stream_cut", request_id=request.request_id)
            raise Gone from error
        finally:
            self.live = None
            await stream.aclose()

    async def _write_chunk(self, piece: bytes) -> None:
        if self.lost:
            raise Gone
        if piece:
            self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        await self._drain()

    async def _drain(self) -> None:
        """Until the client has read enough of what was written. Raises `Gone`."""
        if self._drained is None:
            return
        self._room.owe(self._transport, self._loop.time())
        try:
            async with asyncio.timeout(PIECE_TIMEOUT_S):
                await self._drained.wait()
        except TimeoutError:
            raise Gone from None
        finally:
            self._room.read(self._transport)


def _head(request: Request, response: Response, framing: str, goes_on: bool) -> bytes:
    headers = response.headers
    if _UNSAFE.search("".join(headers.values())):
        raise ValueError("a header of the answer holds control characters")
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    kept = "" if "connection" not in request.headers else "connection: keep-alive\r\n"  # HTTP/1.0 waits for it
    start = _STATUS_LINES.get(response.status) or f"HTTP/1.1 {response.status} \r\n"
    ending = kept if goes_on else "connection: close\r\n"
    return f"{start}date: {date()}\r\n{lines}{ending}{framing}\r\n".encode("latin-1")


def date() -> str:
    """The Date of an answer that is made now (RFC 9110 §6.6.1)."""
    return _date(int(time.time()))


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
