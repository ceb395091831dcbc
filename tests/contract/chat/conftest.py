"""Chat over a fresh database."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from tests.support.chat import Process, process

from landline.engines.clock import DrivenClock
from landline.store.database import Database


@pytest.fixture
def clock() -> DrivenClock:
    return DrivenClock()


@pytest.fixture
def one(database: Database, dsn: str, clock: DrivenClock) -> Process:
    """One process's chat."""
    return process(database, dsn, clock=clock)


@pytest.fixture
async def running(one: Process) -> AsyncGenerator[Process]:
    """The process with its worker at work."""
    task = asyncio.create_task(one.worker.run())
    yield one
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
