"""The listener: who may bind how often and how fast, and deliveries to whoever has bound a receiver."""

import asyncio
import ssl
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import structlog

from landline.core.errors import Unavailable
from landline.engines.smpp.encoding import address_of
from landline.engines.smpp.listener.connection import Connection, Handed, part_id
from landline.engines.smpp.listener.gateway import Account, Gateway, ReportOut, TextOut
from landline.engines.smpp.records import Records
from landline.ports.clock import Alarm, Clock
from landline.protocols.smpp import pdu, receipts, status, texts
from landline.protocols.smpp.commands import ESM_RECEIPT
from landline.protocols.smpp.joiner import GroupKey
from landline.protocols.smpp.pace import Pace
from landline.protocols.smpp.pdu import ShortMessage
from landline.protocols.smpp.session import Limits
from landline.protocols.smpp.texts import Alphabet, LongStyle
from landline.store.database import Database

log = structlog.get_logger()

_TEMPORARY = frozenset((status.ESME_RX_T_APPN, status.ESME_RMSGQFUL, status.ESME_RTHROTTLED, status.ESME_RSYSERR))
_GROUPS_LIMIT = 10_000
_TRIES = 3
_SWEEP_S = 60.0
_PATIENCE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ListenerConfig:
    """Where and how the listener listens. Durations in seconds."""

    host: str = "127.0.0.1"
    port: int = 2775
    system_id: str = "landline"
    tls: ssl.SSLContext | None = None
    connections: int = 1000
    """At most so many at once; more are cut."""
    bind_s: float = 10.0
    """How long a connection may stay unbound."""
    enquire_link_s: float = 60.0
    response_s: float = 10.0
    window: int = 50
    """deliver_sm unanswered on each connection."""
    peer_window: int = 1000
    """The most an account's `window` can be."""


@dataclass(slots=True)
class ListenerCounters:
    """Since the start."""

    connections: int = 0
    refused_binds: int = 0
    throttled: int = 0
    delivered: int = 0
    undelivered: int = 0


@dataclass(slots=True, eq=False)
class _Customer:
    """What is known of an account while it is bound."""

    account: Account
    pace: Pace
    records: Records
    connections: set[Connection] = field(default_factory=set[Connection])
    waiting: deque[Handed] = field(default_factory=deque[Handed])


