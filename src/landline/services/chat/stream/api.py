"""`GET /chat/feed`: the feed over a WebSocket or as server-sent events, with a user's token (guides/chat-bots.md)."""

import asyncio
import re

import structlog

from landline.core.errors import Invalid, Unauthorized, Unavailable
from landline.edge.gate import Gate
from landline.edge.http import Request, Response
from landline.edge.routes import Access, Route
from landline.edge.websockets import SocketRoute, WebSocket
from landline.services.chat.realtime.metrics import Figures
from landline.services.chat.realtime.tickets import Tickets
from landline.services.chat.realtime.watch import Watch
from landline.services.chat.stream import records
from landline.services.chat.stream.frames import Frame
from landline.services.chat.stream.readers import BUG, TRY_AGAIN, FeedReader, SocketWay, StreamWay, Way
from landline.services.chat.stream.tail import Tail
from landline.store.database import Database
from landline.wire import chat_feed as wire

log = structlog.get_logger()

PATH = "/chat/feed"
SUBPROTOCOL = "landline.chat-feed"
_TOKEN = "token."  # noqa: S105 - what a subprotocol begins with that carries one
_OFFSET = re.compile(r"[0-9]{1,18}", re.ASCII)
_EPOCH = re.compile(r"[0-9a-f]{1,32}", re.ASCII)
_KINDS = ("feed_websocket", "feed_events")
_RETRY = b"retry: 1000\n\n"


class ChatFeed:
    """The feeds of one process. What they do is counted in `figures`."""

    def __init__(
        self, database: Database, gate: Gate, tickets: Tickets, tail: Tail, watch: Watch, figures: Figures
    ) -> None:
        self._database = database
        self._gate = gate
        self._tickets = tickets
        self._tail = tail
        self._watch = watch
        self._figures = figures
        self._kinds: dict[FeedReader, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def connections(self) -> dict[str, int]:
        """How many are open, by kind."""
        kinds = list(self._kinds.values())
        return {kind: kinds.count(kind) for kind in _KINDS}

    def routes(self) -> list[Route]:
        """Server-sent events."""
        return [Route("GET", PATH, self._stream, access=Access.NONE, versioned=False, name="chat_feed")]

    def sockets(self) -> list[SocketRoute]:
        """The WebSocket."""
        return [SocketRoute(PATH, self._socket, "chat_feed_socket")]

    async def _socket(self, request: Request, socket: WebSocket) -> None:
        offered = _offered(request)
        reader = await self._reader(request, _carried(offered))
        try:
            greeting, position = await self._start(reader, request)
            way = SocketWay(socket, reader, lambda: self._leave(reader))
            socket.accept(way, subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
        except BaseException:
            self._leave(reader)
            raise
        way.opened()
        self._open(reader, way, greeting, position)

    async def _stream(self, request: Request) -> Response:
        reader = await self._reader(request, None)
        try:
            greeting, position = await self._start(reader, request)
            way = StreamWay(reader, lambda: self._leave(reader))
            pieces = way.pieces()
            await anext(pieces)
        except BaseException:
            self._leave(reader)
            raise
        self._open(reader, way, greeting, position)
        headers = {
            "content-type": "text/event-stream; charset=utf-8",
            "cache-control": "no-store",
            "x-accel-buffering": "no",  # nginx would wait for a buffer to be full
        }
        return Response(200, _RETRY, headers, pieces, way)

    async def _reader(self, request: Request, carried: str | None) -> FeedReader:
        """Who asks, watched from now on. Raises `Unauthorized`, `Forbidden`."""
        if "authorization" not in request.headers:
            token = carried or request.query.get("access_token")
            if not token:
                raise Unauthorized("The request carries no user access token.")
            request.headers["authorization"] = f"Bearer {token}"
        await self._gate.admit(request, Access.USER)
        reader = FeedReader(
            await self._tickets.holder(request.headers["authorization"][7:].strip()),
            self._database,
            self._tail,
            self._figures,
        )
        self._watch.joined(reader)
        return reader

    async def _start(self, reader: FeedReader, request: Request) -> tuple[Frame, int]:
        """Join: how to greet the client, and from where on it reads. Raises `Invalid`, `TooMany`, `Unavailable`."""
        asked = _asked(request)
        await self._tail.join(reader)
        await self._tail.look()
        epoch, position = self._tail.epoch, self._tail.position
        if asked is None:
            return Frame(wire.Connected(position, epoch), epoch, position), position
        offset, of_epoch = asked
        reason = None
        if of_epoch != epoch:
            reason = "epochChanged"
        elif offset < self._tail.floor:
            reason = "offsetTooOld"
        elif offset > position and offset > await records.last_position(self._database):
            reason = "offsetUnknown"
        if reason is not None:
            position = self._tail.position
            return Frame(wire.Reset(position, epoch, reason), epoch, position), position
        return Frame(wire.Connected(offset, epoch), epoch, offset), offset

    def _open(self, reader: FeedReader, way: Way, greeting: Frame, position: int) -> None:
        self._kinds[reader] = _KINDS[isinstance(way, StreamWay)]
        reader.open(way, greeting, position)
        task = asyncio.create_task(self._follow(reader, way))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self, reader: FeedReader, way: Way) -> None:
        try:
            await reader.follow()
        except (Unavailable, TimeoutError):
            way.end(TRY_AGAIN)
        except Exception:  # a bug: the client finds it again where it comes back to
            log.exception("chat.feed_failed")
            way.end(BUG)

    def _leave(self, reader: FeedReader) -> None:
        reader.left()
        self._kinds.pop(reader, None)
        self._watch.left(reader)
        self._tail.leave(reader)


def _offered(request: Request) -> list[str]:
    return [each.strip() for each in request.headers.get("sec-websocket-protocol", "").split(",") if each.strip()]


def _carried(offered: list[str]) -> str | None:
    """The token among subprotocols: all that a browser can add to a WebSocket beside its address."""
    return next((each.removeprefix(_TOKEN) for each in offered if each.startswith(_TOKEN)), None)


def _asked(request: Request) -> tuple[int, str] | None:
    """(offset, epoch) to resume from. Raises `Invalid`."""
    last = request.headers.get("last-event-id")
    offset, _, epoch = last.partition(".") if last else (request.query.get("offset"), "", request.query.get("epoch"))
    if not offset and not epoch:
        return None
    if not offset or _OFFSET.fullmatch(offset) is None:
        raise Invalid("An offset is a number that a frame had.", target="offset")
    if not epoch or _EPOCH.fullmatch(epoch) is None:
        raise Invalid("An epoch comes with the first frame, and is given with each offset.", target="epoch")
    return int(offset), epoch
