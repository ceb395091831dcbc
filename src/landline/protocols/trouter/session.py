"""The server's side of one trouter connection: greets, acknowledges what the client asks to have acknowledged, keeps
the connection alive and notices when nobody is there any more (chat-realtime.md A, 5).

Notifications do not pass through here: their bytes are the same for many connections (`requests.pushed`).
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from landline.protocols.trouter.errors import RemoteProtocolError
from landline.protocols.trouter.packets import Kind, Packet, read, written

HEARTBEAT_S = 60.0
"""Between our heartbeats; the client gives up after 87 s in which it heard nothing."""
SILENCE_S = 120.0
"""A client pings every 40 s; one that was not heard for so long is gone."""
_CONNECTED = "trouter.connected"
_PING = "ping"
_CONNECT = written(Packet(Kind.CONNECT))
_HEARTBEAT = written(Packet(Kind.HEARTBEAT))


class _Event(msgspec.Struct):
    name: str
    args: list[Any] = []


class _Answer(msgspec.Struct):
    id: int
    status: int = 0


_event = msgspec.json.Decoder(_Event)
_answer = msgspec.json.Decoder(_Answer)
_NAME = re.compile(r"[\w.]{1,64}", re.ASCII)


class _State(Enum):
    OPEN = "open"
    ENDED = "ended"


class Answered(msgspec.Struct, frozen=True, gc=False):
    """The client answered a notification; 200: it had a use for it."""

    id: int
    status: int


class Told(msgspec.Struct, frozen=True, gc=False):
    """The client said something of itself, such as `user.activity`."""

    name: str


@dataclass(frozen=True, slots=True)
class Left:
    """The client ended the connection in good order."""


@dataclass(frozen=True, slots=True)
class PeerLost:
    """Nothing was heard from the client for too long."""

    silence_s: float


Event = Answered | Told | Left


class Session:
    """One connection, open from the first. `ttl_s`: for how long the client may use its address."""

    __slots__ = ("_beat_at", "_heard_at", "_number", "_out", "_state")

    def __init__(self, now: float, *, ttl_s: int) -> None:
        self._state = _State.OPEN
        self._heard_at = now
        self._beat_at = now + HEARTBEAT_S
        self._number = 1
        self._out = [_CONNECT]
        self._say(_CONNECTED, {"ttl": str(ttl_s), "dur": "1"})

    def receive(self, data: str, now: float) -> Event | None:
        """What the packet `data` means. Raises `RemoteProtocolError`."""
        self._heard_at = now
        if self._state is _State.ENDED:
            return None
        packet = read(data)
        match packet.kind:
            case Kind.DISCONNECT:
                self._state = _State.ENDED
                return Left()
            case Kind.EVENT:
                return self._told(packet)
            case Kind.MESSAGE | Kind.JSON:
                return _answered(packet)
            case _:
                return None

    def reconnect(self) -> None:
        """Have the client open another connection, and close this one when it has it."""
        self._say("trouter.reconnect", {"target": "self"})

    def end(self, reason: str = "") -> None:
        """Say that the connection ends. `unauthorized` has the client get another token before it comes again."""
        if self._state is _State.OPEN:
            self._state = _State.ENDED
            data = msgspec.json.encode({"reason": reason}).decode() if reason else ""
            self._out.append(written(Packet(Kind.DISCONNECT, data=data)))

    def outgoing(self) -> list[str]:
        """Packets to send now, in order."""
        if not self._out:
            return []
        out, self._out = self._out, []
        return out

    def deadline(self) -> float:
        """When to call `expire`."""
        return min(self._beat_at, self._heard_at + SILENCE_S)

    def expire(self, now: float) -> PeerLost | None:
        """Do what is due."""
        if now >= self._heard_at + SILENCE_S:
            self._state = _State.ENDED
            return PeerLost(now - self._heard_at)
        if now >= self._beat_at:
            self._beat_at = now + HEARTBEAT_S
            self._out.append(_HEARTBEAT)
        return None

    def _told(self, packet: Packet) -> Told:
        try:
            event = _event.decode(packet.data)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
            raise RemoteProtocolError("The event is not what it should be.") from error
        if packet.id:
            # An acknowledgement names its packet in its data, and with `+` carries the answer's arguments.
            result = ('+["pong"]' if event.name == _PING else "+[]") if packet.acked else ""
            self._out.append(written(Packet(Kind.ACK, data=packet.id + result)))
        return Told(event.name if _NAME.fullmatch(event.name) else "")

    def _say(self, name: str, argument: dict[str, str]) -> None:
        if self._state is _State.OPEN:
            data = msgspec.json.encode({"name": name, "args": [argument]}).decode()
            self._out.append(written(Packet(Kind.EVENT, str(self._number), data=data)))
            self._number += 1


def _answered(packet: Packet) -> Answered:
    try:
        answer = _answer.decode(packet.data)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise RemoteProtocolError("The answer is not what it should be.") from error
    return Answered(answer.id, answer.status)
