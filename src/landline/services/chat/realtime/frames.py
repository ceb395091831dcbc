"""A change as the bytes that go to sockets: made once, cut at the one place where recipients differ."""

from landline.protocols.trouter.requests import pushed
from landline.protocols.websocket.frames import head, text_frame
from landline.services.chat.model.changes import ChatChange
from landline.services.chat.realtime import payloads
from landline.wire import base

PATH = "/v4/f/chat/"
"""The path of every client's address. They need none of their own: frames go to sockets, not to addresses."""
_RECIPIENT = "8:acs:recipient"  # stands in the body before anything that a user wrote


class Frame:
    """The notification of `change` as a frame of a WebSocket, with a `number` that its answers name."""

    __slots__ = ("_head", "_heads", "_shared", "_tail")

    def __init__(self, change: ChatChange, number: int) -> None:
        event, body = payloads.payload(change, _RECIPIENT)
        packet = pushed(number, PATH + event, base.encode(body).decode())
        self._head, cut, self._tail = packet.partition(_RECIPIENT.encode())
        self._shared = None if cut else text_frame(packet)
        self._heads: dict[int, bytes] = {}

    def to(self, recipient: str) -> bytes:
        """For `recipient`; the very same bytes for all where they do not differ."""
        if self._shared is not None:
            return self._shared
        name = recipient.encode()
        before = self._heads.get(len(name))  # almost always the same: names are as long as one another
        if before is None:
            length = len(self._head) + len(name) + len(self._tail)
            before = self._heads[len(name)] = head(length) + self._head
        return b"".join((before, name, self._tail))
