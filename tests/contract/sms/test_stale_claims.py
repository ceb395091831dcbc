"""A process that stood still (stopped, or with its machine) between taking something up and saying what follows:
another has it by then, and what that does stands (docs/design/gateway.md, "Fences")."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.support.cluster import eventually
from tests.support.gateway import Gateway
from tests.support.scripted import Fate, ScriptedCarrier

from landline.engines.clock import DrivenClock
from landline.ports.sms_carrier import Receipt, Submitted
from landline.services.sms import records_deferred
from landline.services.sms.service import Options, To
from landline.store.database import Connection, Database, Record

SENDER, PHONE = "+18005550100", "+14255550142"


class World:
    """Processes over one carrier, which not all of them reach."""

    def __init__(self, dsn: str, database: Database) -> None:
        self.dsn = dsn
        self.database = database
        self.clock = DrivenClock()
        self.gateways: list[Gateway] = []

    async def start(self, fate: Fate, *, reachable: bool = True) -> tuple[Gateway, ScriptedCarrier]:
        carrier = ScriptedCarrier(self.clock, fate)
        carrier.reachable = carrier.up = reachable
        gateway = Gateway(self.dsn, self.database, self.clock, carrier)
        gateway.worker.beat_s = 3_600.0
        self.gateways.append(await gateway.start())
        return gateway, carrier

    async def pass_time(self, **amount: float) -> None:
        await self.clock.advance(timedelta(**amount))

    async def end(self) -> tuple[int, int | None]:
        row = await self.database.fetchrow("SELECT state, code FROM sms_messages")
        assert row is not None
        return row["state"], row["code"]

    async def end_leases(self) -> None:
        """Those of all claims."""
        await self.database.execute("UPDATE sms_blocks SET due_at = $1", self.clock.now())


@pytest.fixture
async def world(dsn: str, database: Database):
    world = World(dsn, database)
    yield world
    for gateway in world.gateways:
        await gateway.crash()


def standing_still(
    monkeypatch: pytest.MonkeyPatch, name: str, meanwhile: Callable[[], Awaitable[None]]
) -> Callable[[], bool]:
    """Have `meanwhile` happen between the next claim that finds something and what is done about it; whether it has."""
    claim, done = getattr(records_deferred, name), list[bool]()

    async def slow(connection: Connection, *arguments: Any, **named: Any) -> list[Record]:
        rows = await claim(connection, *arguments, **named)
        if rows and not done:
            done.append(True)
            await meanwhile()
        return rows

    monkeypatch.setattr(records_deferred, name, slow)
    return lambda: bool(done)


async def test_what_another_process_has_on_its_way_by_then_is_not_anybodys(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    """A third one took it up as well, found it handed over twice already, and ended it as unknown."""
    first, silent = await world.start(Fate.SILENCE)
    await first.sms.send(await first.own(), SENDER, [To(PHONE)], "hello", Options(report_wanted=True))
    await world.pass_time(milliseconds=1)
    assert len(silent.submissions) == 1, "it is to be tried once more"
    silent.reachable = silent.up = False
    heir: list[tuple[Gateway, ScriptedCarrier]] = []

    async def taken_up_by_another() -> None:
        await world.end_leases()
        heir.append(await world.start(Fate.LOST))

        async def has_it() -> bool:
            return bool(heir[0][1].submissions)

        await eventually(has_it)

    stood_still = standing_still(monkeypatch, "claim_ending", taken_up_by_another)
    while not stood_still():
        await world.pass_time(seconds=1)
    gateway, carrier = heir[0]
    assert len(carrier.submissions) == 1
    await world.start(Fate.LOST)
    await world.pass_time(seconds=5)
    assert await world.end() == (0, None)
    await gateway.news.submitted("carrier", [Submitted(carrier.submissions[0].key, "second")])
    await gateway.news.reported("carrier", [Receipt("second", True, 2000, world.clock.now())])
    assert await world.end() == (8, 2000)
