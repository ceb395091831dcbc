"""The dumb pump between a socket and an SMPP session: reads in, events up, one write per wake-up."""

import asyncio
from collections.abc import Callable
from typing import cast

import structlog

from landline.protocols.smpp.events import Event
from landline.protocols.smpp.framing import HEADER, Framer
from landline.protocols.smpp.session import Session

log = structlog.get_logger()

_AT_ONCE = 1 << 14
"""Octets of one peer that are looked at before all others have their turn: they may be a thousand PDUs, and a peer that
says the next ones as fast as they are read would be the only one that is heard."""


class Pump(asyncio.Protocol):
    """Owns one connection. `on_events` is called with what each read brought; what it makes the session say is written
    after it in one piece. `on_lost` is called once, when the connection is gone."""

    def __init__(
        self,
        session: Session,
        now: Callable[[], float],
        on_events: Callable[[list[Event]], None],
        on_lost: Callable[[], None],
        *,
        trace: str | None = None,
        unread_bytes: int | None = None,
    ) -> None:
        """With `unread_bytes` nothing is read from a peer that leaves more of what we say unread than that, beside what
        the kernel holds, and what it says is looked at in pieces, so that others have their turn."""
        self.session = session
        self.writable = False
        """Whether the peer reads fast enough for more to be sent."""
        self._now = now
        self._on_events = on_events
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._flushing = False
        self._unread_bytes = unread_bytes
        self._held = False
        self._looking = False
        self._rest = b""
        """What came and is to be looked at in the next turns of the loop, before more is read."""
        self.octets = 0
        """So many were looked at since the start."""
        self._trace = None if trace is None else (trace, Framer())

    @property
    def peer(self) -> str:
        """The peer's address, for the log."""
        name = self._transport.get_extra_info("peername") if self._transport is not None else None
        return str(name[0]) if name else ""

    def now(self) -> float:
        """The instant by the clock of the connection."""
        return self._now()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        self.writable = True
        if self.session.ended:  # given up while TLS was being agreed on
            self.abort()

    def data_received(self, data: bytes) -> None:
        if self._unread_bytes is None or not (self._rest or len(data) > _AT_ONCE):
            self._receive(data)
            if self._unread_bytes and not self.writable:
                self._read_on()
            return
        self._rest += data
        if not self._looking:
            self._look()

    def _look(self) -> None:
        """Look at the next piece of what came."""
        self._looking = False
        if self._transport is not None and self._heeds():
            piece, self._rest = self._rest[:_AT_ONCE], self._rest[_AT_ONCE:]
            self._receive(piece)
            self._read_on()

    def finish(self) -> None:
        """The connection is gone: look at what came and was not looked at yet. There may be answers in it."""
        rest, self._rest = self._rest, b""
        if rest:
            self._receive(rest)

    def _receive(self, data: bytes) -> None:
        self.octets += len(data)
        if self._trace is not None:
            trace_pdus(self._trace[0], "in", [] if self._trace[1].fault else self._trace[1].receive(data))
        self._pass_on(self.session.receive(data, self._now()))

    def enquire(self) -> None:
        """Ask the peer of a bound session whether it is there, unless it is being asked."""
        self.session.enquire(self._now())
        self.flush()

    def expire(self) -> None:
        """Let the session act on the time."""
        self._pass_on(self.session.expire(self._now()))

    def flush(self) -> None:
        """Write what the session has to say; close once it has ended."""
        transport = self._transport
        if transport is None:
            return
        octets = self.session.outgoing()
        if octets:
            if self._trace is not None:
                trace_pdus(self._trace[0], "out", Framer().receive(octets))
            transport.write(octets)
        if self.session.ended:
            self.close()

    def flush_soon(self) -> None:
        """`flush` once in this turn of the loop, however often it is asked for."""
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush_now)

    def close(self) -> None:
        """Close after what was written has left; at once when the peer does not read."""
        transport, self._transport = self._transport, None
        self.writable = False
        if transport is not None:
            if transport.get_write_buffer_size():
                transport.abort()
            else:
                transport.close()

    def abort(self) -> None:
        """Close at once; what was written may not leave."""
        transport, self._transport = self._transport, None
        self.writable = False
        if transport is not None:
            transport.abort()

    def pause_reading(self) -> None:
        if self._transport is not None and self._transport.is_reading():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None and not self._transport.is_reading():
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        self.writable = False
        if self._unread_bytes is not None:
            self._read_on()

    def resume_writing(self) -> None:
        self.writable = True
        if self._unread_bytes is not None:
            self._read_on()
        self._on_events([])

    def hold(self, held: bool) -> None:
        """Look at nothing more of what the peer says, until this is taken back. Needs `unread_bytes`."""
        if held != self._held:
            self._held = held
            self._read_on()

    def _heeds(self) -> bool:
        """Whether more of what the peer says may be looked at."""
        if self._held or self._transport is None:
            return False
        return self.writable or self._transport.get_write_buffer_size() <= (self._unread_bytes or 0)

    def _read_on(self) -> None:
        """Look at more if that may be, once the others have had their turn."""
        may = self._heeds()
        if may and not self._rest:
            self.resume_reading()
            return
        self.pause_reading()
        if may and not self._looking:
            self._looking = True
            asyncio.get_running_loop().call_soon(self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.writable = False
        self._on_lost()

    def _pass_on(self, events: list[Event]) -> None:
        if events:
            self._on_events(events)
        self.flush()

    def _flush_now(self) -> None:
        self._flushing = False
        self.flush()


def trace_pdus(link: str, direction: str, frames: list[bytes]) -> None:
    """Log the headers of `frames`."""
    for frame in frames:
        size, command, status, sequence = HEADER.unpack_from(frame)
        log.info(
            "smpp.pdu",
            link=link,
            direction=direction,
            command=f"{command:08x}",
            status=status,
            sequence=sequence,
            size_bytes=size,
        )
