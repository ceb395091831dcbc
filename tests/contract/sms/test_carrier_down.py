"""A carrier that takes nothing: its messages wait as long as they may, the timeline says for what, the log once."""

from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.support.cluster import eventually
from tests.support.gateway import Gateway
from tests.support.scripted import ScriptedCarrier

from landline.core.ids import ResourceId
from landline.engines.clock import DrivenClock
from landline.ports.clock import Alarm
from landline.ports.sms_carrier import Submission
from landline.services.sms.service import Options, To
from landline.store.database import Database

SENDER, PHONE = "+18005550100", "+14255550142"


class Counted(ScriptedCarrier):
    """Counts how often it is asked."""

    asked = 0

    async def submit(self, submissions: Sequence[Submission]) -> None:
        self.asked += 1
        await super().submit(submissions)


class World:
    """One gateway; its carrier's line has a time of its own, or the gateway's."""

    def __init__(self, dsn: str, database: Database, *, own_line: bool) -> None:
        self.clock = DrivenClock()
        self.line = DrivenClock() if own_line else None
        self.carrier = Counted(self.clock)
        self.gateway = Gateway(dsn, database, self.clock, self.carrier, line=self.line)
        self.resource: ResourceId

    async def send(self) -> str:
        (outcome,) = await self.gateway.sms.send(
            self.resource, SENDER, [To(PHONE)], "hello", Options(report_wanted=True)
        )
        await self.clock.advance(timedelta(milliseconds=1))
        assert outcome.message_id is not None
        return outcome.message_id

    async def submitted(self) -> bool:
        return bool(self.carrier.submissions)

    async def advance(self, by: timedelta) -> None:
        """Time passes on the line, too."""
        if self.line is not None:
            await self.line.advance(by)
        await self.clock.advance(by)

    async def timeline(self, message_id: str) -> dict[str, Any]:
        return await self.gateway.timelines.timeline([self.resource], message_id)


@pytest.fixture(params=[True, False], ids=["own line", "same line"])
async def world(request: pytest.FixtureRequest, dsn: str, database: Database) -> AsyncGenerator[World]:
    world = World(dsn, database, own_line=request.param)
    await world.gateway.start()
    world.resource = await world.gateway.own()
    world.carrier.up = False
    yield world
    await world.gateway.crash()


async def test_the_timeline_says_what_a_message_waits_for(world: World) -> None:
    message = await world.send()
    timeline = await world.timeline(message)
    assert timeline["state"] == "queued"
    assert timeline["waits"].startswith("The carrier carrier is down.")
    world.carrier.up = True
    await world.advance(timedelta(seconds=2))
    await eventually(world.submitted)
    await world.advance(timedelta(seconds=2))
    assert "waits" not in await world.timeline(message)


@pytest.mark.parametrize("world", [True], indirect=True)
async def test_a_timer_that_goes_off_early_stops_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert world.line is not None
    made = world.line.alarm

    def early() -> Alarm:
        alarm = made()
        alarm.ring()  # the first wait ends at once
        return alarm

    monkeypatch.setattr(world.line, "alarm", early)
    await world.send()
    world.carrier.up = True
    await world.advance(timedelta(seconds=2))
    await eventually(world.submitted)


async def test_what_waits_for_a_carrier_that_was_taken_away_says_so(world: World) -> None:
    message = await world.send()
    del world.gateway.carriers["carrier"]
    assert "no carrier carrier" in (await world.timeline(message))["waits"]


async def test_it_is_logged_once_and_then_now_and_then(world: World) -> None:
    with capture_logs() as logs:
        await world.send()
        for _ in range(50):
            await world.advance(timedelta(seconds=1))
    assert len([entry for entry in logs if entry["event"] == "sms.carrier_unavailable"]) == 1


@pytest.mark.parametrize("world", [True], indirect=True)
async def test_days_are_driven_without_asking_it_every_second(world: World) -> None:
    message = await world.send()
    await world.clock.advance(timedelta(days=4))
    timeline = await world.timeline(message)
    assert (timeline["state"], timeline["code"]) == ("failed", 5001)
    assert world.carrier.asked < 20
