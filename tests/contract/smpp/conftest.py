"""A world for each test."""

from collections.abc import AsyncGenerator

import pytest

from landline.store.database import Database
from tests.support.smpp_world import World


@pytest.fixture
async def world(database: Database) -> AsyncGenerator[World]:
    world = World(database)
    yield world
    await world.close()
