"""A carrier is asked what became of what it never reported, before that fails: also where it cannot be asked right
away, or by another process only (docs/design/gateway.md, "Doubt")."""

from datetime import timedelta

import pytest
from tests.support.gateway import Gateway
from tests.support.scripted import Fate, ScriptedCarrier

from landline.core.errors import Unavailable
from landline.engines.clock import DrivenClock
from landline.ports.sms_carrier import CrashPolicy, Receipt, Submission
from landline.services.sms.service import Options, To
from landline.store.database import Database

SENDER, PHONE = "+18005550100", "+14255550142"


class Smsc(ScriptedCarrier):
    """One process's way to an SMSC that can be asked; not while it is not `up`."""

    def __init__(self, clock: DrivenClock, reports: dict[str, Receipt], *, busy_first: bool) -> None:
        super().__init__(clock, self._fate, policy=CrashPolicy.QUERY)
        self.reports = reports
        self._busy = busy_first

    def _fate(self, _submission: Submission) -> Fate:
        busy, self._busy = self._busy, False
        return Fate.BUSY if busy else Fate.TAKEN

    async def query(self, carrier_message_id: str, sender: str) -> Receipt | None:
        if not self.up:
            raise Unavailable("no bind is up")
        return await super().query(carrier_message_id, sender)


class World:
    """A message that is taken and never reported, and that the SMSC knows to have been delivered."""

    def __init__(self, dsn: str, database: Database, *, alone: bool) -> None:
        self.dsn = dsn
        self.database = database
        self.alone = alone
        """Whether it has left its block by then."""
        self.clock = DrivenClock()
        self.reports: dict[str, Receipt] = {}
        self.gateways: list[Gateway] = []

    async def start(self, *, reachable: bool = True, up: bool = True) -> Smsc:
        smsc = Smsc(self.clock, self.reports, busy_first=self.alone and not self.gateways)
        smsc.reachable, smsc.up = reachable, up
        gateway = Gateway(self.dsn, self.database, self.clock, smsc, share=lambda: 2)
        self.gateways.append(await gateway.start())
        return smsc

    async def send(self) -> None:
        """It is taken, reported to nobody, and its report is awaited for an hour."""
        smsc, gateway = await self.start(), self.gateways[0]
        options = Options(report_wanted=True, report_timeout_s=3_600)
        await gateway.sms.send(await gateway.own(), SENDER, [To(PHONE)], "hello", options)
        await self.pass_time(minutes=1)
        assert await self.database.fetchval("SELECT attempts > 0 FROM sms_messages") == self.alone
        carrier_id = await self.database.fetchval("SELECT carrier_message_id FROM sms_submissions")
        self.reports[carrier_id] = Receipt(carrier_id, True, 2000, self.clock.now())
        smsc.reachable = smsc.up = False

    async def pass_time(self, **amount: float) -> None:
        await self.clock.advance(timedelta(**amount))

    async def end(self) -> tuple[int, int | None]:
        row = await self.database.fetchrow("SELECT state, code FROM sms_messages")
        assert row is not None
        return row["state"], row["code"]


@pytest.fixture(params=[False, True], ids=["in its block", "alone"])
async def world(dsn: str, database: Database, request: pytest.FixtureRequest):
    world = World(dsn, database, alone=request.param)
    yield world
    for gateway in world.gateways:
        await gateway.crash()


async def test_a_process_without_a_bind_leaves_the_asking_to_one_that_has_one(world: World):
    """Of four processes and one bind, three had nobody asked."""
    await world.send()
    await world.pass_time(minutes=59, seconds=10)
    assert await world.end() == (0, None)
    await world.start()
    await world.pass_time(seconds=30)
    assert await world.end() == (8, 2000)


async def test_a_carrier_whose_bind_is_being_made_is_asked_once_it_is_there(world: World):
    """What became due while the server was being restarted failed unasked."""
    await world.send()
    await world.gateways.pop().crash()
    await world.pass_time(hours=1)
    smsc = await world.start(up=False)
    await world.pass_time(seconds=10)
    assert await world.end() == (0, None)
    smsc.up = True
    await world.pass_time(seconds=20)
    assert await world.end() == (8, 2000)


@pytest.mark.parametrize("reachable", [True, False])
async def test_what_cannot_be_asked_for_a_while_fails(world: World, reachable: bool):
    await world.send()
    await world.gateways.pop().crash()
    await world.start(reachable=reachable, up=False)
    await world.pass_time(minutes=58)
    assert await world.end() == (0, None)
    await world.pass_time(minutes=4)
    assert await world.end() == (9, 5002)
