"""The server's part of the opening handshake (RFC 6455 §4.2)."""

import binascii
from base64 import b64decode, b64encode
from collections.abc import Mapping
from hashlib import sha1

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
VERSION = "13"


class NotOpened(Exception):
    """The request opens no WebSocket. `status`: what it is answered with."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def accepted(method: str, headers: Mapping[str, str]) -> bytes:
    """The answer that opens the socket; names of `headers` are in lower case. Raises `NotOpened`."""
    if method != "GET" or headers.get("upgrade", "").strip().lower() != "websocket":
        raise NotOpened(400, "This is no request for a WebSocket.")
    if "upgrade" not in [token.strip().lower() for token in headers.get("connection", "").split(",")]:
        raise NotOpened(400, "This is no request for a WebSocket.")
    if headers.get("sec-websocket-version", "").strip() != VERSION:
        raise NotOpened(426, f"Only version {VERSION} of WebSocket is spoken here.")
    key = headers.get("sec-websocket-key", "").strip()
    if not _is_key(key):
        raise NotOpened(400, "Sec-WebSocket-Key is not 16 bytes in base64.")
    proof = b64encode(sha1(key.encode() + _GUID, usedforsecurity=False).digest())
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
    return head + proof + b"\r\n\r\n"


def _is_key(key: str) -> bool:
    try:
        return len(b64decode(key.encode("latin-1"), validate=True)) == 16
    except (binascii.Error, UnicodeEncodeError):
        return False
