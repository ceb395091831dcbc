"""What the official browser client asks for, in its order: config, allocation, handshake, socket or polls, registration
(chat-realtime.md A)."""

from collections.abc import Mapping
from functools import partial
from uuid import uuid4

from landline.core.errors import Expired, NoSuchPath, Unavailable
from landline.edge.gate import Gate
from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Access, Handler, Route
from landline.edge.scopes import IN_CHAT, require
from landline.edge.websockets import Gone, SocketRoute, WebSocket
from landline.ports.bus import Bus
from landline.ports.clock import Clock
from landline.services.chat.addresses import origin
from landline.services.chat.model.ids import milliseconds
from landline.services.chat.realtime.frames import PATH
from landline.services.chat.realtime.hub import Hub, Member
from landline.services.chat.realtime.polls import Polls
from landline.services.chat.realtime.sockets import TTL_S, SocketMember
from landline.services.chat.realtime.tickets import Holder, Tickets
from landline.services.chat.realtime.watch import Watch
from landline.wire import chat_realtime as wire

_ISSUER = "landline"
_CONFIG = "/chat/config/realTimeNotifications"
_REGISTRAR = "/registrar/prod"
_REGISTRATIONS = f"{_REGISTRAR}/v3/registrations"
_HANDSHAKE_S = 85  # heartbeats and closing, as the service's own clients expect
_BEHIND_S = 900.0
"""How far behind the server's a browser's clock may be, as with signed requests."""
_TEXT: Mapping[str, str] = {"content-type": "text/plain; charset=utf-8", "cache-control": "no-store"}


class RealTime:
    """The real-time side of chat in one process."""

    def __init__(self, hub: Hub, tickets: Tickets, watch: Watch, clock: Clock, bus: Bus) -> None:
        self._hub = hub
        self._tickets = tickets
        self._watch = watch
        self._clock = clock
        self._polls = Polls(hub, tickets, watch, bus)

    async def start(self) -> None:
        """Answer polls that reach other processes. Raises `Unavailable`."""
        await self._polls.start()

    async def close(self) -> None:
        """Answer them no more."""
        await self._polls.close()

    def routes(self, gate: Gate) -> list[Route]:
        """Everything but the sockets."""
        polls = "/socket.io/1/xhr-polling/{sid}"
        return [
            _user("GET", _CONFIG, self._config, "realTimeNotifications_getConfiguration"),
            # The client puts the path behind whatever endpoint it was given, and ACS's own end with a slash.
            _user("GET", f"/{_CONFIG}", self._config, "realTimeNotifications_getConfiguration"),
            _open("POST", "/v4/a", partial(self._allocate, gate), "chat_allocate"),
            _user("POST", _REGISTRATIONS, self._register, "chat_register", versioned=False),
            _user("DELETE", f"{_REGISTRATIONS}/{{id}}", self._unregister, "chat_unregister", versioned=False),
            _open("GET", "/socket.io/1/", self._handshake, "chat_handshake"),
            _open("GET", polls, self._poll, "chat_poll"),
            _open("POST", polls, self._say, "chat_say"),
            _open("GET", "/", self._probe, "chat_probe"),
        ]

    def sockets(self) -> list[SocketRoute]:
        """The sockets."""
        return [SocketRoute("/socket.io/1/websocket/{sid}", self._socket, "chat_socket")]

    def connections(self) -> dict[str, int]:
        """How many are open, by kind."""
        return {"websocket": self._hub.size - len(self._polls), "polling": len(self._polls)}

    async def _config(self, request: Request) -> Response:
        require(request.caller, IN_CHAT)
        server = origin(request)
        return json_response(200, wire.RealTimeNotificationConfig(server, server + _REGISTRAR, "public"))

    async def _allocate(self, gate: Gate, request: Request) -> Response:
        try:
            await gate.admit(request, Access.USER)
        except Expired as error:
            # The client gets another token once its own clock says that this one has ended. Told 401 before, it asks
            # four times in 15 s and then never again, and its application hears of nothing.
            if error.ago_s > _BEHIND_S:
                raise
            raise Unavailable("The token has expired: ask with another one.") from None
        token = request.headers.get("x-skypetoken") or request.headers.get("authorization", "")[7:]
        holder = await self._tickets.holder(token.removeprefix("skypetoken=").strip())
        server, now = origin(request), self._clock.now()
        params = wire.ConnectParams(
            _ISSUER,
            _ISSUER,
            "connect",
            str(milliseconds(now)),
            str(milliseconds(holder.ends_at)),
            self._tickets.issue(holder),
        )
        address, made = server + PATH, uuid4()
        return json_response(
            200,
            wire.Allocation(f"{server}/", address, address, server, made.hex[:12], str(made), str(TTL_S), params),
        )

    async def _register(self, request: Request) -> Response:
        require(request.caller, IN_CHAT)
        return Response(202)  # who has a socket open is told; nothing else is needed

    async def _unregister(self, request: Request) -> Response:
        require(request.caller, IN_CHAT)
        return Response(202)

    async def _handshake(self, request: Request) -> Response:
        await self._holder(request)
        return _text(f"{self._polls.new_sid()}:{_HANDSHAKE_S}:{_HANDSHAKE_S}:websocket,xhr-polling")

    async def _probe(self, request: Request) -> Response:
        if "check" not in request.query:
            raise NoSuchPath()
        return _text("Trouter")

    async def _socket(self, request: Request, socket: WebSocket) -> None:
        member = SocketMember(await self._holder(request), socket, self._leave, self._hub.figures)
        await self._hub.join(member)
        try:
            socket.accept(member)
        except Gone:
            self._leave(member)
            raise
        self._watch.joined(member)
        member.greet()

    async def _poll(self, request: Request) -> Response:
        return _text(await self._polls.poll(request.query.get("sig"), request.params["sid"]))

    async def _say(self, request: Request) -> Response:
        await self._polls.say(request.query.get("sig"), request.params["sid"], request.body)
        return _text("1")

    async def _holder(self, request: Request) -> Holder:
        return await self._tickets.read(request.query.get("sig"))

    def _leave(self, member: Member) -> None:
        self._watch.left(member)
        self._hub.leave(member)


def _user(method: str, template: str, handler: Handler, name: str, *, versioned: bool = True) -> Route:
    return Route(method, template, handler, access=Access.USER, versioned=versioned, name=name)


def _open(method: str, template: str, handler: Handler, name: str) -> Route:
    return Route(method, template, handler, access=Access.NONE, versioned=False, name=name)


def _text(text: str) -> Response:
    return Response(200, text.encode(), dict(_TEXT))
