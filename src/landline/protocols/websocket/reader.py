"""What a client sends: masked frames cut and joined to texts, within a limit (RFC 6455 §5, §8)."""

from dataclasses import dataclass
from typing import TypeAlias

from landline.protocols.websocket.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT

_FINAL, _RESERVED, _OPCODE, _MASKED, _LENGTH = 0x80, 0x70, 0x0F, 0x80, 0x7F
_NO_CODE, _BROKEN, _NOT_TEXT, _NOT_UTF8, _TOO_LONG = 1005, 1002, 1003, 1007, 1009
_LONGEST_CONTROL = 125


@dataclass(frozen=True, slots=True)
class Pinged:
    """The client wants a pong with this payload."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """No more will be read: the client closed, or broke the rules. `code`: what its close frame is answered with, or
    why we close; 1005 for none."""

    code: int


Event: TypeAlias = str | Pinged | Ended
"""A text that came, whole, or one of the others."""


class _Broken(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Reader:
    """One connection's incoming half. `largest`: bytes of a text."""

    __slots__ = ("_begun", "_buffer", "_ended", "_largest")

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._buffer: bytearray | None = None
        """The beginning of a frame whose end has not come."""
        self._begun: bytearray | None = None
        """The text so far of a message in several frames."""
        self._ended = False

    def receive(self, data: bytes) -> list[Event]:
        """What `data` brought, in order; nothing after `Ended`."""
        found: list[Event] = []
        if self._ended:
            return found
        buffer: bytes | bytearray = data
        if self._buffer is not None:
            buffer = self._buffer
            buffer += data
        at = 0
        try:
            while (end := self._frame(buffer, at, found)) and not self._ended:
                at = end
        except _Broken as broken:
            found.append(Ended(broken.code))
            self._ended = True
        self._keep(buffer, at)
        return found

    def _keep(self, buffer: bytes | bytearray, at: int) -> None:
        if at == len(buffer) or self._ended:
            self._buffer = None
        elif isinstance(buffer, bytearray):
            del buffer[:at]
        else:
            self._buffer = bytearray(buffer[at:])

    def _frame(self, buffer: bytes | bytearray, at: int, found: list[Event]) -> int:
        """Take the frame at `at`; where the next begins, 0 when it has not come whole."""
        if len(buffer) < at + 2:
            return 0
        first, second = buffer[at], buffer[at + 1]
        self._check(first, second)
        length, body = second & _LENGTH, at + 2
        if length >= 126:
            body += 2 if length == 126 else 8
            if len(buffer) < body:
                return 0
            length = int.from_bytes(buffer[at + 2 : body], "big")
        if length + len(self._begun or b"") > self._largest and not first & CLOSE:
            raise _Broken(_TOO_LONG)
        end = body + 4 + length
        if len(buffer) < end:
            return 0
        self._take(first, _unmasked(buffer[body : body + 4], buffer[body + 4 : end]), found)
        return end

    def _check(self, first: int, second: int) -> None:
        opcode, final = first & _OPCODE, first & _FINAL
        if first & _RESERVED or not second & _MASKED:
            raise _Broken(_BROKEN)
        if opcode & CLOSE:  # the bit that marks control frames
            if opcode not in (CLOSE, PING, PONG) or not final or second & _LENGTH > _LONGEST_CONTROL:
                raise _Broken(_BROKEN)
        elif opcode == BINARY:
            raise _Broken(_NOT_TEXT)
        elif opcode not in (TEXT, CONTINUATION) or (opcode == TEXT) != (self._begun is None):
            raise _Broken(_BROKEN)

    def _take(self, first: int, payload: bytes, found: list[Event]) -> None:
        opcode = first & _OPCODE
        if opcode == CLOSE:
            found.append(Ended(_code(payload)))
            self._ended = True
        elif opcode == PING:
            found.append(Pinged(payload))
        elif opcode != PONG:
            if self._begun is not None:
                self._begun += payload
            elif not first & _FINAL:
                self._begun = bytearray(payload)
            if first & _FINAL:
                found.append(_text(payload if self._begun is None else self._begun))
                self._begun = None


def _unmasked(mask: bytes | bytearray, data: bytes | bytearray) -> bytes:
    length = len(data)
    key = bytes(mask) * (length // 4 + 1)
    # One operation on two long numbers: no loop over bytes (RFC 6455 §5.3).
    return (int.from_bytes(data, "big") ^ int.from_bytes(key[:length], "big")).to_bytes(length, "big")


def _text(payload: bytes | bytearray) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise _Broken(_NOT_UTF8) from None


def _code(payload: bytes) -> int:
    if not payload:
        return _NO_CODE
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or not (1000 <= code < 5000) or code in (1004, 1005, 1006, 1015) or 1015 < code < 3000:
        raise _Broken(_BROKEN)
    _text(payload[2:])
    return code
