"""The listener: who may bind how often and how fast, and deliveries to whoever has bound a receiver."""

import asyncio
import resource
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID, uuid4

import structlog

from landline.core.errors import Unavailable
from landline.core.log_limit import LogLimit
from landline.edge.handshake import Handshake
from landline.engines.smpp.listener import deliveries as outgoing
from landline.engines.smpp.listener import given_up
from landline.engines.smpp.listener.answered import AnsweredTexts
from landline.engines.smpp.listener.config import ListenerConfig
from landline.engines.smpp.listener.connection import Connection, Handed
from landline.engines.smpp.listener.counters import ListenerCounters
from landline.engines.smpp.listener.customer import Customer
from landline.engines.smpp.listener.shares import Alone, Shares
from landline.engines.smpp.listener.texts import Texts
from landline.ports.clock import Alarm, Clock
from landline.ports.esme_gateway import Account, Delivered, Gateway, ReportOut, TextOut
from landline.protocols.smpp import status
from landline.protocols.smpp.limits import Limits
from landline.protocols.smpp.pace import Pace
from landline.store.database import Database
from landline.store.watched import watched

log = structlog.get_logger()

_TRIES = 3
"""How often a deliver_sm is handed over that was not answered: to the next connection, or after the response timer."""
_SWEEP_S = 60.0
_BURST_S = 1.0
"""How much of a customer's rate may come at once: clients send a second's share as fast as they can and then wait."""
_UNBOUND_BYTES = 8192
"""How much a connection may say without being bound: strangers who say one enquire_link after the other take the time
of customers. A bind has a hundred octets."""
_TELL_EVERY_S = 60.0
_BACKLOG = 1024
"""Connections the kernel keeps until we take them: all customers may come back in the same moment."""


