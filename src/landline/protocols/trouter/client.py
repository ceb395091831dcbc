"""The client's side of one trouter connection, for programs that are no browser, for tests and for load."""

from dataclasses import dataclass
from typing import Any

import msgspec

from landline.protocols.trouter.errors import RemoteProtocolError
from landline.protocols.trouter.packets import Kind, Packet, read, written
from landline.protocols.trouter.requests import PushedRequest

PING_S = 40.0
ANSWER_S = 5.0
"""Within which a ping is acknowledged."""

_request = msgspec.json.Decoder(PushedRequest)


@dataclass(frozen=True, slots=True)
class Connected:
    """The server has greeted us: notifications come from now on."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """A notification came, and has been answered. `event`: the last part of its address."""

    event: str
    body: str


@dataclass(frozen=True, slots=True)
class Draining:
    """The server asks us to open another connection."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The server ended the connection, or does not answer."""


class Client:
    """One connection; the transport below it is open."""

    def __init__(self, now: float) -> None:
        self._out: list[str] = []
        self._number = 0
        self._ping_at = now + PING_S
        self._asked: tuple[str, float] | None = None

    def receive(self, data: str, now: float) -> Connected | Pushed | Draining | Ended | None:
        """What the packet `data` means. Raises `RemoteProtocolError`."""
        packet = read(data)
        match packet.kind:
            case Kind.DISCONNECT:
                return Ended()
            case Kind.HEARTBEAT:
                self._out.append(written(packet))
            case Kind.ACK:
                if self._asked is not None and packet.data.partition("+")[0] == self._asked[0]:
                    self._asked, self._ping_at = None, now + PING_S
            case Kind.EVENT:
                return self._event(packet)
            case Kind.MESSAGE:
                return self._pushed(packet)
            case _:
                pass
        return None

    def active(self) -> None:
        """Say that the user is there."""
        self._say("user.activity", [{"state": "active", "cv": "0.0"}])

    def leave(self) -> None:
        """End the connection."""
        self._out.append(written(Packet(Kind.DISCONNECT)))

    def outgoing(self) -> list[str]:
        """Packets to send now, in order."""
        out, self._out = self._out, []
        return out

    def deadline(self) -> float:
        """When to call `expire`."""
        return self._ping_at if self._asked is None else self._asked[1] + ANSWER_S

    def expire(self, now: float) -> Ended | None:
        """Do what is due."""
        if now < self.deadline():
            return None
        if self._asked is not None:
            return Ended()
        self._asked = (self._say("ping", []), now)
        return None

    def _say(self, name: str, args: list[Any]) -> str:
        self._number += 1
        data = msgspec.json.encode({"name": name, "args": args}).decode()
        self._out.append(written(Packet(Kind.EVENT, str(self._number), acked=True, data=data)))
        return str(self._number)

    def _event(self, packet: Packet) -> Connected | Draining | None:
        try:
            name = msgspec.json.decode(packet.data)["name"]
        except (msgspec.DecodeError, KeyError, TypeError) as error:
            raise RemoteProtocolError("The event is not what it should be.") from error
        return {"trouter.connected": Connected(), "trouter.reconnect": Draining()}.get(name)

    def _pushed(self, packet: Packet) -> Pushed:
        try:
            request = _request.decode(packet.data)
        except msgspec.DecodeError as error:
            raise RemoteProtocolError("The request is not what it should be.") from error
        answer: dict[str, object] = {"id": request.id, "status": 200, "headers": {}, "body": ""}
        self._out.append(written(Packet(Kind.MESSAGE, data=msgspec.json.encode(answer).decode())))
        return Pushed(request.url.rpartition("/")[2], request.body)
