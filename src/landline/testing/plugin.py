"""The pytest plugin: a running server for the session, handsets, a webhook inbox, a clock (docs/guides/testing.md).

Loaded in every pytest run of an environment that has Landline, so nothing but pytest is imported before a fixture is
asked for. All fixtures are plain functions, for sync and async tests alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from landline.testing.clock import Clock
    from landline.testing.handset import Handset
    from landline.testing.inbox import Inbox
    from landline.testing.server import Server
    from landline.testing.trust import Trust


@pytest.fixture(scope="session")
def landline_trust(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trust]:
    """The CA bundle this run's servers are added to, in the environment while the run lasts."""
    from landline.testing.trust import Trust

    trust = Trust(tmp_path_factory.mktemp("landline") / "ca-bundle.pem")
    yield trust
    trust.restore()


@pytest.fixture(scope="session")
def landline(landline_trust: Trust) -> Iterator[Server]:
    """One server for the whole run; its connection string is in COMMUNICATION_SERVICES_CONNECTION_STRING."""
    from landline.testing.server import Server

    server = Server()
    try:
        server.start()
        landline_trust.add(server.ca_bundle)
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("COMMUNICATION_SERVICES_CONNECTION_STRING", server.connection_string)
            yield server
    finally:
        server.close()


@pytest.fixture
def landline_server(landline_trust: Trust) -> Iterator[Callable[..., Server]]:
    """Makes servers for this test alone: `landline_server()`, or with the arguments of `landline.testing.Server`."""
    from landline.testing.server import Server

    made: list[Server] = []

    def start(**options: Any) -> Server:
        server = Server(**options)
        made.append(server)
        server.start()
        landline_trust.add(server.ca_bundle)
        return server

    yield start
    for server in made:
        server.close()


@pytest.fixture
def handset(landline: Server) -> Callable[[str], Handset]:
    """Handsets of the session's server: `handset("+14255550123").wait_for_sms()`."""
    return landline.handset


@pytest.fixture
def inbox(landline: Server) -> Iterator[Inbox]:
    """A webhook subscribed to all events of the session's server while this test lasts."""
    inbox = landline.inbox()
    yield inbox
    inbox.close()


@pytest.fixture
def clock(landline: Server) -> Clock:
    """The clock of the session's server; what it is advanced stays advanced for the tests that follow."""
    return landline.clock