class SmppListener:
    """Fills the role of the SMSC for customers, and the port `Customers`."""

    def __init__(
        self,
        config: ListenerConfig,
        gateway: Gateway,
        database: Database,
        clock: Clock,
        *,
        line: Clock | None = None,
        shares: Shares | None = None,
    ) -> None:
        """`line` times what happens on the connections (binding, responses, enquire_link, paces), for customers
        cannot be driven as `clock` can; None: `clock` times both. `shares`: this process's part of what accounts may
        do; None: all of it."""
        self.gateway = gateway
        self.clock = clock
        self.line = line or clock
        self.system_id = config.system_id
        self._answering: dict[UUID, asyncio.Future[None]] = {}
        self.limits = Limits(
            response_s=config.response_s,
            control_s=config.response_s,
            enquire_link_s=config.enquire_link_s,
            init_s=config.bind_s,
            init_bytes=_UNBOUND_BYTES,
            window=config.window,
            peer_window=config.peer_window,
        )
        self.port: int | None = None
        self.tls_port: int | None = None
        self.counters = ListenerCounters()
        self.answered_texts = AnsweredTexts()
        self.told = LogLimit()
        self._config = config
        self._database = database
        self._owner = uuid4()
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]  # -1: without end
        self._most = config.connections if files < 0 else min(config.connections, files // 2)
        self._told_at = -_TELL_EVERY_S
        self._shares = shares or Alone()
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._agreeing: dict[Handshake, None] = {}
        """Connections that have not agreed on TLS yet, the first of them first."""
        self._customers: dict[str, Customer] = {}
        self._in_hand = 0
        self._stirred = asyncio.Event()
        """A connection has acted, or is gone."""
        self._servers: list[asyncio.Server] = []
        self._alarm: Alarm | None = None
        self._overdue: Alarm | None = None
        self._timers: list[asyncio.Task[None]] = []
        self._wakes_at = self._gives_up_at = 0.0
        self._sweep_at = 0.0

    async def start(
        self,
        sockets: Sequence[socket.socket] = (),
        tls_sockets: Sequence[socket.socket] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Listen; `port` and `tls_port` tell where. Bound `sockets` take the place of the configured host and ports, so
        that several processes can serve them; a certificate that is loaded into `tls` later is shown to new
        connections. Raises `Unavailable` when an address is taken."""
        config = self._config
        await self._shares.start(self._taken_elsewhere)
        if sockets or config.port is not None:
            self.port = await self._listen(config.port or 0, None, sockets)
        if tls_sockets or config.tls_port is not None:
            assert tls is not None, "a TLS port needs a certificate"
            self.tls_port = await self._listen(config.tls_port or 0, tls, tls_sockets)
        self._alarm, self._overdue = self.line.alarm(), self.clock.alarm()
        self._timers = [
            watched(self._expire_sessions(self._alarm), "smpp sessions"),
            watched(self._give_up_overdue(self._overdue), "smpp overdue"),
        ]

    async def _listen(self, port: int, tls: ssl.SSLContext | None, bound: Sequence[socket.socket]) -> int:
        config, loop = self._config, asyncio.get_running_loop()

        def connected() -> asyncio.Protocol:
            return self._connected() if tls is None else Handshake(tls, self, self._connected, loop)

        try:
            servers = [await loop.create_server(connected, sock=each, backlog=_BACKLOG) for each in bound] or [
                await loop.create_server(connected, config.host, port, backlog=_BACKLOG)
            ]
        except OSError as error:
            raise Unavailable(f"cannot listen on {config.host}:{port}: {error}") from error
        self._servers += servers
        return servers[0].sockets[0].getsockname()[1]

    async def close(self, patience_s: float = 3.0, *, unbind_s: float = float("inf")) -> None:
        """Stop listening, unbind every customer once it has its answers, and disconnect after its own, at most
        `patience_s` later, and at most `unbind_s` after all had their answers."""
        until = asyncio.get_running_loop().time() + patience_s
        for server in self._servers:
            server.close()
        for guest in list(self._agreeing):
            guest.abort()
        await self._shares.finish()
        now = self.line.now().timestamp()
        tasks = list(self._connections.values())
        for connection in list(self._connections):
            if connection.session.can_submit or connection.session.can_deliver:
                connection.session.part(now)
                connection.pump.flush()
            elif not connection.session.owes:
                connection.end()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._answer_all()
        if tasks:
            left_s = max(until - asyncio.get_running_loop().time(), 0.0)
            await asyncio.wait(tasks, timeout=min(left_s, unbind_s))
        for connection in list(self._connections):
            connection.end()
        for task in [*tasks, *self._timers]:
            task.cancel()
        await asyncio.gather(*tasks, *self._timers, return_exceptions=True)
        await self._shares.close()

    async def _answer_all(self) -> None:
        while any(connection.session.owes for connection in self._connections):
            self._stirred.clear()
            await self._stirred.wait()

    def bound(self) -> list[Account]:
        """See `ports.esme_gateway.Customers`."""
        return [customer.account for customer in self._customers.values()]

    def receivers(self, system_id: str) -> int:
        """See `ports.esme_gateway.Customers`."""
        customer = self._customers.get(system_id)
        return 0 if customer is None else len(customer.receivers)

    def renew(self, account: Account) -> None:
        """See `ports.esme_gateway.Customers`."""
        customer = self._customers.get(account.system_id)
        if customer is None:
            return
        if account.rate_per_s != customer.account.rate_per_s:
            customer.pace = self._pace(account)
        customer.account = account
        for connection in customer.connections:
            connection.renew(account)

    def cut(self, system_id: str) -> int:
        """See `ports.esme_gateway.Customers`."""
        customer = self._customers.get(system_id)
        if customer is None:
            return 0
        cut = list(customer.connections)
        for connection in cut:
            connection.end()
        log.warning("smpp.customer_cut", system_id=system_id, connections=len(cut))
        return len(cut)

    async def deliver(
        self, account: Account, deliveries: Sequence[ReportOut | TextOut], until: datetime
    ) -> list[Delivered]:
        """See `ports.esme_gateway.Customers`."""
        await self._until_answered(deliveries)
        outcomes = [Delivered.TAKEN] * len(deliveries)
        bodies = [outgoing.deliverable(account.system_id, delivery, account.alphabet) for delivery in deliveries]
        texts = [
            delivery.key if isinstance(delivery, TextOut) and len(parts) > 1 else None
            for delivery, parts in zip(deliveries, bodies, strict=True)
        ]
        pending = whole = [(number, body) for number, parts in enumerate(bodies) for body in parts]
        ended: set[int] = set()
        for _ in range(_TRIES):
            answers = await self._hand(account, [(body, texts[number]) for number, body in pending], until)
            unanswered: list[tuple[int, bytes]] = []
            for (number, body), answer in zip(pending, answers, strict=True):
                if answer is Delivered.ENDED:
                    ended.add(number)
                if answer is None or answer is Delivered.ENDED:
                    unanswered.append((number, body))
                elif answer is not Delivered.TAKEN and outcomes[number] is not Delivered.GONE:
                    outcomes[number] = answer
            # A text is brought again as a whole: who has its other parts may be gone, or unable to pass them on.
            anew = {number for number, _ in unanswered if texts[number] is not None}
            pending = [each for each in unanswered if each[0] not in anew] + [each for each in whole if each[0] in anew]
            if not pending or not self._lively(account):
                break  # whoever answers may be bound to another process
        for number, _ in pending:
            outcomes[number] = Delivered.LATER
        outgoing.put_behind(outcomes, ended)
        taken = outcomes.count(Delivered.TAKEN)
        self.counters.delivered += taken
        self.counters.undelivered += len(outcomes) - taken
        return outcomes

    async def _until_answered(self, deliveries: Sequence[ReportOut | TextOut]) -> None:
        """A message may end in the commit that accepts it. Its customer knows its id first by the submit_sm_resp, and
        could do nothing with a receipt that comes before."""
        reported = [delivery.message_id for delivery in deliveries if isinstance(delivery, ReportOut)]
        awaited = {self._answering[message] for message in reported if message in self._answering}
        if awaited:
            await asyncio.wait(awaited)

    async def _hand(
        self, account: Account, bodies: Sequence[tuple[bytes, UUID | None]], until: datetime
    ) -> list[Delivered | None]:
        """Have `bodies`, each with the text it is of, handed over; what came of each, None where no answer came."""
        customer = self._customer(account)
        if customer is None or not customer.receivers:
            return [Delivered.GONE] * len(bodies)
        if self.clock.now() >= until:
            return [Delivered.LATER] * len(bodies)
        loop = asyncio.get_running_loop()
        handed = [Handed(body, until, loop.create_future(), text) for body, text in bodies]
        customer.waiting.extend(handed)
        self._drain(customer)
        if until.timestamp() < self._gives_up_at and self._overdue is not None:
            self._overdue.ring()
        answers = await asyncio.gather(*(each.acknowledged for each in handed))
        told, now, answered = self.told, self.line.now().timestamp(), zip(handed, answers, strict=True)
        return [outgoing.outcome(account.system_id, each, answer, told, now) for each, answer in answered]

    def _customer(self, account: Account) -> Customer | None:
        """Whoever is bound as `account`, and not as another one that has its system id now."""
        customer = self._customers.get(account.system_id)
        return customer if customer is not None and customer.account.number == account.number else None

    def _lively(self, account: Account) -> bool:
        """Whether to hand over once more what one connection did not answer: to one that does, or to see it is gone."""
        customer = self._customer(account)
        return customer is None or not customer.receivers or bool(customer.lively)

    def _drain(self, customer: Customer) -> None:
        for connection in customer.drain():
            self._watch(connection)

    async def admit(self, connection: Connection, account: Account) -> int:
        """See `connection.Owner`."""
        self._cut_former(account)
        if not await self._shares.admit(account):
            self.counters.refused_binds += 1
            return status.ESME_RALYBND
        if connection.session.ended:  # it did not wait
            self._shares.leave(account.system_id)
            return status.ESME_RBINDFAIL
        self._cut_former(account)
        customer = self._customers.get(account.system_id)
        if customer is None:
            customer = self._customers[account.system_id] = Customer(account, self._pace(account))
        elif account.generation < customer.account.generation:  # its password was looked at before it was changed
            self._shares.leave(account.system_id)
            return status.ESME_RINVPASWD
        customer.connections[connection] = None
        return status.ESME_ROK

    def _cut_former(self, account: Account) -> None:
        """Its right to bind is newer than that of who is bound: this process has not heard yet that those may be so no
        more. They may be another customer, whose receipts and texts are not this one's."""
        customer = self._customers.get(account.system_id)
        if customer is not None and customer.account.generation < account.generation:
            self.cut(account.system_id)

    def _pace(self, account: Account) -> Pace:
        return Pace(self.line.now().timestamp(), rate_per_s=account.rate_per_s, burst_s=_BURST_S)

    def over_rate(self, account: Account, now: float) -> bool:
        """See `intake.Desk`."""
        if not self._customers[account.system_id].takes(now, self._shares.part(account.system_id)):
            self.counters.throttled += 1
            return True
        if account.rate_per_s is not None:
            self._shares.took(account.system_id)
        return False

    def _taken_elsewhere(self, system_id: str, count: int) -> None:
        customer = self._customers.get(system_id)
        if customer is not None:
            customer.pace.shared(count, self.line.now().timestamp())

    def take_on(self, count: int) -> bool:
        """See `intake.Desk`."""
        if self._in_hand + count > self._config.submissions:
            self.counters.throttled += count
            return False
        self._in_hand += count
        return True

    def done(self, count: int) -> None:
        """See `intake.Desk`."""
        self._in_hand -= count

    def answering(self, messages: Sequence[UUID]) -> None:
        """See `intake.Desk`."""
        answered = asyncio.get_running_loop().create_future()
        for message in messages:  # one of them may be on its way by another bind as well, and be waited for
            self._answering.setdefault(message, answered)

    def answered(self, messages: Sequence[UUID]) -> None:
        """See `intake.Desk`."""
        for message in messages:
            answered = self._answering.pop(message, None)
            if answered is not None and not answered.done():
                answered.set_result(None)

    def enter(self, guest: Handshake, descriptor: int, now: float) -> bool:
        """See `handshake.Entrance`."""
        if not self._may_enter():
            return False
        self._agreeing[guest] = None
        return True

    def leave(self, guest: Handshake, error: OSError | None = None) -> None:
        """See `handshake.Entrance`. Customers ask us why they cannot bind, and would be found nowhere else."""
        self._agreeing.pop(guest, None)
        if error is not None:
            reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
            count = self.told.due(("smpp.no_tls", guest.peer, reason), self.line.now().timestamp())
            if count:
                log.warning("smpp.no_tls", peer=guest.peer, reason=reason, count=count)

    def texts(self, account: Account) -> Texts:
        """See `intake.Desk`."""
        return Texts(self._database, account.system_id, self._owner, account.alphabet, since=account.since)

    async def report_given_up(self, account: Account) -> None:
        """See `intake.Desk`."""
        await given_up.report(self._database, self.gateway, account.system_id, self.clock.now())

    def changed(self, connection: Connection) -> None:
        """See `connection.Owner`."""
        self._stirred.set()
        if connection.account is not None:
            customer = self._customers.get(connection.account.system_id)
            if customer is not None:
                self._drain(customer)
        self._watch(connection)

    def gone(self, connection: Connection) -> None:
        """See `connection.Owner`."""
        self._stirred.set()
        if connection.account is not None:
            customer = self._customers.get(connection.account.system_id)
            if customer is not None and connection in customer.connections:
                del customer.connections[connection]
                self._shares.leave(connection.account.system_id)
                self._drain(customer)
                if not customer.connections:
                    del self._customers[connection.account.system_id]

    def _connected(self) -> asyncio.Protocol:
        if not self._may_enter():
            return _Refused()
        connection = Connection(self)
        self.counters.connections += 1
        task = asyncio.create_task(connection.run())
        self._connections[connection] = task
        task.add_done_callback(lambda _: self._connections.pop(connection, None))
        self._watch(connection)
        return connection.pump

    def _may_enter(self) -> bool:
        """Whether there is room for one more connection, or could be made."""
        if len(self._connections) + len(self._agreeing) < self._most:
            return True
        now = asyncio.get_running_loop().time()
        if now - self._told_at >= _TELL_EVERY_S:  # whoever floods the server is not to flood its log
            self._told_at = now
            log.warning("smpp.too_many_connections", limit=self._most)
        return self._make_room()

    def _make_room(self) -> bool:
        """Cut whoever has agreed on no TLS for longest, or has been unbound for longest: strangers who only connect are
        not to keep customers out."""
        silent = next(iter(self._agreeing), None)
        if silent is not None:
            self.leave(silent)
            silent.abort()
            return True
        stranger = next((connection for connection in self._connections if connection.account is None), None)
        if stranger is None:
            return False
        del self._connections[stranger]  # at once: its task ends a little later
        stranger.end()
        return True

    def _watch(self, connection: Connection) -> None:
        deadline = connection.session.deadline()
        if deadline is not None:
            self._wake_at(deadline)

    def _wake_at(self, instant: float) -> None:
        if instant < self._wakes_at and self._alarm is not None:
            self._wakes_at = instant
            self._alarm.ring()

    async def _expire_sessions(self, alarm: Alarm) -> None:
        """The worker that lets every session act on the time of its line."""
        try:
            while True:
                now = self.line.now().timestamp()
                instants: list[float] = []
                for connection in list(self._connections):
                    deadline = connection.session.deadline()
                    if deadline is not None and deadline <= now:
                        connection.expire()
                        deadline = connection.session.deadline()
                    if deadline is not None:
                        instants.append(deadline)
                self._wakes_at = min(instants, default=float("inf"))
                await alarm.wait(_instant(self._wakes_at) if instants else None)
        finally:
            alarm.close()

    async def _give_up_overdue(self, alarm: Alarm) -> None:
        """The worker for what has waited too long, for a window or for its missing parts."""
        try:
            while True:
                now = self.clock.now().timestamp()
                instants = [await self._sweep(now)]
                for customer in self._customers.values():
                    instants += customer.expire(now)
                self._gives_up_at = min(instants)
                await alarm.wait(_instant(self._gives_up_at))
        finally:
            alarm.close()

    async def _sweep(self, now: float) -> float:
        """When to do so again."""
        if not now < self._sweep_at <= now + _SWEEP_S:  # later than that: the clock was set back
            self._sweep_at = now + _SWEEP_S
            at = datetime.fromtimestamp(now, UTC)
            await given_up.sweep(self._database, self.gateway, self._owner, self._customers, at)
        return self._sweep_at


class _Refused(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds + 1e-6, UTC)  # waking just before it would be waking again at once
