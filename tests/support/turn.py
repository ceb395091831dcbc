"""A small TURN client over UDP (RFC 8489, RFC 8656), to ask a real server for what it must give, and must not."""

import hashlib
import hmac
import secrets
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Self

from tests.support.patience import PATIENCE_S

COOKIE = 0x2112A442
BINDING, ALLOCATE, REFRESH, SEND, DATA, CREATE_PERMISSION, CHANNEL_BIND = (
    0x001,
    0x003,
    0x004,
    0x006,
    0x007,
    0x008,
    0x009,
)
INDICATION, SUCCESS, ERROR = 0x0010, 0x0100, 0x0110
USERNAME, INTEGRITY, ERROR_CODE, CHANNEL_NUMBER, LIFETIME = 0x0006, 0x0008, 0x0009, 0x000C, 0x000D
PEER, DATA_VALUE, REALM, NONCE, RELAYED, FAMILY, TRANSPORT = 0x0012, 0x0013, 0x0014, 0x0015, 0x0016, 0x0017, 0x0019
MAPPED, SOFTWARE = 0x0020, 0x8022
UDP, TCP = 17, 6
WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""After which a request is sent again: datagrams may be lost, and are by a server that dies (RFC 8489 §6.2.1)."""


Address = tuple[str, int]


class Refused(Exception):
    """An error response. `code` as in RFC 8656 §18."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code


@dataclass
class Message:
    """One STUN message."""

    kind: int
    transaction: bytes = field(default_factory=lambda: secrets.token_bytes(12))
    attributes: dict[int, bytes] = field(default_factory=dict[int, bytes])

    def packed(self, key: bytes | None = None) -> bytes:
        """The bytes, with MESSAGE-INTEGRITY when there is a key."""
        body = b"".join(
            struct.pack("!HH", name, len(value)) + value + bytes(-len(value) % 4)
            for name, value in self.attributes.items()
        )
        if key is None:
            return self._head(len(body)) + body
        signed = self._head(len(body) + 24) + body  # the length counts what is signed and the signature
        return signed + struct.pack("!HH", INTEGRITY, 20) + hmac.digest(key, signed, "sha1")

    def _head(self, length: int) -> bytes:
        return struct.pack("!HHI", self.kind, length, COOKIE) + self.transaction

    @classmethod
    def unpacked(cls, data: bytes) -> "Message":
        kind, length, cookie = struct.unpack("!HHI", data[:8])
        assert cookie == COOKIE
        return cls(kind, data[8:20], dict(_attributes(data[20 : 20 + length])))

    def address(self, name: int) -> Address:
        """An XOR-…-ADDRESS attribute (RFC 8489 §14.2)."""
        value = self.attributes[name]
        pad = struct.pack("!I", COOKIE) + self.transaction
        (port,) = struct.unpack("!H", value[2:4])
        packed = bytes(one ^ other for one, other in zip(value[4:], pad, strict=False))
        return str(ip_address(packed)), port ^ (COOKIE >> 16)

    def with_address(self, name: int, address: Address) -> Self:
        host, port = ip_address(address[0]), address[1]
        pad = struct.pack("!I", COOKIE) + self.transaction
        packed = bytes(one ^ other for one, other in zip(host.packed, pad, strict=False))
        family = 1 if host.version == 4 else 2
        self.attributes[name] = struct.pack("!BBH", 0, family, port ^ (COOKIE >> 16)) + packed
        return self


def _attributes(body: bytes) -> Iterator[tuple[int, bytes]]:
    while len(body) >= 4:
        name, length = struct.unpack("!HH", body[:4])
        yield name, body[4 : 4 + length]
        body = body[4 + length + (-length % 4) :]


def _connected(server: Address) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in server[0] else socket.AF_INET, socket.SOCK_DGRAM)
    made.connect(server)
    return made


