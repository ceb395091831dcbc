"""Frames as a server sends them: unmasked, so that one that was made once goes to any number of clients."""

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
CONTINUATION = 0x0
_FINAL = 0x80


def head(length: int, opcode: int = TEXT) -> bytes:
    """What comes before a payload of `length` bytes in a frame that is a whole message (RFC 6455 §5.2)."""
    if length < 126:
        return bytes((_FINAL | opcode, length))
    if length < 65_536:
        return bytes((_FINAL | opcode, 126)) + length.to_bytes(2, "big")
    return bytes((_FINAL | opcode, 127)) + length.to_bytes(8, "big")


def text_frame(payload: bytes) -> bytes:
    """The frame of the text `payload` (UTF-8)."""
    return head(len(payload)) + payload


def payload_of(frame: bytes) -> bytes:
    """The payload of a frame that `head` begins."""
    length = frame[1]
    return frame[2 if length < 126 else 4 if length == 126 else 10 :]


def close_frame(code: int) -> bytes:
    """The frame that ends a connection for `code`; 1005 says that there is none (RFC 6455 §7.4)."""
    return head(0, CLOSE) if code == 1005 else head(2, CLOSE) + code.to_bytes(2, "big")


def pong_frame(payload: bytes) -> bytes:
    """The answer to a ping."""
    return head(len(payload), PONG) + payload


PING_FRAME = head(0, PING)
"""Asks for a pong."""
