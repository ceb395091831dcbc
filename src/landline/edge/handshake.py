"""Connections that have not agreed on TLS yet (RFC 8446). The event loop would keep them to itself until they have, so
that whoever says nothing holds a file each and nobody can cut them: here they are strangers in the room from the start.
It would also cut without a word who sends plain HTTP: the first byte says whether TLS is begun at all.
"""

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from typing import Protocol, cast

from landline.core.errors import Unavailable

HANDSHAKE_S = 10.0
"""How long a client may take to agree on TLS, from when it comes; or to send plain HTTP, and be told."""

Make = Callable[[], asyncio.Protocol]
"""The protocol that is spoken over TLS."""
MakePlain = Callable[[float], asyncio.Protocol]
"""The one for who speaks HTTP without TLS, to tell them so within that many seconds."""


class Entrance(Protocol):
    """The server that lets them in."""

    def enter(self, guest: "Handshake", descriptor: int, now: float) -> bool:
        """Whether `guest`, who has just connected with the file `descriptor`, may stay. Another one may go for it."""
        ...

    def leave(self, guest: "Handshake", error: OSError | None = None) -> None:
        """It is gone, or has agreed on TLS, or speaks HTTP without. `error`: why it could not agree."""
        ...


class Handshake(asyncio.Protocol):
    """One connection until TLS is agreed on, then `make`'s has it. Fills `room.Guest`."""

    def __init__(
        self,
        tls: ssl.SSLContext,
        entrance: Entrance,
        make: Make,
        loop: asyncio.AbstractEventLoop,
        make_plain: MakePlain | None = None,
    ) -> None:
        self._tls = tls
        self._entrance = entrance
        self._make = make
        self._make_plain = make_plain
        self._loop = loop
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)  # set before anything else is called
        self._early = b""
        """What came over TLS before its protocol was there."""
        self._begun = False
        """Something has come."""
        self._agreeing: Coroutine[asyncio.Future[None], None, asyncio.Transport | None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._timer = self._loop.call_later(HANDSHAKE_S, self._transport.abort)
        if not self._entrance.enter(self, descriptor(transport), self._loop.time()):
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """It left, or was cut, before it said anything."""
        self._leave()

    def data_received(self, data: bytes) -> None:
        if self._begun:
            self._early += data
            return
        self._begun = True
        if self._make_plain is not None and data[:1].isalpha():  # as all methods of HTTP, and no record of TLS (§5.1)
            self._become(self._make_plain(max(self._timer.when() - self._loop.time(), 0.0)), self._transport, data)
        else:
            self._agree(data)

    @property
    def peer(self) -> str:
        """The client's address."""
        name = self._transport.get_extra_info("peername")
        return str(name[0]) if name else ""

    @property
    def idle_until(self) -> float | None:
        """See `room.Guest`: those that are asked for it have sent a request."""
        return None

    def give_way(self, refusal: Unavailable) -> None:
        """See `room.Guest`: it has no request."""

    def shutdown(self) -> None:
        """The server stops."""
        self.abort()

    def abort(self) -> None:
        """End now."""
        self._transport.abort()

    def _agree(self, data: bytes) -> None:
        self._agreeing = self._loop.start_tls(self._transport, self, self._tls, server_side=True)
        self._go_on()
        self._loop.call_soon(self._feed, data)  # behind what `start_tls` does before it reads on

    def _feed(self, data: bytes) -> None:
        """Have TLS read `data`, which came before it was there."""
        if self._transport.is_closing():
            return
        reader = cast(asyncio.BufferedProtocol, self._transport.get_protocol())
        while data:
            buffer = cast(memoryview, reader.get_buffer(len(data)))
            size = min(len(buffer), len(data))
            buffer[:size] = data[:size]
            reader.buffer_updated(size)
            data = data[size:]

    def _go_on(self, _waited_for: object = None) -> None:
        """Run `start_tls` as far as it goes. A task would begin it a turn too late: what the client says next would
        come to us before it."""
        assert self._agreeing is not None
        try:
            waits_for = self._agreeing.send(None)
        except StopIteration as end:
            transport: asyncio.Transport | None = end.value
            if transport is None or transport.is_closing():  # it was lost meanwhile
                self._leave()
            else:
                self._become(self._make(), transport, self._early)
        except OSError as error:  # TLS failed, or took too long, or the client left: nobody is there to be told
            self._leave(error)
        else:
            waits_for.add_done_callback(self._go_on)

    def _leave(self, error: OSError | None = None) -> None:
        self._timer.cancel()
        self._agreeing = None  # it knows us
        self._entrance.leave(self, error)

    def _become(self, protocol: asyncio.Protocol, transport: asyncio.Transport, early: bytes) -> None:
        """`protocol` has the connection from now on."""
        self._leave()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if early:
            protocol.data_received(early)


def descriptor(transport: asyncio.BaseTransport) -> int:
    """The number of its file; 0 when it has none."""
    found = transport.get_extra_info("socket")
    return found.fileno() if found is not None else 0
