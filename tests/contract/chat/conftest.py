"""Chat over a fresh database."""

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
