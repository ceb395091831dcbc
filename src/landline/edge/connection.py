"""HTTP/1.1 on one connection (RFC 9112): requests are read whole by httptools, handled one after the other, and
answered each in one write. Every limit is kept while reading, so that nobody makes the server hold more than a
request.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol, cast

import httptools
import structlog

from landline.core.errors import Invalid, NotServed, Refusal, TooLarge, TooMany, Unavailable
from landline.edge import answers, queries, request_ids, targets, unread
from landline.edge.answers import Answers, Gone
from landline.edge.handshake import descriptor
from landline.edge.http import Limits, Request, Response
from landline.edge.room import FEW_BYTES, Room

log = structlog.get_logger()

KEEP_ALIVE_S = 75.0
MOST_AHEAD = 64
"""Requests that wait for the one before them: a piece of 64 KiB may hold thousands, each a hundred times its size."""
LINGER_S = 2.0
"""How long what a refused client still sends is read and dropped: closing at once would reset the connection and take
the refusal with it (RFC 9112 §9.6)."""
_PARTING_S = 0.1
"""How long a client may take to answer the end of TLS when it has asked for nothing: one that pools connections does
not look at them."""
_SINGLE = frozenset(
    {"host", "authorization", "content-length", "date", "x-ms-date", "x-ms-content-sha256"}
    | {"x-ms-host", "x-forwarded-host", "x-skypetoken"}
)
"""Headers that mean something else to each reader when they are sent twice."""
_MUCH = 1 << 16
"""Of a client that sends so much at once no more is read before all others have had their turn: the event loop would go
on with it for as long as it sends."""
_FRAMING = 4
"""A chunked body may be so many times as large on the wire, and its trailers as large as a head, which the parser would
gather without end. Small chunks cost the most of all that a stranger can send."""
_STEP = (1 << 14) - 1
"""The room is told of so many bytes more at once."""
_LONGEST_KEPT = 64
"""Bytes of a header's name that is remembered: what a client makes up must not fill the memory."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

Upgrade = Callable[[asyncio.Transport, Request, bytes], None]
"""Takes a connection over whose client asks for a WebSocket, with that request and what came behind it."""


class TooSlow(Refusal):
    """The request did not arrive in time (RFC 9110 §15.5.9)."""

    status = 408
    code = "RequestTimeout"


class HttpApp(Protocol):
    """What is served behind a listener."""

    limits: Limits
    room: Room
    """Shared by all its connections."""

    async def respond(self, request: Request, refusal: Refusal | Unavailable | None = None) -> Response:
        """The answer to `request`; when it broke a limit or the grammar, which is `refusal`, in the shape of the path
        it was sent to. Never raises."""
        ...


@dataclass(frozen=True, slots=True)
class Unwelcome:
    """A client of which nothing is read but a head, which has to come within `head_s`: it is answered `refusal`."""

    refusal: Refusal
    head_s: float


