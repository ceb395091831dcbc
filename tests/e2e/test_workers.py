"""Several processes share one server's sockets and work, and several servers and workers one database; any may die."""

import asyncio
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from tests.support import processes
from tests.support.cluster import Tables, Worker, eventually, written
from tests.support.load import Load, Sent
from tests.support.patience import PATIENCE_S
from tests.support.ports import free_port
from tests.support.signed import Raw

from landline.protocols.smpp import pdu, status
from landline.protocols.smpp.commands import Command
from landline.testing import Server
from landline.testing.server import COMMAND
from landline.testing.smsc import Smsc

pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed <s:ResourceWarning"),
    pytest.mark.usefixtures("half_made_connections"),
]

SHARED = {"LANDLINE_DRIVEN_CLOCK": "false", "LANDLINE_LOG_LEVEL": "info"}
NUMBERS = [f"+1206555{number:04d}" for number in range(60)]
PASSED = 200
HELD = 10_000
"""Messages that one process has in its hands at most (`HandOver`)."""


@pytest.fixture
async def smsc() -> AsyncGenerator[Smsc]:
    smsc = Smsc({"landline": "secret"}, keep=100_000)
    await smsc.start()
    yield smsc
    await smsc.close()


@pytest.fixture
async def tables(dsn: str) -> AsyncGenerator[Callable[[], Any]]:
    """What the processes wrote, once they have migrated the database."""
    opened: list[Tables] = []

    async def look() -> Tables:
        if not opened:
            opened.append(await Tables.open(dsn))
        return opened[0]

    yield look
    for each in opened:
        await each.close()


