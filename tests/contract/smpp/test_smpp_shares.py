"""What an operator allows a customer who speaks SMPP counts over all processes: binds and submissions a second."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import datetime, timedelta, tzinfo
from typing import Self
from uuid import uuid4

import pytest
from tests.support.bus import nats_server, processes
from tests.support.cluster import eventually
from tests.support.patience import PATIENCE_S
from tests.support.product import Product
from tests.support.smpp_client import Client
from tests.support.still import StillClock

from landline.core.errors import Unavailable
from landline.core.ids import ResourceId
from landline.engines import clock as clock_engines
from landline.engines.bus import MemoryBus
from landline.engines.clock import DrivenClock
from landline.engines.smpp import leases
from landline.engines.smpp.leases import LEASE
from landline.engines.smpp.listener import ListenerConfig, SmppListener, shares
from landline.engines.smpp.listener.shares import Together
from landline.ports.bus import Bus
from landline.ports.esme_gateway import Account
from landline.protocols.smpp import status
from landline.protocols.smpp.events import BindRefused, Bound
from landline.store.changes import Changes
from landline.store.database import Database

FULL = BindRefused(status.ESME_RALYBND)
TAKEN, THROTTLED = status.ESME_ROK, status.ESME_RTHROTTLED


class Process:
    """One process's listener."""

    def __init__(self, database: Database, dsn: str, clock: DrivenClock, line: DrivenClock, bus: Bus) -> None:
        self.product = Product()
        self.owner = uuid4()
        self.changes = Changes(dsn)
        self.shares = Together(database, self.changes, bus, clock, self.owner)
        config = ListenerConfig(port=0)
        self.listener = SmppListener(config, self.product, database, clock, line=line, shares=self.shares)

    async def start(self) -> "Process":
        await self.changes.start()
        await self.listener.start()
        return self

    async def die(self) -> None:
        """As by SIGKILL: nothing is given back."""
        await self.shares.close()
        await self.changes.close()
        for connection in list(self.listener._connections):
            connection.end()

    async def close(self) -> None:
        await self.listener.close(0.1)
        await self.changes.close()


class Cluster:
    """Processes on one database, whose account is the same."""

    def __init__(self, database: Database, dsn: str) -> None:
        self.database = database
        self._dsn = dsn
        self.clock, self.line = DrivenClock(), StillClock()
        self._resource = ResourceId(uuid4())
        self.processes: list[Process] = []
        self.clients: list[Client] = []

    async def process(self, bus: Bus | None = None, **account: float) -> Process:
        process = await Process(self.database, self._dsn, self.clock, self.line, bus or MemoryBus()).start()
        process.product.account = Account("customer", self._resource, **account)  # type: ignore[arg-type]
        self.processes.append(process)
        return process

    async def client(self, process: Process) -> Client:
        client = Client()
        assert process.listener.port is not None
        await client.connect(process.listener.port)
        self.clients.append(client)
        return client

    async def bound(self, process: Process) -> Client:
        client = await self.client(process)
        assert isinstance(await client.bind(), Bound)
        return client

    async def counted(self, expected: int) -> None:
        """Until so many binds are said to be up."""

        async def said() -> bool:
            total = await self.database.fetchval("SELECT coalesce(sum(binds), 0) FROM smpp_customer_binds")
            return total == expected

        await eventually(said)

    async def close(self) -> None:
        for client in self.clients:
            client.pump.abort()
        for process in self.processes:
            await process.close()


@pytest.fixture
async def cluster(database: Database, dsn: str) -> AsyncGenerator[Cluster]:
    cluster = Cluster(database, dsn)
    yield cluster
    await cluster.close()


class AnHourEarlier(datetime):
    """What the machine's clock shows once it is set back."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return super().now(tz) - timedelta(hours=1)


async def test_an_accounts_binds_are_said_again_no_later_for_a_clock_that_was_set_back(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Machines whose clocks are right would count them no more."""
    process = await cluster.process(binds=2)
    await cluster.bound(process)
    await cluster.counted(1)
    monkeypatch.setattr(clock_engines, "datetime", AnHourEarlier)

    async def said_again() -> bool:
        alarm = process.shares._alarm
        assert alarm is not None
        alarm.ring()  # as its timer does, which goes by the time that passes
        until = await cluster.database.fetchval("SELECT until FROM smpp_customer_binds")
        return until < cluster.clock.now() + 2 * LEASE

    await eventually(said_again)


