"""The SMSC's listener, its accounts, and the deliveries that wait for a receiver to be bound."""

import asyncio
import heapq
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import count

from landline.engines.clock import SystemClock
from landline.engines.smpp.encoding import address_of
from landline.ports.clock import Alarm, Clock
from landline.protocols.smpp import pdu, status, texts
from landline.protocols.smpp.commands import Tag
from landline.protocols.smpp.joiner import Joiner, part_of
from landline.protocols.smpp.limits import Limits
from landline.protocols.smpp.pdu import ShortMessage
from landline.protocols.smpp.texts import Alphabet, LongStyle
from landline.store.watched import watched
from landline.testing.smsc.connection import Connection
from landline.testing.smsc.model import Conduct, Counts, Received, ReceivedText


class Smsc:
    """An SMSC on a port of loopback. `received` and `texts` keep the last `keep` messages, `counts` counts all.

    Deliveries (receipts, texts of phones) belong to the account; those not acknowledged when a connection ends are
    brought again over the account's next.
    """

    def __init__(
        self,
        accounts: dict[str, str] | None = None,
        *,
        conduct: Conduct | None = None,
        clock: Clock | None = None,
        keep: int = 10_000,
        window: int = 200,
        enquire_link_s: float | None = None,
    ) -> None:
        """`accounts`: passwords by system id; None takes every bind. `window`: deliver_sm unanswered per connection."""
        self.accounts = accounts
        self.conduct = conduct or Conduct()
        self.counts = Counts()
        self.received: deque[Received] = deque(maxlen=keep)
        self.texts: deque[ReceivedText] = deque(maxlen=keep)
        self.keeps = keep > 0
        self.ids = count(1)
        self.port = 0
        self.limits = Limits(window=window, enquire_link_s=enquire_link_s, init_s=None)
        self._clock = clock or SystemClock()
        self._joiner = Joiner()
        self._connections: set[Connection] = set()
        self._waiting: dict[str, deque[bytes]] = {}
        self._references = count(1)
        self._server: asyncio.Server | None = None
        self._timer: asyncio.Task[None] | None = None
        self._alarm: Alarm | None = None
        self._schedule: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._watchers: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._second = (0, 0)

    async def start(self, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        """Listen; `port` 0 takes a free one, which `self.port` then tells."""
        self._alarm = self._clock.alarm()
        self._timer = watched(self._run_schedule(), "smsc")
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: self._connected().pump, host, port, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and cut every connection."""
        await self.stop_listening()
        self.cut()
        if self._timer is not None:
            self._timer.cancel()
            await asyncio.gather(self._timer, return_exceptions=True)

    async def stop_listening(self) -> None:
        """Refuse new connections; those there are stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def cut(self) -> None:
        """Cut every connection without a word."""
        for connection in list(self._connections):
            connection.pump.abort()

    def freeze(self, frozen: bool) -> None:
        """As if the network had swallowed all: connections stay, nothing is read and nothing said."""
        for connection in self._connections:
            connection.freeze(frozen)

    def bound(self, system_id: str | None = None) -> int:
        """How many connections are bound (of that account)."""
        return sum(
            1 for connection in self._connections if connection.is_bound and system_id in (None, connection.system_id)
        )

    async def until(self, true: Callable[[], bool], *, timeout_s: float = 30.0) -> None:
        """Wait until `true` holds; it is asked after everything that happens. Raises `TimeoutError`."""
        if true():
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        watcher = (true, future)
        self._watchers.append(watcher)
        try:
            async with asyncio.timeout(timeout_s):
                await future
        finally:
            self._watchers.remove(watcher)

    def text(
        self,
        sender: str,
        recipient: str,
        text: str,
        *,
        system_id: str | None = None,
        style: LongStyle = LongStyle.UDH8,
        alphabet: Alphabet = Alphabet.GSM,
        order: Callable[[list[bytes]], Iterable[bytes]] = iter,
    ) -> None:
        """A phone texts `recipient`: deliver_sm to that account (or the only one), its parts in `order`. Raises
        `LookupError` when there is no such account, or none yet."""
        account = self._account(system_id)
        source_ton, source_npi, source = address_of(sender)
        ton, npi, destination = address_of(recipient)
        bodies = [
            pdu.encode_body(
                ShortMessage(
                    source_addr_ton=source_ton,
                    source_addr_npi=source_npi,
                    source_addr=source,
                    dest_addr_ton=ton,
                    dest_addr_npi=npi,
                    destination_addr=destination,
                    esm_class=part.esm_class,
                    data_coding=part.data_coding,
                    short_message=part.short_message,
                    tlvs=part.tlvs,
                )
            )
            for part in texts.write(text, style, alphabet, next(self._references))
        ]
        self.deliver(account, order(bodies))

    def deliver(self, system_id: str, bodies: Iterable[bytes]) -> None:
        """Bring deliver_sm bodies to an account, now or when it is bound; spread over its connections."""
        self._waiting.setdefault(system_id, deque()).extend(bodies)
        self.drain(system_id)

    def drain(self, system_id: str) -> None:
        """Send what waits for an account as its connections' windows allow."""
        waiting = self._waiting.get(system_id)
        if not waiting:
            return
        ready: list[Connection] = [
            connection for connection in self._connections if connection.takes_deliveries(system_id)
        ]
        while waiting and ready:
            for connection in ready:
                if waiting:
                    connection.deliver(waiting.popleft())
            ready = [connection for connection in ready if connection.free]

    def back(self, system_id: str, bodies: list[bytes]) -> None:
        """Deliveries that were not acknowledged."""
        self._waiting.setdefault(system_id, deque()).extendleft(reversed(bodies))
        self.drain(system_id)

    def gone(self, connection: Connection) -> None:
        """A connection has ended."""
        self._connections.discard(connection)
        self.happened()

    def happened(self) -> None:
        """Ask those who wait in `until`."""
        for true, future in self._watchers:
            if not future.done() and true():
                future.set_result(None)

    def later(self, delay_s: float, action: Callable[[], None]) -> None:
        """Do `action` by the clock."""
        heapq.heappush(self._schedule, (self.now() + delay_s, next(self._numbers), action))
        if self._alarm is not None:
            self._alarm.ring()

    def now(self) -> float:
        return self._clock.now().timestamp()

    def over_rate(self, now: float) -> bool:
        """Count one submit_sm; whether it is one too many in its second."""
        rate = self.conduct.rate_per_s
        if rate is None:
            return False
        second, counted = self._second
        counted = counted + 1 if int(now) == second else 1
        self._second = (int(now), counted)
        return counted > rate

    def remember(self, system_id: str, message_id: str, message: ShortMessage) -> None:
        """Keep what was taken, and the text once it is whole."""
        octets = message.short_message or pdu.tlv(message.tlvs, Tag.MESSAGE_PAYLOAD) or b""
        self.received.append(
            Received(
                system_id,
                message_id,
                message.source_addr,
                message.destination_addr,
                octets,
                message.data_coding,
                message.esm_class,
                message.registered_delivery,
                message.service_type,
                message.source_addr_ton,
                message.source_addr_npi,
                message.validity_period,
            )
        )
        piece = texts.read(message)
        sender, recipient = message.source_addr, message.destination_addr
        if piece.concatenation is None:
            text = texts.decode(piece.data_coding, piece.octets)
            self.texts.append(ReceivedText(sender, recipient, text, 1))
            return
        part = part_of(sender, recipient, piece.concatenation, piece.data_coding, piece.octets)
        for joined in self._joiner.add(part, self.now()):
            if not joined.missing:
                self.texts.append(ReceivedText(sender, recipient, joined.text, joined.parts))

    def authenticates(self, bind: pdu.Bind) -> int:
        """The command_status that a bind is answered with."""
        if self.conduct.bind_status != status.ESME_ROK:
            return self.conduct.bind_status
        if self.accounts is None:
            return status.ESME_ROK
        if bind.system_id not in self.accounts:
            return status.ESME_RINVSYSID
        return status.ESME_ROK if self.accounts[bind.system_id] == bind.password else status.ESME_RINVPASWD

    def _connected(self) -> Connection:
        connection = Connection(self)
        self._connections.add(connection)
        self.counts.connections += 1
        return connection

    def _account(self, system_id: str | None) -> str:
        seen = self._accounts_seen()
        if system_id is None:
            if not seen:
                raise LookupError("no account has bound: wait until one has, or give its system_id")
            return seen[0]
        if self.accounts is not None and system_id not in seen:
            raise LookupError(f"there is no account {system_id}: there are {', '.join(seen)}")
        return system_id

    def _accounts_seen(self) -> list[str]:
        if self.accounts is not None:
            return list(self.accounts)
        return sorted({connection.system_id for connection in self._connections if connection.system_id})

    async def _run_schedule(self) -> None:
        assert self._alarm is not None
        try:
            while True:
                now = self.now()
                while self._schedule and self._schedule[0][0] <= now:
                    heapq.heappop(self._schedule)[2]()
                await self._alarm.wait(datetime.fromtimestamp(self._schedule[0][0], UTC) if self._schedule else None)
        finally:
            self._alarm.close()
