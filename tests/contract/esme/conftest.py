"""A world of SMPP customers for each test."""

from collections.abc import AsyncGenerator

import pytest
from tests.support.esme import EsmeWorld

from landline.engines.clock import DrivenClock
from landline.store.database import Database


@pytest.fixture
async def world(dsn: str, database: Database, request: pytest.FixtureRequest) -> AsyncGenerator[EsmeWorld]:
    """Its clock is a `DrivenClock`, where a test gives no other one."""
    world = EsmeWorld(dsn, database, getattr(request, "param", DrivenClock)())
    yield world
    await world.close()
