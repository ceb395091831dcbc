"""Peers that say more at once than is read in one go."""

import asyncio
import socket

from tests.support.patience import PATIENCE_S

from landline.protocols.smpp.commands import RESPONSE, Command
from landline.protocols.smpp.framing import HEADER, HEADER_BYTES

ENQUIRE = HEADER.pack(HEADER_BYTES, Command.ENQUIRE_LINK, 0, 9)
ANSWER = HEADER.pack(HEADER_BYTES, Command.ENQUIRE_LINK | RESPONSE, 0, 9)


async def heard_in_turn(rude: socket.socket, polite: socket.socket) -> None:
    """Of two that are bound the `rude` one says thousands of requests at once: the other is answered before a third of
    them are, and all of them in the end."""
    flood = ENQUIRE * 10_000
    assert rude.send(flood) == len(flood)
    assert polite.send(ENQUIRE) == len(ENQUIRE)  # both have come when the loop looks next
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(PATIENCE_S):
        assert await loop.sock_recv(polite, 1000) == ANSWER
        answered = len(rude.recv(len(flood)))
        assert 0 < answered < len(flood) / 3
        while answered < len(flood):
            answered += len(await loop.sock_recv(rude, len(flood)))
    assert answered == len(flood)
