"""A world of SMPP customers for each test."""

from collections.abc import AsyncGenerator

import pytest
from tests.support.esme import EsmeWorld

from landline.store.database import Database


@pytest.fixture
async def world(dsn: str, database: Database) -> AsyncGenerator[EsmeWorld]:
    world = EsmeWorld(dsn, database)
    yield world
    await world.close()
