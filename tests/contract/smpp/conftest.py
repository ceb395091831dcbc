"""A world for each test."""

from collections.abc import AsyncGenerator

import pytest
from tests.support.patience import PATIENCE_S
from tests.support.smpp_world import World

from landline.engines.smpp import leases
from landline.engines.smpp.listener import shares
from landline.store.database import Database


@pytest.fixture(autouse=True)
def given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process gives back as it ends is given back, however long the machine takes for it: where that is not to
    be, a test takes the database away."""
    for module in (leases, shares):
        monkeypatch.setattr(module, "_CLOSE_S", PATIENCE_S)


@pytest.fixture
async def world(database: Database) -> AsyncGenerator[World]:
    world = World(database)
    yield world
    await world.close()