class SmppListener:
    """Fills the role of the SMSC for customers. Parts of long texts are kept in the engine's tables, so that each may
    be acknowledged at once; a restart between two parts of a text gives the later ones another message id."""

    def __init__(self, config: ListenerConfig, gateway: Gateway, database: Database, clock: Clock) -> None:
        self.gateway = gateway
        self.clock = clock
        self.system_id = config.system_id
        self.limits = Limits(
            response_s=config.response_s,
            enquire_link_s=config.enquire_link_s,
            init_s=config.bind_s,
            window=config.window,
            peer_window=config.peer_window,
        )
        self.port = 0
        self.counters = ListenerCounters()
        self._config = config
        self._database = database
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._customers: dict[str, _Customer] = {}
        self._groups: OrderedDict[tuple[str, GroupKey], UUID] = OrderedDict()
        self._server: asyncio.Server | None = None
        self._alarm: Alarm | None = None
        self._timer: asyncio.Task[None] | None = None
        self._sweep_at = 0.0

    async def start(self) -> None:
        """Listen; `port` tells where. Raises `Unavailable` when the address is taken."""
        config = self._config
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(self._connected, config.host, config.port, ssl=config.tls)
        except OSError as error:
            raise Unavailable(f"cannot listen on {config.host}:{config.port}: {error}") from error
        self.port = self._server.sockets[0].getsockname()[1]
        self._alarm = self.clock.alarm()
        self._timer = asyncio.create_task(self._run_timer())

    async def close(self) -> None:
        """Stop listening, unbind every customer, and disconnect after their answers or the response timer."""
        if self._server is not None:
            self._server.close()
        now = self.clock.now().timestamp()
        tasks = list(self._connections.values())
        for connection in list(self._connections):
            if connection.session.can_submit or connection.session.can_deliver:
                connection.session.unbind(now)
                connection.pump.flush()
            else:
                connection.pump.abort()
        if tasks:
            await asyncio.wait(tasks, timeout=3.0)
        for connection in list(self._connections):
            connection.pump.abort()
        timers = [self._timer] if self._timer is not None else []
        for task in [*tasks, *timers]:
            task.cancel()
        await asyncio.gather(*tasks, *timers, return_exceptions=True)

    def receivers(self, system_id: str) -> int:
        """How many connections of that account take deliveries."""
        customer = self._customers.get(system_id)
        return 0 if customer is None else sum(1 for found in customer.connections if found.session.can_deliver)

    async def deliver(self, system_id: str, deliveries: Sequence[ReportOut | TextOut]) -> list[bool]:
        """Bring receipts and texts to a customer; whether it acknowledged each (all parts). What is False is to be
        brought again later, for instance when `Gateway.receiving` says that it is back."""
        tasks = [
            asyncio.gather(*(self._hand(system_id, body) for body in _bodies(delivery))) for delivery in deliveries
        ]
        outcomes = [all(outcome) for outcome in await asyncio.gather(*tasks)]
        self.counters.delivered += sum(outcomes)
        self.counters.undelivered += len(outcomes) - sum(outcomes)
        return outcomes

    async def _hand(self, system_id: str, body: bytes) -> bool:
        for _ in range(_TRIES):
            customer = self._customers.get(system_id)
            if customer is None or not self.receivers(system_id):
                return False
            handed = Handed(body, asyncio.get_running_loop().create_future())
            customer.waiting.append(handed)
            self._drain(customer)
            answered = await handed.acknowledged
            if answered == status.ESME_ROK:
                return True
            if answered is not None and answered not in _TEMPORARY:
                log.warning("smpp.customer_refuses", system_id=system_id, status=status.meaning(answered).name)
                return True  # it will never take it; bringing it again would block what comes behind
        return False

    def _drain(self, customer: _Customer) -> None:
        waiting = customer.waiting
        if not any(connection.session.can_deliver for connection in customer.connections):
            while waiting:
                handed = waiting.popleft()
                if not handed.acknowledged.done():
                    handed.acknowledged.set_result(None)
            return
        for connection in customer.connections:
            free = connection.free
            while waiting and free:
                handed = waiting.popleft()
                if not handed.acknowledged.done():
                    connection.hand(handed)
                    free -= 1
        self._ring()

    def admit(self, connection: Connection, account: Account) -> int:
        """See `connection.Owner`."""
        customer = self._customers.get(account.system_id)
        if customer is None:
            now = self.clock.now().timestamp()
            records = Records(self._database, f"esme:{account.system_id}", uuid4(), Alphabet.GSM)
            customer = _Customer(account, Pace(now, rate_per_s=account.rate_per_s), records)
            self._customers[account.system_id] = customer
        elif len(customer.connections) >= account.binds:
            self.counters.refused_binds += 1
            return status.ESME_RALYBND
        customer.account = account
        customer.connections.add(connection)
        return status.ESME_ROK

    def over_rate(self, account: Account, now: float) -> bool:
        """See `connection.Owner`."""
        pace = self._customers[account.system_id].pace
        allowed = pace.allowance(now)
        if allowed is not None and allowed < 1:
            self.counters.throttled += 1
            return True
        pace.sent(1, now)
        return False

    def message_id(self, account: Account, key: GroupKey | None) -> UUID:
        """See `connection.Owner`: all parts of one text share an id."""
        if key is None:
            return uuid4()
        group = (account.system_id, key)
        found = self._groups.get(group)
        if found is None:
            found = self._groups[group] = uuid4()
            if len(self._groups) > _GROUPS_LIMIT:
                self._groups.popitem(last=False)
        return found

    def finished(self, account: Account, key: GroupKey) -> None:
        """See `connection.Owner`: a later text with the same reference is another."""
        self._groups.pop((account.system_id, key), None)

    def records(self, account: Account) -> Records:
        """See `connection.Owner`."""
        return self._customers[account.system_id].records

    def changed(self, connection: Connection) -> None:
        """See `connection.Owner`."""
        if connection.account is not None:
            customer = self._customers.get(connection.account.system_id)
            if customer is not None:
                self._drain(customer)
        self._ring()

    def gone(self, connection: Connection) -> None:
        """See `connection.Owner`."""
        if connection.account is not None:
            customer = self._customers.get(connection.account.system_id)
            if customer is not None:
                customer.connections.discard(connection)
                self._drain(customer)
                if not customer.connections:
                    del self._customers[connection.account.system_id]

    def _connected(self) -> asyncio.Protocol:
        connection = Connection(self)
        if len(self._connections) >= self._config.connections:
            log.warning("smpp.too_many_connections", limit=self._config.connections)
            return _Refused()
        self.counters.connections += 1
        task = asyncio.create_task(connection.run())
        self._connections[connection] = task
        task.add_done_callback(lambda _: self._connections.pop(connection, None))
        self._ring()
        return connection.pump

    def _ring(self) -> None:
        if self._alarm is not None:
            self._alarm.ring()

    async def _run_timer(self) -> None:
        """The worker that lets every session act on the time."""
        assert self._alarm is not None
        try:
            while True:
                now = self.clock.now().timestamp()
                deadlines: list[float] = [await self._sweep(now)]
                for connection in list(self._connections):
                    deadline = connection.session.deadline()
                    if deadline is not None and deadline <= now:
                        connection.pump.expire()
                        deadline = connection.session.deadline()
                    if deadline is not None:
                        deadlines.append(deadline)
                await self._alarm.wait(datetime.fromtimestamp(min(deadlines) + 1e-6, UTC))
        finally:
            self._alarm.close()

    async def _sweep(self, now: float) -> float:
        """Give up texts whose missing parts never came; when to do so again."""
        if now >= self._sweep_at:
            self._sweep_at = now + _SWEEP_S
            for system_id, customer in list(self._customers.items()):
                try:
                    given_up = await customer.records.overdue(datetime.fromtimestamp(now, UTC), _PATIENCE)
                    await customer.records.finish([whole.joined.key for whole in given_up])
                except Unavailable as error:
                    log.warning("smpp.sweep_put_off", system_id=system_id, reason=error.message)
                    continue
                if given_up:
                    log.warning("smpp.incomplete_given_up", system_id=system_id, count=len(given_up))
        return self._sweep_at