def read(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as refused:
        return refused.code, refused.read().decode()


def figures(server: Server, name: str) -> dict[str, float]:
    """A metric's values added up by worker."""
    found: dict[str, float] = {}
    for worker, value in re.findall(
        rf'^{name}{{[^}}]*worker="(\d+)"[^}}]*}} ([\d.e+]+)$', read(server.ready["adminUrl"] + "/metrics")[1], re.M
    ):
        found[worker] = found.get(worker, 0.0) + float(value)
    return found


def workers(server: Server) -> list[processes.Process]:
    return [each for each in processes.tree(server.pid)[1:] if each.parent == server.pid and "python" in each.name]


def raw_of(server: Server) -> Raw:
    return Raw(server.endpoint, server.access_key, server.ca_bundle)


async def test_connections_and_figures_are_of_all_workers_and_a_dead_one_is_replaced(
    landline_server: Callable[..., Server],
) -> None:
    server = landline_server(arguments=["--workers", "3"], env=SHARED)
    raw, phone = raw_of(server), server.handset("+14255550100")
    sent, requests = 0, dict[str, float]()

    async def each_has_taken_one() -> bool:
        nonlocal sent, requests
        assert raw.send_sms(server.phone_number, [phone.number], f"text {sent}").status == 202
        sent += 1
        requests = figures(server, "landline_http_requests_total")
        return set(requests) == {"0", "1", "2"}

    await eventually(each_has_taken_one)
    assert sum(requests.values()) == sent
    assert len({phone.wait_for_sms().text for _ in range(sent)}) == sent
    assert len(server.admin.call("GET", "/processes")["value"]) == 3

    former = workers(server)
    assert len(former) == 3
    for process in former[:2]:  # the one with the admin port, and one without
        os.kill(process.pid, signal.SIGKILL)
    health = server.ready["adminUrl"] + "/healthz"
    _, told = await asyncio.to_thread(read, health)  # asked while they start again: answered, by whoever has
    assert len(json.loads(told)["workers"]) == 3

    async def all_are_well() -> bool:
        return (await asyncio.to_thread(read, health))[0] == 200

    await eventually(all_are_well)
    assert [process.alive for process in former] == [False, False, True]
    assert raw.send_sms(server.phone_number, [phone.number], "after all").status == 202
    assert phone.wait_for_sms().text == "after all"
    server.stop()
    assert server.log.count("workers.died") == 2
    assert "workers.did_not_end" not in server.log


_BUG = """
from landline.store.embedded import EmbeddedServer
launch = EmbeddedServer._launch
async def once(server):
    EmbeddedServer._launch = lambda _: {}["a bug"]
    return await launch(server)
EmbeddedServer._launch = once
from landline.app.cli import main
main()
"""


@pytest.mark.parametrize("count", [1, 2])
async def test_a_bug_in_who_looks_after_postgresql_ends_the_server_and_is_named(
    count: int, landline_server: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("landline.testing.server.TIED", (sys.executable, "-c", _BUG))
    server = landline_server(arguments=["--workers", str(count)], env=SHARED)
    every = processes.tree(server.pid)
    processes.kill_postgresql(server.pid)
    processes.wait_ended(every)
    server.stop()
    assert "postgres failed" in server.log
    assert "KeyError: 'a bug'" in server.log


async def test_no_worker_outlives_its_supervisor(landline_server: Callable[..., Server]) -> None:
    server = landline_server(arguments=["--workers", "2"], env=SHARED)
    left = workers(server)
    server.kill()
    processes.wait_ended(left)
    server.restart()
    assert raw_of(server).send_sms(server.phone_number, ["+14255550101"], "again").status == 202


def bound_to(port: int, system_id: str, password: str) -> tuple[socket.socket, int]:
    """A customer's connection, and what its bind was answered with."""
    bind = pdu.encode_body(pdu.Bind(system_id, password, ""))
    customer = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    customer.sendall(struct.pack(">IIII", 16 + len(bind), Command.BIND_TRANSCEIVER, 0, 1) + bind)
    length, command, state, _ = struct.unpack(">IIII", customer.recv(16, socket.MSG_WAITALL))
    assert command == Command.BIND_TRANSCEIVER | 0x80000000
    if length > 16:
        customer.recv(length - 16, socket.MSG_WAITALL)
    return customer, state


def connected(customer: socket.socket) -> bool:
    """Whether the other end is still there; it may have said something."""
    if not select.select([customer], [], [], 0)[0]:
        return True
    try:
        return customer.recv(1, socket.MSG_PEEK) != b""
    except ConnectionError:
        return False


async def test_customers_who_speak_smpp_reach_the_workers_on_one_port(landline_server: Callable[..., Server]) -> None:
    port = free_port()
    env = {**SHARED, "LANDLINE_SMPP_LISTEN_PORT": str(port)}
    server = landline_server(arguments=["--workers", "2"], env=env)
    for _ in range(6):
        customer, refused = bound_to(port, "nobody", "wrong")
        customer.close()
        assert refused == status.ESME_RINVPASWD
    account = server.admin.call("POST", "/resources/local/smpp-accounts", {"systemId": "shop", "binds": 4})
    opened = [bound_to(port, "shop", account["password"]) for _ in range(6)]
    assert [state for _, state in opened] == [status.ESME_ROK] * 4 + [status.ESME_RALYBND] * 2
    os.kill(workers(server)[0].pid, signal.SIGKILL)

    async def all_are_back() -> bool:
        opened.append(await asyncio.to_thread(bound_to, port, "shop", account["password"]))
        bound = sum(state == status.ESME_ROK and connected(customer) for customer, state in opened)
        assert bound <= 4
        return bound == 4

    await eventually(all_are_back)
    for customer, _ in opened:
        customer.close()


def refusal(*arguments: str, **env: str) -> str:
    done = subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=60, env={**os.environ, **env}, check=False
    )
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


def test_what_cannot_be_shared_is_refused_in_one_line(tmp_path: Path, dsn: str) -> None:
    config = written(tmp_path / "config.toml", dsn, 9, binds=1)
    said = refusal("dev", "--workers", "2", "--data", str(tmp_path / "data"), "--port", "0")
    assert said == "landline: workers = 2 needs driven_clock = false: each process would have a time of its own"
    plain = tmp_path / "plain.toml"
    plain.write_text(config.read_text().replace("dsn =", "# dsn ="))
    assert "set dsn to the PostgreSQL" in refusal("worker", "--config", str(plain))


async def test_a_worker_with_another_sealing_secret_is_refused(
    tmp_path: Path, dsn: str, smsc: Smsc, landline_server: Callable[..., Server]
) -> None:
    config = written(tmp_path / "config.toml", dsn, smsc.port, binds=1)
    await asyncio.to_thread(landline_server, arguments=["--config", str(config)])
    other = {"LANDLINE_SEALING_SECRET": "another-0c1f2e3d4b5a69788796a5b4c3d2e1f0"}
    said = await asyncio.to_thread(refusal, "worker", "--config", str(config), **other)
    assert said == (
        "landline: a stored secret does not open with the configured sealing secret: give the one that this database"
        " was begun with"
    )


async def test_a_worker_that_is_killed_loses_nothing_and_its_share_is_taken_over(
    tmp_path: Path,
    dsn: str,
    smsc: Smsc,
    landline_server: Callable[..., Server],
    tables: Callable[[], Any],
) -> None:
    config = written(tmp_path / "config.toml", dsn, smsc.port, binds=4)
    server = await asyncio.to_thread(landline_server, arguments=["--config", str(config), "--workers", "2"])
    looked: Tables = await tables()

    async def shared_by_two() -> bool:
        return sorted((await looked.pid_of_binds()).values()) == [2, 2]

    await smsc.until(lambda: smsc.bound() == 4, timeout_s=PATIENCE_S)
    await eventually(shared_by_two)  # who comes first may have all of them for a moment
    smsc.conduct.response_delay_s = 0.02
    load = Load(server.connection_string, server.phone_number, NUMBERS, seed=1).start()
    try:
        await asyncio.to_thread(load.wait_acknowledged, PASSED)
        dead = workers(server)[1]
        os.kill(dead.pid, signal.SIGKILL)
        await smsc.until(lambda: smsc.bound() == 2)
        load.resume()
        await asyncio.to_thread(load.wait_acknowledged, PASSED)
    finally:
        sent = await asyncio.to_thread(load.stop)
    await smsc.until(lambda: smsc.bound() == 4, timeout_s=PATIENCE_S)
    await eventually(shared_by_two)
    assert dead.pid not in await looked.pid_of_binds()
    await assert_all_sent(smsc, sent, looked, doubles=2 * 2 * 10)


async def assert_all_sent(smsc: Smsc, sent: list[Sent], looked: Tables, *, doubles: int) -> None:
    """Every acknowledged message was submitted and has ended as delivered; at most `doubles` twice."""

    async def ended() -> bool:
        return await looked.unfinished() == 0

    await eventually(ended)
    acknowledged = {key for one in sent for key in one.acknowledged}
    submitted = Counter((f"+{text.recipient}", text.text) for text in smsc.texts)
    assert acknowledged <= set(submitted), "nothing is lost"
    assert max(submitted.values()) <= 2
    assert sum(count - 1 for count in submitted.values()) <= doubles, "no more than was on its way twice"
    assert set(await looked.states()) == {"2000"}


async def test_a_worker_that_joins_gets_binds_and_work_and_takes_over_what_a_server_leaves(
    tmp_path: Path,
    dsn: str,
    smsc: Smsc,
    landline_server: Callable[..., Server],
    tables: Callable[[], Any],
) -> None:
    config = written(tmp_path / "config.toml", dsn, smsc.port, binds=4)
    server = await asyncio.to_thread(landline_server, arguments=["--config", str(config)])
    looked: Tables = await tables()
    await smsc.until(lambda: smsc.bound() == 4)
    servers = list(smsc._connections)
    smsc.freeze(True)
    load = Load(server.connection_string, server.phone_number, NUMBERS, seed=2).start()
    await asyncio.to_thread(load.wait_acknowledged, PASSED)
    sent = await asyncio.to_thread(load.stop)
    worker = Worker(config)
    try:
        await worker.ready()
        assert "url" not in worker.told, "it serves none"
        assert server.ready["url"] not in worker.log
        await asyncio.to_thread(server.stop)
        for connection in servers:  # what the server's binds had taken was never answered
            connection.pump.abort()
        await smsc.until(
            lambda: sum(each.is_bound for each in smsc._connections if each not in servers) == 4, timeout_s=PATIENCE_S
        )
        assert await looked.pid_of_binds() == {worker.process.pid: 4}
        await assert_all_sent(smsc, sent, looked, doubles=0)
    finally:
        worker.close()


async def test_a_worker_that_joins_gets_part_of_what_a_server_cannot_hold(
    tmp_path: Path, dsn: str, smsc: Smsc, landline_server: Callable[..., Server]
) -> None:
    config = written(tmp_path / "config.toml", dsn, smsc.port, binds=2)
    server = await asyncio.to_thread(landline_server, arguments=["--config", str(config)])
    await smsc.until(lambda: smsc.bound() == 2)
    servers = set(smsc._connections)
    smsc.freeze(True)  # nothing leaves the server: what it has no room for is left in the database
    raw, recipients = raw_of(server), [f"+1206556{number:04d}" for number in range(100)]

    def fill() -> None:
        for number in range(HELD // len(recipients) + 5):
            assert raw.send_sms(server.phone_number, list(recipients), f"text {number}").status == 202

    await asyncio.to_thread(fill)
    worker = Worker(config)
    try:
        await worker.ready()

        def worked() -> bool:
            return sum(connection._submits for connection in smsc._connections - servers) >= len(recipients)

        await smsc.until(worked, timeout_s=PATIENCE_S)
        assert server.admin.call("GET", "/clock")["driven"] is False, "the server lives, and holds the rest"
    finally:
        worker.close()
