"""Chat over several processes: whichever took a request, every socket hears of it, whichever process has it."""

import asyncio
import os
import re
import signal
import ssl
import subprocess
import urllib.request
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from azure.communication.chat import ChatClient, ChatParticipant, CommunicationTokenCredential
from azure.communication.identity import CommunicationIdentityClient
from tests.support import processes
from tests.support.bus import nats_server
from tests.support.cluster import eventually
from tests.support.patience import PATIENCE_S
from tests.support.realtime import Browser, Page

from landline.app import cli_doctor
from landline.protocols.trouter.client import Ended, Pushed
from landline.testing import Server
from landline.testing.server import COMMAND

pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed <s:ResourceWarning"),
    pytest.mark.usefixtures("half_made_connections"),
]

SHARED = {"LANDLINE_DRIVEN_CLOCK": "false", "LANDLINE_LOG_LEVEL": "info"}
SOCKETS = 24
"""Enough that each of two processes most often has some: the kernel gives connections to whoever takes them first."""


class Place:
    """Where a browser goes."""

    def __init__(self, server: Server) -> None:
        self.url = server.endpoint.rstrip("/")


class Room:
    """Ann and Bob in a thread; each of Bob's pages has a socket."""

    def __init__(self, server: Server, http: aiohttp.ClientSession) -> None:
        self.server = server
        self._browser = Browser(http)
        self.identity = CommunicationIdentityClient.from_connection_string(server.connection_string)
        _, ann = self.identity.create_user_and_token(["chat"])
        bob_and_token: Any = self.identity.create_user_and_token(["chat"])
        self.bob, bob = bob_and_token
        self._bobs_token = bob.token
        self.client = ChatClient(server.endpoint, CommunicationTokenCredential(ann.token))
        members = [ChatParticipant(identifier=self.bob, display_name="Bob")]
        created: Any = self.client.create_chat_thread("Lunch", thread_participants=members)
        self.thread = self.client.get_chat_thread_client(created.chat_thread.id)
        self.pages: list[Page] = []
        self._lines: list[asyncio.Transport] = []

    async def open(self, count: int = SOCKETS) -> None:
        for _ in range(count):
            page = await self._browser.connect(Place(self.server), self._bobs_token)  # type: ignore[arg-type]
            connection: Any = page.socket._conn
            self._lines.append(connection.transport)
            self.pages.append(page)

    def close(self) -> None:
        """aiohttp waits for no server to end TLS with it: what is just ending when the test does is left to the garbage
        collector, which warns in some other test."""
        self.client.close()
        for line in self._lines:
            line.abort()

    async def say(self, text: str) -> None:
        """By a connection of its own, so whichever process takes it."""
        await asyncio.to_thread(self.thread.send_message, text)

    async def hear(self, text: str) -> None:
        """Every page of Bob's."""
        for page in self.pages:
            while True:
                event = await page.heard()
                assert isinstance(event, Pushed), event
                if text in event.body:
                    break


@pytest.fixture
async def room(landline_server: Callable[..., Server]) -> AsyncGenerator[Callable[..., Any]]:
    async with AsyncExitStack() as stack:

        async def made(server: Server) -> Room:
            context = ssl.create_default_context(cafile=server.ca_bundle)
            connector = aiohttp.TCPConnector(ssl=context)  # a page's socket goes over the connection it asked for that
            http = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
            room = await asyncio.to_thread(Room, server, http)
            stack.callback(room.close)
            return room

        yield made


def figures(server: Server, name: str) -> dict[str, float]:
    """A metric's values added up by worker."""
    with urllib.request.urlopen(server.ready["adminUrl"] + "/metrics", timeout=PATIENCE_S) as answer:
        text = answer.read().decode()
    found: dict[str, float] = {}
    for worker, value in re.findall(rf'^{name}{{[^}}]*worker="(\d+)"[^}}]*}} ([\d.e+]+)$', text, re.M):
        found[worker] = found.get(worker, 0.0) + float(value)
    return found


def nats_of(server: Server) -> processes.Process | None:
    """Run by descriptor, as it is where its user cannot reach its path, it has a number for a name."""
    found = (each for each in processes.tree(server.pid) if each.parent == server.pid)
    return next((each for each in found if each.name == "nats-server" or each.name.isdigit()), None)


async def test_a_message_reaches_the_sockets_of_every_process_also_after_nats_was_killed(
    landline_server: Callable[..., Server], room: Callable[..., Any]
) -> None:
    server = await asyncio.to_thread(lambda: landline_server(arguments=["--workers", "2"], env=SHARED))
    lunch = await room(server)
    await lunch.open()
    while min(figures(server, "landline_chat_connections").values()) == 0:
        await lunch.open(1)
    for number in range(6):
        await lunch.say(f"message {number}")
        await lunch.hear(f"message {number}")
    heard = figures(server, "landline_bus_heard_total")
    assert set(heard) == {"0", "1"}
    assert sum(heard.values()) >= 6, "each was heard by the process that had not taken it"

    former = nats_of(server)
    assert former is not None
    os.kill(former.pid, signal.SIGKILL)
    for number in range(6):
        await lunch.say(f"meanwhile {number}")
    listed = {each.content.message for each in lunch.thread.list_messages() if each.type == "text"}
    assert {f"meanwhile {number}" for number in range(6)} <= listed, "nothing but the news could be lost"

    async def together() -> bool:
        return (
            figures(server, "landline_bus_connected") == {"0": 1.0, "1": 1.0}
            and min(figures(server, "landline_bus_connections_total").values()) >= 2
        )

    await eventually(together)
    await lunch.say("after all")
    await lunch.hear("after all")
    successor = nats_of(server)
    assert successor is not None
    assert successor.pid != former.pid
    tree = processes.tree(server.pid)
    await asyncio.to_thread(server.stop)
    assert "workers.did_not_end" not in server.log
    assert not [each.name for each in tree if each.alive]


