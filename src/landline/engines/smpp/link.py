"""One bind of a carrier, kept up: connects, binds, and connects again with growing pauses when it is lost."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Protocol

import structlog

from landline.engines.names import Names
from landline.engines.smpp.config import SmppConfig
from landline.engines.smpp.pump import Pump
from landline.ports.clock import Clock
from landline.protocols.smpp import pdu, status
from landline.protocols.smpp.commands import INTERFACE_VERSION, BindKind, Tag, command_name
from landline.protocols.smpp.events import BindRefused, Bound, Event, PduRefused, PeerLost, Unbound
from landline.protocols.smpp.limits import Limits
from landline.protocols.smpp.pace import Pace
from landline.protocols.smpp.session import Session
from landline.protocols.smpp.states import BOUND, Role
from landline.protocols.smpp.texts import LongStyle

log = structlog.get_logger()

_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"})
"""What OpenSSL says of octets that are no TLS."""
_WITHOUT_TLS = ". Is this a port without ([carriers.tls])?"
_BY_TLVS = frozenset((LongStyle.SAR, LongStyle.PAYLOAD))
_REFUSALS_TOLD = 20
_UNREAD_BYTES = 1 << 20
"""An SMSC that leaves so much of what we say unread is not heard further: answers would only add to it."""
_UNBIND_S = 3.0
"""How long an unbind is waited for."""


class LinkOwner(Protocol):
    """What a link tells the carrier."""

    def happened(self, link: "Link", events: list[Event]) -> None:
        """Events of the session; an empty list when the peer reads again."""
        ...

    def changed(self, link: "Link") -> None:
        """It is bound now, or its pace allows more."""
        ...

    def lost(self, link: "Link", session: Session) -> None:
        """Its connection is gone; the session still holds what is unanswered."""
        ...


@dataclass(slots=True)
class LinkCounters:
    """Since the start."""

    connects: int = 0
    connects_failed: int = 0
    binds: int = 0
    binds_refused: int = 0
    losses: int = 0
    failures: int = 0
    """Connections that a bug of ours ended."""
    throttled: int = 0


class Link:
    """See the module. `run` is its worker."""

    def __init__(
        self,
        config: SmppConfig,
        kind: BindKind,
        name: str,
        clock: Clock,
        owner: LinkOwner,
        random: Random,
        tls: Callable[[], ssl.SSLContext | None],
    ) -> None:
        """`tls` is asked at each connection: its files may have changed."""
        self.name = name
        self.kind = kind
        self.counters = LinkCounters()
        self.pump: Pump | None = None
        self.draining = False
        """Nothing more is sent here: the bind ends when what it has sent is answered."""
        self.trouble: str | None = None
        """Why it is not bound, as its last attempt or its end told; None while it is."""
        self.attempted = asyncio.Event()
        """Set once the first attempt to bind has succeeded or failed."""
        self._config = config
        self._clock = clock
        self._owner = owner
        self._random = random
        self._tls = tls
        self._names = Names()
        self._alarm = clock.alarm()
        self._armed = 0.0
        self._closing = False
        self._gone = False
        self._bound = False
        self._why = ""
        """Why the connection ends, as far as the session told."""
        self._logged = False
        """Whether the log has that already."""
        self._broken = False
        self._connecting: asyncio.Timeout | None = None
        self._trying: Pump | None = None
        """That of the latest connection."""
        self._refusals: set[PduRefused] = set()
        """What was refused on this connection: an SMSC may have sent thousands."""
        self._failures = 0
        self.pace = self._new_pace()

    @property
    def session(self) -> Session | None:
        """The session while it is bound."""
        return self.pump.session if self.pump is not None and self._bound and not self.pump.session.ended else None

    @property
    def usable(self) -> bool:
        """Whether a submit_sm may be sent here when the window and the pace allow it."""
        session = self.session
        return session is not None and session.can_submit and not self._closing and not self.draining

    @property
    def closing(self) -> bool:
        """Whether it ends for good."""
        return self._closing

    def now(self) -> float:
        return self._clock.now().timestamp()

    async def run(self) -> None:
        """Until `close`."""
        try:
            while not self._closing:
                try:
                    await self._serve()
                except Exception as error:
                    self._broke(error)
                    self._failures += 1
                    self.trouble = self._why
                self.attempted.set()
                if not self._closing:
                    await self._pause()
        finally:
            self.attempted.set()
            self.abort()
            self._alarm.close()

    def wanted(self, now: float) -> None:
        """A message was sent: its timer may end before what the worker waits for."""
        self._wake_by(now + self._config.response_s)

    def asked(self, now: float) -> None:
        """Likewise for a request that is no message."""
        self._wake_by(now + self._config.control_s)

    def held_back(self, now: float) -> None:
        """The pace allows less than there is to send: the worker is to come back when it allows more."""
        resumes_at = self.pace.resumes_at(now)
        if resumes_at is not None:
            self._wake_by(resumes_at)

    def close(self) -> None:
        """Unbind and end `run`."""
        if self._closing:
            return
        self._closing = True
        session = self.session
        if session is not None and self.pump is not None:
            if session.state in BOUND:  # else the SMSC is unbinding
                session.unbind(self.now())
            self.pump.flush()
        elif self.pump is not None:
            self.abort()
        elif self._connecting is not None and not self._connecting.expired():
            self._connecting.reschedule(asyncio.get_running_loop().time())
        self._alarm.ring()

    def failed(self, error: Exception) -> None:
        """There is a bug in what was made of what the connection brought: it ends, and is made again."""
        self._broke(error)
        self.abort()

    def abort(self) -> None:
        """Cut the connection as a crash would."""
        if self.pump is not None:
            self.pump.abort()

    def _wake_by(self, instant: float) -> None:
        if instant < self._armed:
            self._alarm.ring()

    async def _serve(self) -> None:
        """One connection from its beginning to its end."""
        session = Session(Role.ESME, self.now(), self._limits())
        self._gone = self._bound = self._logged = self._broken = False
        self._why = ""
        self._refusals.clear()
        pump = await self._connect(session)
        if pump is None:
            self._failures += 1
            return
        if self._closing:
            pump.abort()
            return
        self.pump = pump
        self.pace = self._new_pace()
        try:
            await self._converse(pump)
        except Exception as error:
            self._broke(error)
            pump.abort()
            while not self._gone:
                await self._sleep(None)
        self.pump = None
        self._failures = 0 if self._bound and not self._broken else self._failures + 1
        self.trouble = (self._why or "the connection ended") if self._bound else self._never_bound()
        self._bound = False
        self.counters.losses += 1
        if not self._logged and not self._closing:
            log.warning("smpp.connection_lost", link=self.name, reason=self.trouble, unanswered=session.in_flight)
        self._owner.lost(self, session)

    async def _converse(self, pump: Pump) -> None:
        """Bind, and see to what is due, until the connection is gone."""
        config, session = self._config, pump.session
        bind = pdu.Bind(
            config.system_id,
            config.password,
            config.system_type,
            config.interface_version,
            addr_ton=config.bind_ton,
            addr_npi=config.bind_npi,
            address_range=config.address_range,
        )
        session.bind(self.kind, bind, self.now())
        pump.flush()
        ends_at: float | None = None
        while not self._gone:
            if self._closing and ends_at is None:
                ends_at = self.now() + _UNBIND_S
            await self._sleep(self._deadline(session, ends_at))
            pump.expire()
            if ends_at is not None and self.now() >= ends_at:
                pump.abort()
            elif not self._gone:
                self._owner.changed(self)

    def _broke(self, error: Exception) -> None:
        """A bug, by which the bind must not be lost for good: it is made again, after growing pauses."""
        log.error("smpp.link_failed", link=self.name, exc_info=error)
        self.counters.failures += 1
        self._why = f"a bug ended it ({type(error).__name__}), which the log has"
        self._logged = self._broken = True

    async def _connect(self, session: Session) -> Pump | None:
        config = self._config
        name, tls = None, self._tls()
        if tls is not None:
            name = (config.tls.server_name if config.tls is not None else None) or config.host
        try:
            async with asyncio.timeout(config.connect_s) as self._connecting:
                pump = await self._reach(session, tls, name)
        except (OSError, ValueError) as error:  # as is ssl.SSLError; a name that DNS cannot hold is a ValueError
            if self._closing:
                return None
            self.counters.connects_failed += 1
            reason = _words(error) or f"not within {config.connect_s:g} s{_WITHOUT_TLS if tls is not None else ''}"
            self.trouble = f"cannot connect: {reason}"
            log.warning("smpp.connect_failed", link=self.name, error=type(error).__name__, reason=reason)
            return None
        finally:
            self._connecting = None
        self.counters.connects += 1
        return pump

    async def _reach(self, session: Session, tls: ssl.SSLContext | None, name: str | None) -> Pump:
        """Connect to the first address of the host that lets us, each tried for its part of the time: one that drops
        what it gets must not keep us from the next. Not at once, for an SMSC may count connections."""
        config, loop = self._config, asyncio.get_running_loop()
        ends_at = loop.time() + config.connect_s
        found = await self._names.addresses(config.host, self._port())
        hosts = list(dict.fromkeys(str(address.sockaddr[0]) for address in found))
        while True:
            try:
                async with asyncio.timeout((ends_at - loop.time()) / len(hosts)):
                    return await self._dial(session, hosts.pop(0), tls, name)
            except (OSError, ValueError):
                if not hosts:
                    raise

    async def _dial(self, session: Session, host: str, tls: ssl.SSLContext | None, name: str | None) -> Pump:
        trace = self.name if self._config.trace else None
        pump = Pump(
            session, self.now, self._happened, lambda: self._lost(pump), trace=trace, unread_bytes=_UNREAD_BYTES
        )
        self._trying = pump
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: pump, host, self._port(), ssl=tls, server_hostname=name)
        return pump

    def _port(self) -> int:
        config = self._config
        return (config.receiver_port if self.kind is BindKind.RECEIVER else None) or config.port

    def _never_bound(self) -> str:
        """Why it never was bound, and where that mostly comes from."""
        if self._logged:
            return self._why
        why = self._why or "the connection ended before the bind was answered"
        return why if self._config.tls is not None else f"{why}. Is this a port for TLS ([carriers.tls])?"

    def _happened(self, events: list[Event]) -> None:
        try:
            self._tell(events)
        except Exception as error:
            self.failed(error)

    def _tell(self, events: list[Event]) -> None:
        if not self._bound:
            self._tried(events)
        if self.pump is not None and self.pump.session.state not in BOUND:
            self._ending(events)
        for event in events:
            if isinstance(event, PduRefused):
                self._warn_of_refused(event)
        self._owner.happened(self, events)

    def _tried(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Bound):
                self._bound = True
                self.trouble = None
                self.counters.binds += 1
                self.attempted.set()
                log.info("smpp.bound", link=self.name, system_id=event.system_id[:16])
                self._warn_of_tlvs(event)
                self._alarm.ring()
            elif isinstance(event, BindRefused):
                self.counters.binds_refused += 1
                self._why = reason = status.meaning(event.status).name
                log.warning("smpp.bind_refused", link=self.name, status=event.status, reason=reason)
                self._logged = True
                if self.pump is not None:
                    self.pump.close()

    def _warn_of_tlvs(self, bound: Bound) -> None:
        """An SMSC that does not say it speaks 3.4 may know no TLVs (SMPP 3.4 §3.4), though many that do leave it out:
        the operator, who chose to send long texts by them, is told."""
        version = pdu.tlv(bound.tlvs, Tag.SC_INTERFACE_VERSION)
        if self._config.long_style in _BY_TLVS and (not version or version[-1] < INTERFACE_VERSION):
            said = f"0x{version.hex()}" if version else "none"
            log.warning(
                "smpp.smsc_may_know_no_tlvs", link=self.name, long_style=self._config.long_style.value, said=said
            )

    def _warn_of_refused(self, refused: PduRefused) -> None:
        """What an SMSC says and we cannot take may be texts and receipts, on a transmitter: its operator is told once
        a connection of each kind."""
        if refused not in self._refusals and len(self._refusals) < _REFUSALS_TOLD:
            self._refusals.add(refused)
            reason = status.meaning(refused.status).name
            log.warning("smpp.pdu_refused", link=self.name, command=command_name(refused.command), reason=reason)

    def _ending(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, PeerLost):
                self._why = event.reason
            elif isinstance(event, Unbound) and event.by_peer:
                self._why = "the SMSC unbound"
                self._alarm.ring()  # its unbind is answered in time

    def _lost(self, pump: Pump) -> None:
        if pump is self._trying:  # not one that was given up for the next address
            pump.finish()
            self._gone = True
            self._alarm.ring()

    def _limits(self) -> Limits:
        config = self._config
        return Limits(
            response_s=config.response_s,
            control_s=config.control_s,
            enquire_link_s=config.enquire_link_s,
            init_s=None,  # we bind as soon as we are connected, which has a time of its own
            window=config.window,
        )

    def _new_pace(self) -> Pace:
        config = self._config
        return Pace(self.now(), rate_per_s=config.rate_per_s, pause_s=config.throttle_pause_s)

    def _deadline(self, session: Session, ends_at: float | None) -> float | None:
        instants = (session.deadline(), self.pace.resumes_at(self.now()), ends_at)
        return min((instant for instant in instants if instant is not None), default=None)

    async def _pause(self) -> None:
        config = self._config
        pause_s = backoff(self._failures, config.backoff_first_s, config.backoff_limit_s)
        until = self.now() + pause_s * (0.5 + self._random.random() / 2)  # jitter: not all binds at the same instant
        while not self._closing and self.now() < until:
            await self._sleep(until)

    async def _sleep(self, until: float | None) -> None:
        self._armed = float("inf") if until is None else until
        # Rounded up: a datetime has microseconds only, and waking before the deadline would wake again at once.
        await self._alarm.wait(
            None if until is None else datetime.fromtimestamp(until, UTC) + timedelta(microseconds=1)
        )


def _words(error: Exception) -> str:
    """What went wrong, as its operator can do something about it."""
    if isinstance(error, ssl.SSLError) and error.reason in _NO_TLS:
        return f"what answers there is no TLS ({error.reason}){_WITHOUT_TLS}"
    return str(error)


def backoff(failures: int, first_s: float, limit_s: float) -> float:
    """The pause in seconds after `failures` failed attempts in a row, doubling up to `limit_s`."""
    return min(first_s * 2 ** min(failures, 20), limit_s)
