"""A world for each test."""

from collections.abc import AsyncGenerator

import pytest
from tests.support.smpp_world import World

from landline.store.database import Database


@pytest.fixture
async def world(database: Database) -> AsyncGenerator[World]:
    world = World(database)
    yield world
    await world.close()