async def test_no_nats_outlives_its_supervisor(landline_server: Callable[..., Server]) -> None:
    server = await asyncio.to_thread(lambda: landline_server(arguments=["--workers", "2"], env=SHARED))
    left = nats_of(server)
    assert left is not None
    await asyncio.to_thread(server.kill)
    processes.wait_ended([left])


async def test_revoked_tokens_close_the_sockets_of_every_process(
    landline_server: Callable[..., Server], room: Callable[..., Any]
) -> None:
    server = await asyncio.to_thread(lambda: landline_server(arguments=["--workers", "2"], env=SHARED))
    lunch = await room(server)
    await lunch.open()
    await asyncio.to_thread(lunch.identity.revoke_tokens, lunch.bob)
    for page in lunch.pages:
        event = await page.heard()
        while isinstance(event, Pushed):
            event = await page.heard()
        assert event == 1008 or isinstance(event, Ended), event


async def test_two_servers_share_a_cluster_of_the_operators(
    landline_server: Callable[..., Server], room: Callable[..., Any], dsn: str
) -> None:
    async with nats_server() as nats:
        env = {
            **SHARED,
            "LANDLINE_DSN": dsn,
            "LANDLINE_SEALING_SECRET": "Zx1-bus-test-7f3b9a2d8c6e4051-9a1b",
            "LANDLINE_NATS_URLS": nats.url,
            "LANDLINE_SIMULATED_CARRIER": "false",
        }
        one = await asyncio.to_thread(lambda: landline_server(env=env))
        other = await asyncio.to_thread(lambda: landline_server(env=env))
        lunch = await room(one)
        await lunch.open(2)
        lunch.client.close()
        well = {
            "database": "ok",
            "statements": "ok",
            "hearing": "ok",
            "clocks": "ok",
            "bus": "ok",
            "certificates": "ok",
        }

        async def all_is_well() -> bool:
            return (await asyncio.to_thread(other.admin.call, "GET", "/healthz"))["checks"] == well

        await eventually(all_is_well)
        assert nats_of(one) is None

        def say_there() -> None:
            there = CommunicationIdentityClient.from_connection_string(other.connection_string)
            token = there.get_token(lunch.bob, ["chat"]).token
            with ChatClient(other.endpoint, CommunicationTokenCredential(token)) as client:
                client.get_chat_thread_client(lunch.thread.thread_id).send_message("from the other")

        await asyncio.to_thread(say_there)
        await lunch.hear("from the other")


async def test_two_servers_without_a_bus_say_that_they_do_not_hear_each_other(
    landline_server: Callable[..., Server], dsn: str, tmp_path: Path
) -> None:
    env = {
        **SHARED,
        "LANDLINE_DSN": dsn,
        "LANDLINE_SEALING_SECRET": "Zx1-bus-test-7f3b9a2d8c6e4051-9a1b",
        "LANDLINE_SIMULATED_CARRIER": "false",
    }
    servers = [await asyncio.to_thread(lambda: landline_server(env=env)) for _ in range(2)]

    async def said() -> bool:
        healths = [await asyncio.to_thread(each.admin.call, "GET", "/healthz") for each in servers]
        return all(each["status"] == "degraded" and "nats_urls" in each["checks"]["hearing"] for each in healths)

    await eventually(said)
    file = tmp_path / "landline.toml"
    file.write_text(f'dsn = "{dsn}"\n')
    findings = await asyncio.to_thread(cli_doctor.check, "dev", file, tmp_path, 0)
    assert [each.check for each in findings if "nats_urls" in each.detail] == ["note"]


def refusal(tmp_path: Path, **env: str) -> str:
    arguments = ["dev", "--workers", "2", "--data", str(tmp_path / "data"), "--port", "0"]
    done = subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **SHARED, **env},
        check=False,
    )
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


def test_what_cannot_be_is_refused_in_one_line(tmp_path: Path, dsn: str) -> None:
    said = refusal(tmp_path, LANDLINE_DSN=dsn, LANDLINE_NATS_PROGRAM="no-nats-here")
    assert said == "landline: there is no program no-nats-here here: correct nats_program"
    said = refusal(tmp_path, LANDLINE_DSN=dsn, LANDLINE_NATS_URLS="nats://user:secret@host:port")
    assert said == "landline: nats_urls: one of them is no URL: nats://host:4222"
