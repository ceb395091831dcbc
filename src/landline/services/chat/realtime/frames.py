"""A change as the bytes that go to sockets: made once, cut at the one place where recipients differ."""

from dataclasses import dataclass

from landline.edge.websockets import text_frame
from landline.protocols.trouter.requests import pushed
from landline.services.chat.model.changes import ChatChange
from landline.services.chat.realtime import payloads
from landline.wire import base

PATH = "/v4/f/chat/"
"""The path of every client's address. They need none of their own: frames go to sockets, not to addresses."""
_RECIPIENT = "8:acs:recipient"  # stands in the body before anything that a user wrote


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A notification for one user: its packet, and that as a frame of a WebSocket."""

    packet: bytes
    framed: bytes


class Frame:
    """The notification of `change`, with a `number` that its answers name."""

    def __init__(self, change: ChatChange, number: int) -> None:
        event, body = payloads.payload(change, _RECIPIENT)
        packet = pushed(number, PATH + event, base.encode(body).decode())
        self._head, cut, self._tail = packet.partition(_RECIPIENT.encode())
        self._shared = None if cut else _outgoing(packet)

    def to(self, recipient: str) -> Outgoing:
        """For `recipient`; the very same value for all where they do not differ."""
        return self._shared or _outgoing(b"".join((self._head, recipient.encode(), self._tail)))


def _outgoing(packet: bytes) -> Outgoing:
    return Outgoing(packet, text_frame(packet))
