"""Whether a STUN server answers: one Binding request (RFC 8489 §7), until one is answered."""

import asyncio
import secrets
import struct
import time

_COOKIE = 0x2112A442
_REQUEST, _SUCCESS = 0x0001, 0x0101
_EVERY_S = 0.02


class _Probe(asyncio.DatagramProtocol):
    def __init__(self, transaction: bytes) -> None:
        self._expected = struct.pack("!I", _COOKIE) + transaction
        self.answered = asyncio.Event()

    def datagram_received(self, data: bytes, addr: object) -> None:
        if data[:2] == struct.pack("!H", _SUCCESS) and data[4:20] == self._expected:
            self.answered.set()


async def answers(address: str, port: int, timeout_s: float) -> bool:
    """Whether the server at `address` answers within `timeout_s`; until then it is asked again and again."""
    transaction = secrets.token_bytes(12)
    loop = asyncio.get_running_loop()
    transport, probe = await loop.create_datagram_endpoint(lambda: _Probe(transaction), remote_addr=(address, port))
    deadline = time.monotonic() + timeout_s
    try:
        while not probe.answered.is_set() and time.monotonic() < deadline:
            transport.sendto(struct.pack("!HHI", _REQUEST, 0, _COOKIE) + transaction)
            try:
                async with asyncio.timeout(_EVERY_S):
                    await probe.answered.wait()
            except TimeoutError:
                continue
    finally:
        transport.close()
    return probe.answered.is_set()
