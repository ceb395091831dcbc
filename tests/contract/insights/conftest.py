"""Insights over a fresh database, and messages to count."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from prometheus_client.registry import CollectorRegistry
from tests.support.still import StillClock

from landline.core.errors import NotFound
from landline.core.ids import ResourceId
from landline.edge.admin import admin_app
from landline.edge.app import Edge
from landline.engines.clock import DrivenClock
from landline.services.insights import admin
from landline.services.insights.model import Figures, Tally
from landline.services.insights.questions import Question
from landline.services.insights.service import Insights
from landline.store.database import Database

TOKEN = "the admin token"
OURS, THEIRS = ResourceId(UUID(int=1)), ResourceId(UUID(int=2))
US, DE = "+14255550199", "+4915112345678"


@pytest.fixture
def clock() -> DrivenClock:
    """No day ends between what a test calls today and what the slice does."""
    return StillClock()


@pytest.fixture
def insights(database: Database, clock: DrivenClock) -> Insights:
    return Insights(database, clock)


@pytest.fixture
def app(insights: Insights, clock: DrivenClock) -> Edge:
    """The admin port, with the resources `local` (OURS) and `shop` (THEIRS)."""
    names = {"local": OURS, "shop": THEIRS}

    async def resource_named(name: str) -> ResourceId:
        if name not in names:
            raise NotFound("There is no such resource.")
        return names[name]

    routes = admin.routes(insights, clock, resource_named, "EUR")
    return admin_app(routes, token=TOKEN, registry=CollectorRegistry(), checks={})


@pytest.fixture
def midnight(clock: DrivenClock) -> datetime:
    """The beginning of yesterday, UTC."""
    return clock.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)


def sent(
    at: datetime,
    *,
    tally: Tally | None = None,
    resource: ResourceId = OURS,
    sender: str = "SHOP",
    tag: str | None = None,
    to: str = US,
    carrier: str = "north",
    delivered: int = 0,
    failed: int = 0,
    pending: int = 0,
    code: int = 5002,
    took: float = 2.0,
    cost: int | None = None,
) -> Tally:
    """A tally (or more of one) of messages accepted at `at`, each of that `cost` (millionths)."""
    tally = tally or Tally()
    where = (sender, tag, to, carrier)
    count = delivered + failed + pending
    if count:
        tally.accepted(resource, at, *where, 2, count, cost)
    for _ in range(delivered):
        tally.ended(resource, at, at + timedelta(seconds=took), *where, True, 2000, 2)
    for _ in range(failed):
        tally.ended(resource, at, at, *where, False, code, 0)
    return tally


async def store(database: Database, insights: Insights, *tallies: Tally) -> None:
    """Count each tally in a transaction of its own."""
    for tally in tallies:
        async with database.transaction() as connection:
            await insights.count(connection, tally)


def around(at: datetime, *, days: int = 1) -> Question:
    """The whole days from that of `at` on."""
    start = int(at.timestamp()) // 86400 * 24
    return Question(start, start + 24 * days)


async def totals(insights: Insights, question: Question, resource: ResourceId = OURS) -> Figures:
    return (await insights.page(resource, question, limit=1)).totals
