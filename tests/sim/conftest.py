"""One simulation for all seeds of a process."""

from collections.abc import Generator

import pytest
from tests.sim.arena import Simulation


@pytest.fixture(scope="session")
def simulation(server_dsn: str) -> Generator[Simulation]:
    simulation = Simulation(server_dsn)
    yield simulation
    simulation.close()