class Turn:
    """One client of a TURN server, on one UDP socket. Each call waits for its answer, and asks again meanwhile."""

    def __init__(self, server: Address, username: str, password: str) -> None:
        self._server = server
        self._socket = _connected(server)
        self._username = username
        self._password = password
        self._key: bytes | None = None
        self._proof: dict[int, bytes] = {}
        self.relayed: Address | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Gives back what it has: the next client may have the same port, and is refused while that has something."""
        with self._socket, suppress(Refused, OSError):
            if self.relayed:
                self.refresh(0)

    def binding(self) -> Message:
        """A plain Binding request's answer."""
        return self._asked(Message(BINDING))

    def allocate(self, *, transport: int = UDP, family: int | None = None, lifetime_s: int | None = None) -> Message:
        """Ask for a relayed address, first without proof, as a client has to. Raises `Refused`."""
        wanted = {TRANSPORT: struct.pack("!Bxxx", transport)}
        if family is not None:
            wanted[FAMILY] = struct.pack("!Bxxx", family)
        if lifetime_s is not None:
            wanted[LIFETIME] = struct.pack("!I", lifetime_s)
        try:
            answer = self._allocated(wanted)
        except Refused as mismatch:
            if mismatch.code != 437:  # an earlier client had this port, and the server has not forgotten it yet
                raise
            with self._socket:  # still open, for the next one to be another port (RFC 8656 §7.4)
                self._socket = _connected(self._server)
            answer = self._allocated(wanted)
        self.relayed = answer.address(RELAYED)
        return answer

    def refresh(self, lifetime_s: int) -> Message:
        if lifetime_s == 0:
            self.relayed = None
        return self._proved(Message(REFRESH, attributes={LIFETIME: struct.pack("!I", lifetime_s)}))

    def permit(self, peer: str) -> None:
        """CreatePermission for an address. Raises `Refused`."""
        self._proved(Message(CREATE_PERMISSION).with_address(PEER, (peer, 0)))

    def bind_channel(self, peer: Address, number: int = 0x4000) -> None:
        """ChannelBind. Raises `Refused`."""
        message = Message(CHANNEL_BIND, attributes={CHANNEL_NUMBER: struct.pack("!Hxx", number)})
        self._proved(message.with_address(PEER, peer))

    def send(self, peer: Address, data: bytes) -> None:
        """A Send indication; nothing answers it."""
        message = Message(SEND | INDICATION, attributes={DATA_VALUE: data})
        self._socket.send(message.with_address(PEER, peer).packed())

    def receive(self) -> tuple[Address, bytes]:
        """(peer, data) of the next Data indication."""
        self._socket.settimeout(PATIENCE_S)
        while True:
            message = Message.unpacked(self._socket.recv(65536))
            if message.kind == DATA | INDICATION:
                return message.address(PEER), message.attributes[DATA_VALUE]

    def _allocated(self, wanted: dict[int, bytes]) -> Message:
        try:
            self._asked(Message(ALLOCATE, attributes=dict(wanted)))
        except Refused as challenge:
            if challenge.code != 401:
                raise
        return self._proved(Message(ALLOCATE, attributes=dict(wanted)))

    def _proved(self, message: Message) -> Message:
        try:
            return self._asked(self._with_proof(message), self._key)
        except Refused as refused:
            if refused.code != 438:  # a stale nonce: the answer brought another
                raise
            message.transaction = secrets.token_bytes(12)
            return self._asked(self._with_proof(message), self._key)

    def _with_proof(self, message: Message) -> Message:
        message.attributes |= {USERNAME: self._username.encode(), **self._proof}
        return message

    def _asked(self, message: Message, key: bytes | None = None) -> Message:
        answer = self._answer(message, key)
        if answer.kind == message.kind | SUCCESS:
            return answer
        if REALM in answer.attributes and NONCE in answer.attributes:
            self._proof = {name: answer.attributes[name] for name in (REALM, NONCE)}
            text = f"{self._username}:{answer.attributes[REALM].decode()}:{self._password}"
            self._key = hashlib.md5(text.encode()).digest()
        code = answer.attributes[ERROR_CODE]
        raise Refused(code[2] * 100 + code[3], code[4:].decode(errors="replace"))

    def _answer(self, message: Message, key: bytes | None) -> Message:
        """Raises `OSError` when none comes."""
        packed = message.packed(key)
        for wait_s in WAITS_S:
            self._socket.send(packed)
            until = time.monotonic() + wait_s
            while (left_s := until - time.monotonic()) > 0:
                self._socket.settimeout(left_s)
                try:
                    answer = Message.unpacked(self._socket.recv(65536))
                except TimeoutError:
                    break
                if answer.transaction == message.transaction:
                    return answer
        raise TimeoutError("the relay does not answer")
