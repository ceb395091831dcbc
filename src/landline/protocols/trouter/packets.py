"""Packets of socket.io 0.9 (protocol 1): `type:id[+]:endpoint[:data]`, and several of them in a long poll's body."""

import re
from enum import IntEnum

import msgspec

from landline.protocols.trouter.errors import RemoteProtocolError

_PACKET = re.compile(r"([0-8]):(\d{0,18})(\+?):([^:]{0,256})(?::(.*))?", re.DOTALL | re.ASCII)
_MARK = "\N{REPLACEMENT CHARACTER}"
_HEAD = re.compile(rb"\xfd\xff((?:[0-9]\x00){1,7})\xfd\xff")
"""A packet's length between two marks, in UTF-16."""
LONGEST = 65_536
"""Characters of a packet that is read."""
MOST = 64
"""Packets in one body."""


class Kind(IntEnum):
    """What a packet is, by its number on the wire."""

    DISCONNECT = 0
    CONNECT = 1
    HEARTBEAT = 2
    MESSAGE = 3
    JSON = 4
    EVENT = 5
    ACK = 6
    ERROR = 7
    NOOP = 8


_KINDS = tuple(Kind)


class Packet(msgspec.Struct, frozen=True, gc=False):
    """One packet. `acked`: its sender wants an acknowledgement that carries data."""

    kind: Kind
    id: str = ""
    acked: bool = False
    endpoint: str = ""
    data: str = ""


def written(packet: Packet) -> str:
    """`packet` as text."""
    head = f"{packet.kind.value}:{packet.id}{'+' if packet.acked else ''}:{packet.endpoint}"
    return f"{head}:{packet.data}" if packet.data else head


def read(text: str) -> Packet:
    """The packet that `text` is. Raises `RemoteProtocolError`."""
    found = _PACKET.fullmatch(text) if len(text) <= LONGEST else None
    if found is None:
        raise RemoteProtocolError("This is no packet of socket.io 0.9.")
    kind, packet_id, acked, endpoint, data = found.groups()
    return Packet(_KINDS[int(kind)], packet_id, acked == "+", endpoint, data or "")


def body(packets: list[str]) -> str:
    """Written packets as one body: alone as it is, several each with its length in UTF-16 units before it."""
    if len(packets) == 1:
        return packets[0]
    return "".join(f"{_MARK}{_units(packet)}{_MARK}{packet}" for packet in packets)


def split(text: str) -> list[str]:
    """The packets in one body. Raises `RemoteProtocolError`."""
    if not text.startswith(_MARK):
        return [text]
    data = text.encode("utf-16-le", "surrogatepass")  # lengths count its units
    found: list[str] = []
    at = 0
    while at < len(data):
        head = _HEAD.match(data, at)
        if head is None or len(found) >= MOST:
            raise RemoteProtocolError("The body's packets are not framed.")
        begin = head.end()
        at = begin + 2 * int(head.group(1).decode("utf-16-le"))
        if at > len(data):
            raise RemoteProtocolError("A packet of the body is shorter than it says.")
        found.append(data[begin:at].decode("utf-16-le", "replace"))
    return found


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
