"""Connections that have not agreed on TLS yet (RFC 8446). The event loop would keep them to itself until they have, so
that whoever says nothing holds a file each and nobody can cut them: here they are strangers in the room from the start.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Protocol, cast

from landline.core.errors import Unavailable

HANDSHAKE_S = 10.0
"""How long a client may take to agree on TLS."""

Make = Callable[[], asyncio.Protocol]
"""The protocol that is spoken over TLS."""


class Entrance(Protocol):
    """The server that lets them in."""

    def enter(self, guest: "Handshake", descriptor: int, now: float) -> bool:
        """Whether `guest`, who has just connected with the file `descriptor`, may stay. Another one may go for it."""
        ...

    def leave(self, guest: "Handshake") -> None:
        """It is gone, or has agreed on TLS."""
        ...


class Handshake(asyncio.Protocol):
    """One connection until TLS is agreed on, then `make`'s has it. Fills `room.Guest`."""

    def __init__(self, tls: ssl.SSLContext, entrance: Entrance, make: Make, loop: asyncio.AbstractEventLoop) -> None:
        self._tls = tls
        self._entrance = entrance
        self._make = make
        self._loop = loop
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)  # set before anything else is called
        self._early = b""
        """What came over TLS before its protocol was there."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._entrance.enter(self, descriptor(transport), self._loop.time()):
            return self._transport.abort()
        self._agreeing = self._loop.start_tls(
            self._transport, self, self._tls, server_side=True, ssl_handshake_timeout=HANDSHAKE_S
        )
        return self._go_on()

    def data_received(self, data: bytes) -> None:
        self._early += data

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

    def _go_on(self, _waited_for: object = None) -> None:
        """Run `start_tls` as far as it goes. A task would begin it a turn too late: what the client says first would
        have come to us, who have no way to pass it on."""
        try:
            waits_for = self._agreeing.send(None)
        except StopIteration as end:
            self._leave()
            self._agreed(end.value)
        except OSError:  # TLS failed, or took too long, or the client left: nobody is there to be told
            self._leave()
        else:
            waits_for.add_done_callback(self._go_on)

    def _leave(self) -> None:
        del self._agreeing  # it knows us
        self._entrance.leave(self)

    def _agreed(self, transport: asyncio.Transport | None) -> None:
        if transport is None or transport.is_closing():  # it was lost meanwhile
            return
        protocol = self._make()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if self._early:
            protocol.data_received(self._early)


def descriptor(transport: asyncio.BaseTransport) -> int:
    """The number of its file; 0 when it has none."""
    found = transport.get_extra_info("socket")
    return found.fileno() if found is not None else 0
