"""Cutting an octet stream into PDUs (SMPP 3.4 §3.2: each begins with its own length)."""

from struct import Struct

from landline.protocols.smpp.errors import RemoteProtocolError

HEADER = Struct(">IIII")
"""command_length, command_id, command_status, sequence_number (§3.2)."""
HEADER_BYTES = 16
PDU_LIMIT_BYTES = 70_000
"""A message_payload may have 64 KiB (§5.3.2.32); no PDU needs more than that and its mandatory fields."""

_length_at = Struct(">I").unpack_from


class Framer:
    """Cuts frames. A length that no PDU can have ends it: frames cut before are still returned, then `fault` is set."""

    def __init__(self, limit_bytes: int = PDU_LIMIT_BYTES) -> None:
        self._limit = limit_bytes
        self._rest = b""
        self.fault: RemoteProtocolError | None = None

    def receive(self, data: bytes) -> list[bytes]:
        """The whole PDUs that `data` completes, headers included. Raises `RemoteProtocolError` after a fault."""
        if self.fault is not None:
            raise self.fault
        buffer = self._rest + data if self._rest else data
        size = len(buffer)
        position = 0
        frames: list[bytes] = []
        append = frames.append
        while size - position >= 4:
            (length,) = _length_at(buffer, position)
            if not HEADER_BYTES <= length <= self._limit:
                self.fault = RemoteProtocolError(f"what came is no SMPP (a PDU of {length} octets)")
                break
            end = position + length
            if end > size:
                break
            append(buffer[position:end])
            position = end
        self._rest = buffer[position:]
        return frames