async def submitted(client: Client, count: int) -> list[int]:
    for _ in range(count):
        client.submit()
    return [await client.status() for _ in range(count)]


async def test_an_accounts_binds_are_counted_over_all_processes(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await cluster.process(binds=2), await cluster.process(binds=2)
    await cluster.bound(first)
    leaving = await cluster.bound(second)
    for process in (first, second):
        assert await (await cluster.client(process)).bind() == FULL
    leaving.pump.abort()
    with monkeypatch.context() as patient:
        patient.setattr(shares, "_PATIENCE_S", PATIENCE_S)
        await cluster.bound(first)  # as soon as the other has said that it is gone
    assert await (await cluster.client(second)).bind() == FULL


async def test_who_binds_everywhere_at_once_gets_what_the_account_has(cluster: Cluster) -> None:
    made = [await cluster.process(binds=3) for _ in range(3)]
    clients = [await cluster.client(process) for process in made for _ in range(3)]
    for client in clients:
        client.begin_bind()
    answers = [await client.next() for client in clients]
    assert sum(isinstance(answer, Bound) for answer in answers) == 3
    assert answers.count(FULL) == 6


async def test_who_does_not_wait_for_its_bind_takes_none(cluster: Cluster) -> None:
    process = await cluster.process(binds=1)
    hasty = await cluster.client(process)

    async def asked() -> bool:
        return await cluster.database.fetchval(
            "SELECT EXISTS (SELECT FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock')"
        )

    async with cluster.database.transaction() as connection:
        await connection.execute("LOCK TABLE smpp_customer_binds")
        hasty.begin_bind()
        await eventually(asked)
        (theirs,) = process.listener._connections
        hasty.pump.abort()
        await so(lambda: theirs.session.ended)
    await cluster.bound(process)


async def test_binds_of_a_process_that_ends_are_free_before_it_has_ended(cluster: Cluster) -> None:
    first, second = await cluster.process(binds=1), await cluster.process(binds=1)
    old = await cluster.bound(first)
    await first.listener.close(0.1)
    assert old.session.ended
    await cluster.bound(second)
    await cluster.counted(1)


async def test_who_still_unbinds_from_a_process_that_ends_keeps_no_bind_from_others(cluster: Cluster) -> None:
    first, second = await cluster.process(binds=2), await cluster.process(binds=2)
    slow, quick = await cluster.bound(first), await cluster.bound(first)
    slow.pump.pause_reading()
    closing = asyncio.create_task(first.listener.close(PATIENCE_S))
    await so(lambda: quick.closed, lambda: len(first.listener._connections) == 1)
    for _ in range(2):
        await cluster.bound(second)
    await cluster.counted(2)
    slow.pump.abort()
    await closing
    await cluster.counted(2)


async def test_a_process_that_ends_frees_its_own_binds_alone_and_who_waits_for_one_gets_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = [await cluster.process(binds=2) for _ in range(3)]
    await cluster.bound(first)
    await cluster.bound(second)
    waiting = await cluster.client(third)
    looked = asyncio.Event()
    take = third.shares._take

    async def seen(account: Account) -> bool:
        took = await take(account)
        looked.set()
        return took

    with monkeypatch.context() as patient:
        patient.setattr(shares, "_PATIENCE_S", PATIENCE_S)
        patient.setattr(third.shares, "_take", seen)
        waiting.begin_bind()
        await looked.wait()
        await first.listener.close(0.1)
        assert isinstance(await waiting.next(), Bound)
    assert await (await cluster.client(third)).bind() == FULL


async def test_nobody_is_admitted_by_a_process_that_ends(cluster: Cluster) -> None:
    process = await cluster.process(binds=2)
    await process.shares.finish()
    assert process.product.account is not None
    with pytest.raises(Unavailable):
        await process.shares.admit(process.product.account)
    await cluster.counted(0)


async def test_binds_count_again_once_the_database_is_back(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = await cluster.process(binds=2), await cluster.process(binds=2)
    await cluster.bound(first)
    leaving = await cluster.bound(first)
    missed: list[None] = []

    async def away(*_arguments: object) -> None:
        missed.append(None)
        raise Unavailable("PostgreSQL is away")

    with monkeypatch.context() as patched:
        patched.setattr(first.shares, "_write", away)
        leaving.pump.abort()
        await so(lambda: bool(missed))
    await cluster.counted(2)
    await cluster.clock.advance(timedelta(seconds=2))
    await cluster.counted(1)
    await cluster.clock.advance(2 * LEASE)
    await cluster.bound(second)
    assert await (await cluster.client(second)).bind() == FULL


@pytest.mark.parametrize("known_dead", ["it", "all", "none"])
async def test_binds_to_a_process_that_died_are_free_when_that_is_known_or_its_lease_ends(
    cluster: Cluster, known_dead: str
) -> None:
    first, second = await cluster.process(binds=1), await cluster.process(binds=1)
    await cluster.bound(first)
    await first.die()
    assert await (await cluster.client(second)).bind() == FULL
    if known_dead == "it":
        await leases.forget(cluster.database, [first.owner])
    elif known_dead == "all":
        await leases.forget_all(cluster.database)
    else:
        await cluster.clock.advance(LEASE + timedelta(seconds=1))
    await cluster.bound(second)


async def test_binds_to_a_process_that_lives_are_not_forgotten_with_those_to_one_that_died(cluster: Cluster) -> None:
    first, second = await cluster.process(binds=2), await cluster.process(binds=2)
    await cluster.bound(first)
    await cluster.bound(second)
    await first.die()
    await leases.forget(cluster.database, [first.owner])
    await cluster.bound(second)
    assert await (await cluster.client(second)).bind() == FULL


async def test_a_live_processs_binds_count_for_as_long_as_they_last(cluster: Cluster) -> None:
    first, second = await cluster.process(binds=1), await cluster.process(binds=1)
    client = await cluster.bound(first)
    await cluster.clock.advance(3 * LEASE)
    assert await (await cluster.client(second)).bind() == FULL
    client.pump.abort()
    await cluster.counted(0)
    assert await cluster.database.fetchval("SELECT count(*) FROM smpp_customer_binds") == 0


async def test_nobody_is_admitted_while_the_database_is_away(cluster: Cluster) -> None:
    process = await cluster.process(binds=2)
    bound = await cluster.bound(process)
    await cluster.database.close()
    assert await (await cluster.client(process)).bind() == BindRefused(status.ESME_RSYSERR)
    assert await submitted(bound, 1) == [TAKEN]


async def so(*conditions: Callable[[], bool]) -> None:
    async def all_are() -> bool:
        return all(each() for each in conditions)

    await eventually(all_are)


async def test_an_accounts_rate_is_that_of_all_processes_which_hear_of_one_another(cluster: Cluster) -> None:
    async with nats_server() as server, processes(server.url, count=2) as buses:
        made = [await cluster.process(bus, rate_per_s=10.0) for bus in buses]
        first, second = [await cluster.bound(process) for process in made]
        assert await submitted(first, 12) == [TAKEN] * 10 + [THROTTLED] * 2
        pace = made[1].listener._customers["customer"].pace
        await so(lambda: pace.allowance(cluster.line.now().timestamp()) == 0)
        assert await submitted(second, 2) == [THROTTLED] * 2
        await cluster.line.advance(timedelta(seconds=0.52))
        assert await submitted(second, 6) == [TAKEN] * 5 + [THROTTLED]
        firsts = made[0].listener._customers["customer"].pace
        await so(lambda: firsts.allowance(cluster.line.now().timestamp()) == 0)  # it has heard of these
        await cluster.line.advance(timedelta(seconds=1))
        assert await submitted(first, 11) == [TAKEN] * 10 + [THROTTLED]
        await so(lambda: pace.allowance(cluster.line.now().timestamp()) == 0)
        assert await submitted(second, 1) == [THROTTLED]


async def test_processes_that_do_not_hear_of_one_another_divide_the_rate_by_their_binds(cluster: Cluster) -> None:
    first, second = await cluster.process(rate_per_s=20.0), await cluster.process(rate_per_s=20.0)
    one = await cluster.bound(first)
    assert first.shares.part("customer") == 1.0
    others = [await cluster.bound(second) for _ in range(3)]
    await so(lambda: first.shares.part("customer") == 0.25, lambda: second.shares.part("customer") == 0.75)
    assert await submitted(one, 6) == [TAKEN] * 5 + [THROTTLED]
    assert await submitted(others[0], 16) == [TAKEN] * 15 + [THROTTLED]
    others[0].pump.abort()
    await so(lambda: first.shares.part("customer") == 1 / 3)
