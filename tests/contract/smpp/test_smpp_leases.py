"""Several processes share the binds of one carrier: never more than were sold, none lost with its process."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import datetime, timedelta, tzinfo
from typing import Any, Self
from uuid import uuid4

import pytest
from tests.support.patience import PATIENCE_S
from tests.support.smpp import Network, crash
from tests.support.smpp_world import World, until
from tests.support.still import StillClock

from landline.core.errors import Unavailable
from landline.engines import clock as clock_engines
from landline.engines.smpp.carrier import SmppCarrier
from landline.engines.smpp.config import Binding
from landline.engines.smpp.leases import LEASE, LOOK, Leases, forget, forget_all, holders
from landline.store.changes import Changes
from landline.testing.smsc import Rule, Smsc


class Cluster:
    """Processes with one carrier each, on one database, with an SMSC that counts what is bound at once."""

    def __init__(self, world: World, dsn: str, binds: int) -> None:
        self.world = world
        self.binds = binds
        self._dsn = dsn
        self._changes: dict[SmppCarrier, Changes] = {}

    async def join(self, *, expected: int = 1, **options: Any) -> SmppCarrier:
        changes = Changes(self._dsn)
        await changes.start()
        leases = Leases(self.world.database, changes, self.world.clock, uuid4(), "smpp", self.binds, expected=expected)
        carrier = await self.world.start(binds=self.binds, slots=leases, **options)
        self._changes[carrier] = changes
        return carrier

    async def die(self, carrier: SmppCarrier) -> None:
        """As by SIGKILL: nothing is given back."""
        leases = carrier._binds._slots
        assert isinstance(leases, Leases)
        for task in leases._tasks:
            task.cancel()
        await asyncio.gather(*leases._tasks, return_exceptions=True)
        await crash(carrier)
        self.world.carriers.remove(carrier)
        await self._changes.pop(carrier).close()

    async def leave(self, carrier: SmppCarrier) -> None:
        await carrier.close()
        await self._changes.pop(carrier).close()

    async def close(self) -> None:
        for changes in self._changes.values():
            await changes.close()


@pytest.fixture
async def cluster(world: World, dsn: str) -> AsyncGenerator[Cluster]:
    cluster = Cluster(world, dsn, 4)
    yield cluster
    await cluster.close()


def bound(*carriers: SmppCarrier) -> list[int]:
    return [carrier.bound for carrier in carriers]


async def test_who_joins_gets_its_share_and_who_leaves_gives_it_back_at_once(cluster: Cluster) -> None:
    first = await cluster.join()
    assert bound(first) == [4]
    second = await cluster.join()
    await until(lambda: bound(first, second) == [2, 2])
    assert first.counters()["link_binds"] == 4, "those that were given up count on"
    third = await cluster.join()
    await until(lambda: sorted(bound(first, second, third)) == [1, 1, 2])
    await cluster.leave(first)
    await until(lambda: bound(second, third) == [2, 2])
    assert (first.reachable, second.reachable) == (False, True)


async def test_processes_hear_of_each_other_before_they_look(
    world: World, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("landline.engines.smpp.leases.LOOK", timedelta(days=1))
    world.clock = StillClock()
    cluster = Cluster(world, dsn, 2)
    first = await cluster.join()
    await world.clock.advance(LOOK / 10)  # what it has heard of itself is done with
    second = await cluster.join()
    await until(lambda: bound(first, second) == [1, 1])
    await world.clock.advance(LOOK / 10)
    third = await cluster.join()
    await until(lambda: third.up)
    await world.clock.advance(LOOK / 10)
    world.network.refuses = True
    world.network.cut()
    await until(lambda: not third.up)
    await cluster.leave(first)
    await until(lambda: third.reachable)
    await cluster.close()


async def test_processes_started_together_take_their_share_at_first(cluster: Cluster) -> None:
    first = await cluster.join(expected=2)
    second = await cluster.join(expected=2)
    assert bound(first, second) == [2, 2]
    assert cluster.world.smsc.counts.binds == 4, "none was moved"


async def test_what_was_expected_and_does_not_come_is_not_waited_for(cluster: Cluster) -> None:
    alone = await cluster.join(expected=4)
    assert bound(alone) == [1]
    await cluster.world.clock.advance(LOOK * 3)
    await until(lambda: bound(alone) == [4])


async def test_a_dead_processs_binds_are_taken_over_when_its_lease_ends(cluster: Cluster) -> None:
    dead, ours = await cluster.join(expected=2), await cluster.join(expected=2)
    await cluster.die(dead)
    await cluster.world.clock.advance(LEASE - LOOK)
    assert bound(ours) == [2]
    await cluster.world.clock.advance(LOOK * 2)
    await until(lambda: bound(ours) == [4])


@pytest.mark.parametrize("all_dead", [False, True])
async def test_a_process_that_is_known_to_have_died_leaves_its_binds_at_once(cluster: Cluster, all_dead: bool) -> None:
    database, clock = cluster.world.database, cluster.world.clock
    first = await cluster.join()
    [holder] = await holders(database, clock.now())
    if all_dead:
        await cluster.die(first)
        await forget_all(database)
        assert bound(await cluster.join()) == [4]
        return
    second = await cluster.join()
    await until(lambda: bound(first, second) == [2, 2])
    assert (first.part, second.part) == (0.5, 0.5)
    await cluster.die(first)
    await forget(database, [holder.owner])
    [other] = await holders(database, clock.now())
    assert other.owner != holder.owner
    assert other.binds >= 2, "its own were left to it"
    await clock.advance(LOOK)
    await until(lambda: bound(second) == [4])


async def test_more_processes_than_binds_leave_some_without_until_one_dies(world: World, dsn: str) -> None:
    cluster = Cluster(world, dsn, 1)
    first, second = await cluster.join(), await cluster.join()
    assert bound(first, second) == [1, 0]
    assert (first.reachable, second.reachable) == (True, False)
    assert (first.part, second.part) == (1, 0)
    told: list[bool] = []
    second.on_reachable = lambda: told.append(second.reachable)
    await cluster.die(first)
    await world.clock.advance(LEASE + LOOK)
    await until(lambda: bound(second) == [1])
    assert told == [True]
    await cluster.close()


async def advanced(world: World, true: Callable[[], bool]) -> None:
    """Let time pass until `true`: a bind is tried again after a pause."""
    async with asyncio.timeout(PATIENCE_S):
        while not true():
            await world.clock.advance(timedelta(seconds=1))


async def test_who_has_no_bind_knows_whether_others_can_submit(world: World, dsn: str) -> None:
    """So that what another carrier refuses is given to this one, though another process has its only bind."""
    cluster = Cluster(world, dsn, 1)
    owner, other = await cluster.join(), await cluster.join()
    await until(lambda: (owner.up, other.up) == (True, True))
    with pytest.raises(Unavailable):
        await world.send(other, "not from here")
    world.network.refuses = True
    world.network.cut()
    await until(lambda: (owner.up, other.up) == (False, False))
    world.network.refuses = False
    await advanced(world, lambda: owner.bound == 1)
    await until(lambda: (owner.up, other.up) == (True, True))
    await cluster.die(owner)
    await world.clock.advance(LEASE + LOOK)
    await until(lambda: (bound(other), other.up) == ([1], True))
    await cluster.close()


@pytest.fixture
async def walled(world: World) -> AsyncGenerator[Network]:
    """Another way to the SMSC, whose firewall refuses what comes by it."""
    network = Network()
    await world.smsc.start()
    await world.network.start(world.smsc.port)
    await network.start(world.smsc.port)
    network.refuses = True
    yield network
    await network.close()


async def test_who_cannot_reach_the_smsc_leaves_its_slots_to_who_can(cluster: Cluster, walled: Network) -> None:
    able, other = await cluster.join(expected=2), await cluster.join(expected=2, port=walled.port)
    assert bound(able, other) == [2, 0]
    told: list[bool] = []
    other.on_reachable = lambda: told.append(other.reachable)
    await cluster.world.clock.advance(LOOK)
    assert (able.up, other.reachable, other.up) == (True, True, False)  # it still has slots to try
    await advanced(cluster.world, lambda: able.bound == 4)
    assert (other.up, told) == (True, [False])
    await advanced(cluster.world, lambda: able.bound == 2)  # it tries again, and nothing waits for that
    await advanced(cluster.world, lambda: able.bound == 4)
    assert told == [False]
    walled.refuses = False
    await advanced(cluster.world, lambda: bound(able, other) == [2, 2])
    assert told == [False, True]


async def test_who_cannot_reach_the_smsc_leaves_the_only_slot_to_who_has_none(
    world: World, dsn: str, walled: Network
) -> None:
    cluster = Cluster(world, dsn, 1)
    walled_off, able = await cluster.join(port=walled.port), await cluster.join()
    assert walled_off.reachable
    await advanced(world, lambda: able.bound == 1)
    await advanced(world, lambda: walled_off.up)  # as it hears of the other one
    assert (able.reachable, walled_off.reachable) == (True, False)
    await cluster.die(able)
    await advanced(world, lambda: walled_off.reachable)  # what waits for it goes elsewhere from there
    assert not walled_off.up
    await cluster.close()


async def test_pairs_are_slots_too(cluster: Cluster) -> None:
    first = await cluster.join(expected=2, binding=Binding.PAIR)
    second = await cluster.join(expected=2, binding=Binding.PAIR)
    assert bound(first, second) == [4, 4]
    await cluster.leave(second)
    await cluster.world.clock.advance(LOOK * 2)
    await until(lambda: bound(first) == [8])


async def test_a_bind_is_given_up_after_what_it_sent_is_answered(world: World, dsn: str) -> None:
    cluster = Cluster(world, dsn, 2)
    world.smsc.conduct.response_delay_s = 0.2
    first = await cluster.join()
    await world.send(first, *(f"message {number}" for number in range(40)))
    second = await cluster.join()
    await until(lambda: bound(first, second) == [1, 1])
    await world.answered(40)
    assert all(answer.carrier_message_id for answer in world.events.answers), "nothing was cut off"
    assert len(world.smsc.received) == 40
    await cluster.close()


async def test_a_bind_that_is_being_given_up_sends_nothing_more(world: World, dsn: str) -> None:
    world.smsc = Smsc({"landline": "secret"}, clock=world.clock)
    world.smsc.conduct.response_delay_s = 3
    cluster = Cluster(world, dsn, 2)
    first = await cluster.join(window=1)
    await world.send(first, *(f"message {number}" for number in range(5)))
    await world.smsc.until(lambda: world.smsc.counts.submits == 2)
    second = await cluster.join(window=1)
    await until(lambda: any(link.draining for link in first.links))
    await world.clock.advance(timedelta(seconds=3.1))
    await until(lambda: bound(first, second) == [1, 1])
    await world.smsc.until(lambda: world.smsc.counts.submits >= 3)
    assert world.smsc.counts.submits == 3
    await cluster.close()


async def test_who_loses_its_last_bind_gives_back_what_waits_untouched(world: World, dsn: str) -> None:
    cluster = Cluster(world, dsn, 1)
    world.smsc.conduct.rules = [Rule(silent=True)]
    first = await cluster.join(window=3)
    await world.send(first, *(f"message {number}" for number in range(5)))
    await world.smsc.until(lambda: world.smsc.counts.submits == 3)
    leases = first._binds._slots
    assert isinstance(leases, Leases)
    leases._hold(frozenset())
    await world.answered(2)
    assert [(answer.temporary, answer.unknown) for answer in world.events.answers] == [(True, False)] * 2
    await cluster.die(first)
    await cluster.close()


async def test_who_cannot_renew_ends_its_binds_before_others_take_them(world: World, dsn: str) -> None:
    cluster = Cluster(world, dsn, 2)
    cut_off = await cluster.join()
    leases = cut_off._binds._slots
    assert isinstance(leases, Leases)
    own = leases._database
    try:
        leases._database = Away()  # type: ignore[assignment]
        await world.clock.advance(LEASE - timedelta(seconds=5))
        assert bound(cut_off) == [2]
        await world.clock.advance(timedelta(seconds=4))
        await until(lambda: bound(cut_off) == [0])
        assert not cut_off.reachable
        leases._database = own
        await world.clock.advance(LOOK)
        await until(lambda: bound(cut_off) == [2])
        leases._database = Away()  # type: ignore[assignment]
        await world.clock.advance(LEASE)
        await until(lambda: bound(cut_off) == [0])
    finally:
        leases._database = own
    await world.clock.advance(LOOK)
    await until(lambda: bound(cut_off) == [2])
    await cluster.close()


async def test_a_pair_that_comes_back_while_it_is_being_given_up_has_its_receiver_again(world: World, dsn: str) -> None:
    cluster = Cluster(world, dsn, 1)
    world.smsc.conduct.rules = [Rule(silent=True)]
    carrier = await cluster.join(binding=Binding.PAIR)
    await world.send(carrier, "not answered")
    await world.smsc.until(lambda: world.smsc.counts.submits == 1)
    leases = carrier._binds._slots
    assert isinstance(leases, Leases)
    own = leases._database
    try:
        leases._database = Away()  # type: ignore[assignment]
        await world.clock.advance(LEASE - timedelta(seconds=1))
        await until(lambda: bound(carrier) == [1])  # the transmitter awaits the answer
    finally:
        leases._database = own
    await world.clock.advance(LOOK)
    await until(lambda: bound(carrier) == [2])
    world.network.cut()
    await cluster.close()


class Away:
    """A database that this process alone cannot reach."""

    def __getattr__(self, _name: str) -> Any:
        from landline.core.errors import Unavailable

        raise Unavailable("PostgreSQL is away")


async def test_receipts_come_over_another_processs_bind_even_before_the_answer_is_stored(cluster: Cluster) -> None:
    world = cluster.world
    first, second = await cluster.join(expected=2), await cluster.join(expected=2)
    texts = [f"message {number}" for number in range(40)]
    await world.send(first, *texts, *["x" * 400] * 5)
    await world.answered(45)
    wanted = {answer.carrier_message_id for answer in world.events.answers}
    # Two processes that fold the last two parts of one message at the same time may both report it.
    await world.events.until(lambda: {receipt.carrier_message_id for receipt in world.events.receipts} >= wanted)
    reported = {receipt.carrier_message_id: receipt.segments_delivered for receipt in world.events.receipts}
    assert reported.keys() == wanted, "no part was taken for a message"
    assert sorted(reported.values(), key=str) == [3] * 5 + [None] * 40
    assert second.counters()["inbox_receipts"] > 0


async def test_binds_that_are_not_renewed_end_no_later_for_a_clock_that_was_set_back(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier = await cluster.join()
    assert bound(carrier) == [4]
    leases = carrier._binds._slots
    assert isinstance(leases, Leases)
    monkeypatch.setattr(Leases, "_look", _away)
    monkeypatch.setattr(clock_engines, "datetime", AnHourEarlier)
    assert leases._renewed is not None
    leases._renewed.ring()  # as its timer does, which goes by the time that passes
    await until(lambda: bound(carrier) == [0])


async def _away(_leases: Leases) -> None:
    raise Unavailable("PostgreSQL is away")


class AnHourEarlier(datetime):
    """What the machine's clock shows once it is set back."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return super().now(tz) - timedelta(hours=1)