class HttpConnection(asyncio.Protocol):
    """One connection. It is in `connections` from when it is made until it is closed and its request has ended."""

    def __init__(
        self,
        app: HttpApp,
        connections: "set[HttpConnection]",
        upgrade: Upgrade,
        loop: asyncio.AbstractEventLoop,
        unwelcome: Unwelcome | None = None,
    ) -> None:
        self._app = app
        self._unwelcome = unwelcome
        self._limits = app.limits if unwelcome is None else replace(app.limits, body_timeout_s=unwelcome.head_s)
        self._room = app.room
        self._most_head = app.limits.header_bytes + app.limits.target_bytes
        self._connections = connections
        self._upgrade = upgrade
        self._loop = loop
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)  # set before anything else is called
        self._answers: Answers = cast(Answers, None)
        self._client = ""
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: list[tuple[Request, Refusal | Unavailable | None, bool]] = []
        """Requests read, in order, each with why it is refused and whether the connection goes on after it."""
        self._task: asyncio.Task[None] | None = None
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deaf = False
        """What still comes is dropped: the connection ends after what is in hand."""
        self._known = False
        """It has sent a whole request."""
        self._counted = FEW_BYTES
        """What the room knows to be held by the request that is being read."""
        self._cut = False
        """A request was refused before it had come whole: its client may still be sending."""
        self._begin()

    def _begin(self) -> None:
        """Nothing of the next request has come."""
        if self._counted > FEW_BYTES:
            self._discount()
        self._begun = False
        self._read_bytes = 0
        self._url = b""
        self._headers: dict[str, str] = {}
        self._header_count = 0
        self._headers_done = False
        self._body: bytes | bytearray = b""
        """As it came when it came in one piece; more are joined at once: each alone costs more than what it holds."""
        self._refusal: Refusal | None = None
        self._asks_to_go_on = False
        """Its client waits for `100 Continue`, which would now stand inside the answer before its own."""

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._answers = Answers(self._transport, self._room, self._loop)
        peer = transport.get_extra_info("peername")
        self._client = peer[0] if peer else ""
        if not self._room.enter(self, descriptor(transport), self._loop.time()):
            self._deaf = True
            return self._transport.abort()
        self._connections.add(self)
        return self._set_deadline(KEEP_ALIVE_S)

    def eof_received(self) -> bool:
        """Who has said all may still listen: whether the connection stays for what is in hand (TLS knows no halves)."""
        self._deaf = True
        return (
            self._task is not None and self._answers.live is None and not self._transport.get_extra_info("sslcontext")
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self._deaf = True
        while self._waiting:
            request = self._waiting.pop()[0]
            if len(request.body) > FEW_BYTES:
                self._room.release(request)
        if self._timer is not None:
            self._timer.cancel()
        self._answers.lose()
        if self._task is None:
            self._connections.discard(self)
        self._let_go()

    def pause_writing(self) -> None:
        self._answers.pause()

    def resume_writing(self) -> None:
        self._answers.resume()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        begun = self._begun
        self._read_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as at:
            self._on_upgrade(data[cast(int, at.args[0]) :])
        except httptools.HttpParserError as error:
            if not self._deaf:
                self._refuse(unread.refusal(error, data))
        if len(data) > _MUCH and not self._deaf:
            self._transport.pause_reading()
            self._loop.call_soon(self._read_on)
        if self._deaf or not self._begun:
            return
        if not self._headers_done and self._read_bytes > self._most_head:
            self._refuse(unread.too_long_head(len(self._url), self._limits))
        elif self._read_bytes > self._most_head + _FRAMING * len(self._body):
            self._refuse(unread.too_wordy())
        else:
            if not begun or self._deadline is None:  # a new request has begun, maybe right behind another one
                self._set_deadline(self._limits.body_timeout_s)
            read = self._read_bytes
            if read > self._counted or len(data) > self._counted:
                self._count(max(read, len(data)))

    def _read_on(self) -> None:
        """The others have had their turn."""
        if not self._waiting and not self._transport.is_closing():
            self._transport.resume_reading()

    # httptools' callbacks

    def on_message_begin(self) -> None:
        self._begun = True

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._headers_done:
            return  # a trailer: what decides about a request stands before its body (RFC 9110 §6.5.1)
        key = _lower(name) if len(name) <= _LONGEST_KEPT else name.decode("latin-1").lower()
        if key in self._headers:
            if key in _SINGLE:
                self._refusal = self._refusal or Refusal(f"The header {key} was sent more than once.", target=key)
            elif key == "transfer-encoding":
                value = self._headers[key].encode("latin-1") + b", " + value  # as if on one line (RFC 9110 §5.3)
        self._headers[key] = value.decode("latin-1")
        self._header_count += 1

    def on_headers_complete(self) -> None:
        self._headers_done = True
        if self._deaf:
            return
        limits, headers = self._limits, self._headers
        if self._unwelcome is not None:
            self._refuse(self._unwelcome.refusal)
        elif len(self._url) > limits.target_bytes:
            self._refuse(unread.too_long_head(len(self._url), limits))
        elif self._header_count > limits.header_count:
            self._refuse(TooLarge(f"The request has more than {limits.header_count} headers."))
        elif self._read_bytes > limits.header_bytes and _size(headers) > limits.header_bytes:
            self._refuse(unread.too_many_headers(limits.header_bytes))
        # httptools has seen that it is a number
        elif "content-length" in headers and int(headers["content-length"]) > limits.body_bytes:
            self._refuse(unread.too_large(limits.body_bytes))
        elif "transfer-encoding" in headers and not self._is_chunked():
            self._refuse(
                NotServed(
                    "Of transfer codings only chunked is read, and not from older clients.", target="transfer-encoding"
                )
            )
        elif "expect" in headers:
            self._expected()

    def on_body(self, body: bytes) -> None:
        if self._deaf:
            return
        if not self._body:
            self._body = body
        elif isinstance(self._body, bytearray):
            self._body += body
        else:
            self._body = bytearray(self._body) + body
        if len(self._body) > self._limits.body_bytes:
            self._refuse(unread.too_large(self._limits.body_bytes))

    def on_message_complete(self) -> None:
        if self._deaf or self._parser.should_upgrade():  # then `data_received` is told
            return
        goes_on = self._parser.should_keep_alive()
        request, refusal = self._request(), self._refusal
        self._begin()
        if not self._known:
            self._known = True
            self._room.know(self)
        if len(request.body) > FEW_BYTES:
            refusal = self._room.hold(request, self._loop.time()) or refusal
        self._take(request, refusal, goes_on)

    # what was read

    def _request(self) -> Request:
        body = bytes(self._body)  # no copy of what came in one piece
        if queries.holds_nul(body):
            self._refusal = self._refusal or Invalid("The body may not hold the character NUL.", target="body")
        return Request(
            self._parser.get_method().decode("latin-1") if self._url else "",
            targets.read(self._url, self._headers),
            self._headers,
            body,
            request_ids.new(),
            self._client,
        )

    def _is_chunked(self) -> bool:
        """Whether the body is framed by chunks and in no other coding beside (RFC 9112 §6.1)."""
        return self._headers["transfer-encoding"].strip().lower() == "chunked" and not self._is_old()

    def _is_old(self) -> bool:
        return self._parser.get_http_version() != "1.1"  # 0.9 and 2.0 are read as well

    def _expected(self) -> None:
        """The client waits for a word before it sends its body (RFC 9110 §10.1.1)."""
        if self._headers["expect"].lower() != "100-continue" or self._is_old():
            return
        if self._refusal is not None:
            self._refuse(self._refusal)
        elif self._task is None:
            self._transport.write(_CONTINUE)
        else:
            self._asks_to_go_on = True

    def _refuse(self, refusal: Refusal | Unavailable) -> None:
        """Answer what was read so far with `refusal`, and read no more."""
        self._cut = True
        if self._counted > FEW_BYTES:
            self._discount()
        self._body = b""
        self._take(self._request(), refusal, False)

    def _count(self, read: int) -> None:
        """At most `read` bytes of a request have come; of one that began behind the end of another it is not known how
        many, and of chunks only what they hold is kept."""
        held = min(read, len(self._body) + self._most_head)
        if held > self._counted:
            self._counted = held | _STEP
            self._room.grow(self, self._counted, self._loop.time())

    def _discount(self) -> None:
        self._counted = FEW_BYTES
        self._room.finish(self)

    def _take(self, request: Request, refusal: Refusal | Unavailable | None, goes_on: bool) -> None:
        if len(self._waiting) == MOST_AHEAD and goes_on:
            refusal, goes_on, self._cut = TooMany(f"At most {MOST_AHEAD} requests are read ahead."), False, True
        self._deadline = None
        self._deaf = not goes_on
        if self._task is None:
            self._task = self._loop.create_task(self._handle(request, refusal, goes_on))
        else:  # pipelined: RFC 9112 §9.3.2
            self._waiting.append((request, refusal, goes_on))
            self._transport.pause_reading()

    def _on_upgrade(self, rest: bytes) -> None:
        """The client asks for another protocol. Only WebSockets are spoken; for others the request stands as it is
        (RFC 9110 §7.8)."""
        if self._deaf:
            return None
        if self._refusal is not None:
            return self._refuse(self._refusal)
        method = self._parser.get_method()
        wanted = self._headers.get("upgrade", "").lower()
        if method == b"CONNECT":
            return self._refuse(NotServed("This server is no proxy."))
        if wanted == "websocket" and self._task is None and not self._is_old():
            self._deaf = True
            if self._timer is not None:
                self._timer.cancel()
            self._upgrade(self._transport, self._request(), rest)
            self._connections.discard(self)
            return self._let_go()
        fields = [f"{name}: {value}\r\n" for name, value in self._headers.items() if name not in ("upgrade", "expect")]
        version = self._parser.get_http_version().encode()
        head = b"%b %b HTTP/%b\r\n%b\r\n" % (method, self._url, version, "".join(fields).encode("latin-1"))
        self._begin()
        self._parser = httptools.HttpRequestParser(self)
        return self.data_received(head + rest)

    # answering

    async def _handle(self, request: Request, refusal: Refusal | Unavailable | None, goes_on: bool) -> None:
        """Answer `request`, and those that came behind it meanwhile."""
        try:
            while True:
                try:
                    response = await self._app.respond(request, refusal)
                finally:
                    if len(request.body) > FEW_BYTES:
                        self._room.release(request)
                goes_on = goes_on and bool(self._waiting or not self._deaf)
                await self._answers.write(request, response, goes_on)
                if (
                    not goes_on or self._answers.lost or (self._deaf and not self._waiting)
                ):  # it may be told so while it writes
                    return self._end()
                if not self._waiting:
                    return self._ready()
                request, refusal, goes_on = self._waiting.pop(0)
                if not self._waiting:
                    self._transport.resume_reading()
        except Gone:
            self._transport.abort()
        except Exception:
            log.exception("edge.connection_failed", request_id=request.request_id)
            self._transport.abort()
        finally:
            self._task = None
            if self._answers.lost:
                self._connections.discard(self)

    def _ready(self) -> None:
        """Nothing that came whole is left to answer."""
        if not self._begun:
            self._set_deadline(KEEP_ALIVE_S)
        elif self._asks_to_go_on:
            self._asks_to_go_on = False
            self._transport.write(_CONTINUE)

    # room for others

    def give_way(self, refusal: Unavailable) -> None:
        """See `room.Guest`."""
        if not self._deaf:
            self._refuse(refusal)

    @property
    def idle_until(self) -> float | None:
        """See `room.Guest`."""
        return None if self._begun or self._task is not None else self._deadline

    # ending

    def shutdown(self) -> None:
        """Take no more requests: the connection ends once those in hand are answered."""
        self._deaf = True
        if self._task is None:
            owes_nothing = not self._transport.get_write_buffer_size()
            self._transport.close()
            if owes_nothing:
                self._loop.call_later(_PARTING_S, self._transport.abort)
        elif self._answers.live is not None:
            self._answers.live.stopping()

    def abort(self) -> None:
        """End now, whatever is in hand."""
        if self._task is not None:
            self._task.cancel()
        self._transport.abort()

    def _end(self) -> None:
        if not self._cut or self._answers.lost:
            return self._close()
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(LINGER_S, self._close)
        return None

    def _close(self) -> None:
        """End once the client has read what was written, or takes too long to."""
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self._loop.call_later(answers.PIECE_TIMEOUT_S, self._transport.abort)

    def _let_go(self) -> None:
        """Nothing more will come. The parser holds us, and we what came of a request: the collector of cycles comes too
        seldom to wait for it."""
        self._room.leave(self)
        self._begin()
        self._parser = cast(httptools.HttpRequestParser, None)

    def _set_deadline(self, seconds: float) -> None:
        """Something has to come within `seconds`. There is one timer, which is moved only when it would be too late:
        that every request made one would cost more than it is worth."""
        self._deadline = due = self._loop.time() + seconds
        if self._timer is not None:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._deadline is None or self._deaf:
            return
        left_s = self._deadline - self._loop.time()
        if left_s > 0.001:
            self._set_deadline(left_s)
        elif not self._begun:
            self._close()
        elif self._waiting:  # it is not read from before those are answered
            self._set_deadline(self._limits.body_timeout_s)
        else:
            self._refuse(TooSlow("The request did not arrive in time."))


@lru_cache(maxsize=1024)
def _lower(name: bytes) -> str:
    return name.decode("latin-1").lower()


def _size(headers: dict[str, str]) -> int:
    return sum(len(name) + len(value) for name, value in headers.items())