class _Refused(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _bodies(delivery: ReportOut | TextOut) -> list[bytes]:
    if isinstance(delivery, ReportOut):
        ids = [delivery.message_id.hex]
        if delivery.parts > 1:
            ids = [part_id(delivery.message_id, number) for number in range(1, delivery.parts + 1)]
        return [_receipt(delivery, message_id) for message_id in ids]
    reference = uuid4().int & 0xFFFF
    return [
        _deliver_sm(
            delivery.sender, delivery.recipient, part.short_message, part.esm_class, part.data_coding, part.tlvs
        )
        for part in texts.write(delivery.text, LongStyle.UDH8, Alphabet.GSM, reference)
    ]


def _receipt(report: ReportOut, message_id: str) -> bytes:
    text = receipts.write(
        message_id, report.state, submitted_at=report.submitted_at, done_at=report.done_at, error=report.error
    )
    tlvs = receipts.tlvs(message_id, report.state)
    return _deliver_sm(report.recipient, report.sender, text, ESM_RECEIPT, 0, tlvs)


def _deliver_sm(source: str, destination: str, text: bytes, esm_class: int, coding: int, tlvs: pdu.Tlvs) -> bytes:
    source_ton, source_npi, source_addr = address_of(source)
    ton, npi, address = address_of(destination)
    return pdu.encode_body(
        ShortMessage(
            source_addr_ton=source_ton,
            source_addr_npi=source_npi,
            source_addr=source_addr,
            dest_addr_ton=ton,
            dest_addr_npi=npi,
            destination_addr=address,
            esm_class=esm_class,
            data_coding=coding,
            short_message=text,
            tlvs=tlvs,
        )
    )
