"""SMPP accounts over the admin API, who may bind with them, and attacks on that."""

import asyncio
import json
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from tests.support.esme import EsmeWorld, Process
from tests.support.patience import PATIENCE_S
from tests.support.smpp_client import Client
from tests.support.smpp_world import OURS, until
from tests.support.still import StillClock

from landline.app import certificates
from landline.core.errors import Conflict, Invalid, NotFound, Unavailable
from landline.core.ids import ResourceId
from landline.edge import handshake
from landline.edge.http import Request
from landline.edge.routes import Router
from landline.edge.server import tls_context
from landline.engines.smpp.listener.connection import Connection
from landline.ports.esme_gateway import Account
from landline.protocols.smpp import pdu, status
from landline.protocols.smpp.commands import BindKind, Command
from landline.protocols.smpp.events import BindRefused, Bound
from landline.protocols.smpp.framing import HEADER, HEADER_BYTES
from landline.services.sms import accounts, admin_accounts, records_accounts
from landline.services.sms.accounts import Settings
from landline.services.sms.model.esme import EsmeAccount
from landline.services.sms.model.messages import State

PATH = "/resources/local/smpp-accounts"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
WRONG = BindRefused(status.ESME_RINVPASWD)


class Admin:
    """The admin API of one process."""

    def __init__(self, world: EsmeWorld, process: Process) -> None:
        async def resource_named(name: str) -> ResourceId:
            if name != "local":
                raise NotFound("There is no such resource.")
            return world.resource

        self._router = Router(admin_accounts.routes(process.accounts, resource_named))

    async def __call__(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        route, params = self._router.find(method, path)
        request = Request(method, path, {}, json.dumps(body).encode(), "1", params=params)
        response = await route.handler(request)
        assert response.status == status
        return json.loads(response.body) if response.body else None


@pytest.fixture
async def process(world: EsmeWorld) -> Process:
    return await world.process()


async def bind(world: EsmeWorld, process: Process, password: str, **bind: Any) -> object:
    return await (await world.connect(process)).bind(password, **bind)


async def test_an_account_is_made_changed_listed_and_deleted(world: EsmeWorld, process: Process) -> None:
    admin = Admin(world, process)
    made = await admin("POST", PATH, {"systemId": "shop", "texts": [OURS], "ratePerS": 50}, status=201)
    password = made.pop("password")
    assert len(password) == 8
    assert made == {
        "systemId": "shop", "enabled": True, "addresses": [], "binds": 5, "window": 100, "ratePerS": 50.0,
        "receipts": True, "texts": [OURS], "alphabet": "gsm", "createdAt": made["createdAt"],
    }  # fmt: skip
    assert await admin("GET", PATH + "/shop") == made
    changed = await admin("PATCH", PATH + "/shop", {"ratePerS": None, "binds": 2, "alphabet": "utf8"})
    assert changed == {**made, "ratePerS": None, "binds": 2, "alphabet": "utf8"}
    assert await admin("GET", PATH) == {"value": [changed]}
    rotated = await admin("POST", PATH + "/shop:rotate")
    assert rotated.pop("password") != password
    assert rotated == changed
    await admin("DELETE", PATH + "/shop", status=204)
    assert await admin("GET", PATH) == {"value": []}
    with pytest.raises(NotFound):
        await admin("GET", PATH + "/shop")


async def test_what_cannot_be_is_refused(world: EsmeWorld, process: Process) -> None:
    admin = Admin(world, process)
    await admin("POST", PATH, {"systemId": "shop"}, status=201)
    with pytest.raises(Conflict):
        await admin("POST", PATH, {"systemId": "shop"})
    for body in (
        {"systemId": "x" * 16},
        {"systemId": "y", "texts": ["+14255559999"]},
        {"systemId": "y", "binds": 0},
        {"alphabet": "x"},
    ):
        with pytest.raises(Invalid):
            await admin("POST", PATH, body)
    for method, path in (("PATCH", "/no"), ("DELETE", "/no"), ("POST", "/no:rotate")):
        with pytest.raises(NotFound):
            await admin(method, PATH + path, {})


async def test_passwords_are_not_in_the_database(world: EsmeWorld, process: Process) -> None:
    password = await world.account(process)
    rows = await world.database.fetch("SELECT a::text AS row FROM sms_esme_accounts a")
    assert all(password not in row["row"] and password.encode().hex() not in row["row"] for row in rows)


async def test_the_password_opens_in_every_process_and_after_a_restart(world: EsmeWorld, process: Process) -> None:
    password = await world.account(process)
    second = await world.process()
    for _ in range(2):
        assert isinstance(await bind(world, second, password), Bound)
    assert await bind(world, second, password[:-1]) == WRONG
    assert await bind(world, second, "") == WRONG
    assert await bind(world, second, password, system_id="nobody") == WRONG


async def test_binds_that_come_back_together_after_a_restart_cost_one_look_at_their_password(
    world: EsmeWorld, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes a core for a moment, one after the other: who has waited for 10 s would be cut."""
    password = await world.account(process, binds=50)
    second = await world.process()
    hashed, looked_at = accounts._hashed, list[str]()

    def counted(password: str, salt: bytes) -> bytes:
        looked_at.append(password)
        return hashed(password, salt)

    monkeypatch.setattr(accounts, "_hashed", counted)
    answers = await asyncio.gather(*(bind(world, second, password) for _ in range(40)))
    assert all(isinstance(answer, Bound) for answer in answers)
    assert looked_at == [password]


@pytest.mark.parametrize("how", ["rotate", "delete", "disable", "addresses"])
async def test_whoever_may_not_be_bound_any_more_is_cut_in_every_process(
    world: EsmeWorld, process: Process, how: str
) -> None:
    password = await world.account(process)
    other = await world.process()
    clients = [await world.client(process, password), await world.client(other, password)]
    admin = Admin(world, process)
    if how == "rotate":
        await admin("POST", PATH + "/customer:rotate")
    elif how == "delete":
        await admin("DELETE", PATH + "/customer", status=204)
    else:
        change = {"enabled": False} if how == "disable" else {"addresses": ["10.0.0.0/8"]}
        await admin("PATCH", PATH + "/customer", change)
    for client in clients:
        await until(lambda client=client: client.closed)
    for each in (process, other):
        assert await bind(world, each, password) == WRONG


@pytest.mark.parametrize("rotated", [False, True])
async def test_the_password_of_a_deleted_account_does_not_open_a_later_one_of_its_system_id(
    world: EsmeWorld, process: Process, rotated: bool
) -> None:
    admin, was = Admin(world, process), await world.account(process)
    await world.client(process, was)
    if rotated:
        was = (await admin("POST", PATH + "/customer:rotate"))["password"]
        await world.client(process, was)
    await admin("DELETE", PATH + "/customer", status=204)
    password = await world.account(process)
    if rotated:
        password = (await admin("POST", PATH + "/customer:rotate"))["password"]
    assert await bind(world, process, was) == WRONG
    assert isinstance(await bind(world, process, password), Bound)


async def test_whoever_is_bound_is_cut_when_the_account_is_another_one_by_the_time_it_is_looked_up(
    world: EsmeWorld, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await world.client(process, await world.account(process))
    looking, go_on, find = asyncio.Event(), asyncio.Event(), process.accounts.find

    async def slow(system_id: str) -> EsmeAccount | None:
        looking.set()
        await go_on.wait()
        return await find(system_id)

    monkeypatch.setattr(process.accounts, "find", slow)
    await process.accounts.delete(world.resource, "customer")
    await looking.wait()
    await world.account(process)
    go_on.set()
    await until(lambda: client.closed)


@pytest.mark.parametrize("world", [StillClock], indirect=True)
async def test_new_limits_hold_for_connections_there_are(world: EsmeWorld, process: Process) -> None:
    client = await world.client(process, await world.account(process))
    await Admin(world, process)("PATCH", PATH + "/customer", {"ratePerS": 1})
    await until(lambda: process.listener.bound()[0].rate_per_s == 1)
    for _ in range(2):
        client.submit()
    assert sorted([await client.status(), await client.status()]) == [0, status.ESME_RTHROTTLED]
    await Admin(world, process)("PATCH", PATH + "/customer", {"ratePerS": None})
    await until(lambda: process.listener.bound()[0].rate_per_s is None)
    for _ in range(20):
        client.submit()
    assert [await client.status() for _ in range(20)] == [0] * 20


async def test_only_allowed_addresses_bind(world: EsmeWorld, process: Process) -> None:
    inside = await world.account(process, "inside", addresses=["127.0.0.0/8"])
    outside = await world.account(process, "outside", addresses=["10.0.0.0/8"])
    assert isinstance(await bind(world, process, inside, system_id="inside"), Bound)
    assert await bind(world, process, outside, system_id="outside") == WRONG


@pytest.mark.parametrize("world", [StillClock], indirect=True)
async def test_guessing_is_slowed_down_and_the_right_password_waits_too(world: EsmeWorld, process: Process) -> None:
    password = await world.account(process)
    for number in range(6):
        assert await bind(world, process, f"guess{number}") == WRONG
    assert await bind(world, process, password) == WRONG
    await world.clock.advance(timedelta(seconds=61))
    assert isinstance(await bind(world, process, password), Bound)


@pytest.mark.parametrize("world", [StillClock], indirect=True)
async def test_guesses_at_once_are_no_more_than_guesses_in_turn(world: EsmeWorld, process: Process) -> None:
    password = await world.account(process)
    guesses = [f"guess{number}" for number in range(30)]
    outcomes = await asyncio.gather(*(bind(world, process, guess) for guess in guesses))
    assert outcomes == [WRONG] * 30
    counted = process.accounts._guesses._counts["pair"][("customer", "127.0.0.1")]
    assert counted.wrong == 5
    assert await bind(world, process, password) == WRONG


def held_up(monkeypatch: pytest.MonkeyPatch) -> tuple[Event, list[str]]:
    """Have passwords looked at only once the event is set; those that are, in turn."""
    hashed, hold, looked_at = accounts._hashed, Event(), list[str]()

    def held(guess: str, salt: bytes) -> bytes:
        looked_at.append(guess)
        hold.wait(PATIENCE_S)
        return hashed(guess, salt)

    monkeypatch.setattr(accounts, "_hashed", held)
    return hold, looked_at


async def test_a_customer_waits_for_no_crowd_of_guesses(
    world: EsmeWorld, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the /64s of one stranger's network, each of which may guess a few times."""
    password = await world.account(process)
    hold, looked_at = held_up(monkeypatch)
    find = process.accounts.authenticate
    guesses = [asyncio.create_task(find("customer", f"guess{each}", f"2001:db8:0:{each:x}::1")) for each in range(10)]
    await until(lambda: len(process.accounts._hashing) == 9)
    customer = asyncio.create_task(find("customer", password, "192.0.2.1"))
    await until(lambda: len(process.accounts._hashing) == 10)
    hold.set()
    assert await customer is not None
    assert await asyncio.gather(*guesses) == [None] * 10
    assert looked_at.index(password) <= 2


async def test_who_is_gone_waits_for_nothing(
    world: EsmeWorld, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many binds a stranger leaves behind, nothing of them is kept; what has begun is counted."""
    password = await world.account(process)
    hold, looked_at = held_up(monkeypatch)
    strangers = [await world.connect(process) for _ in range(4)]
    binds = [asyncio.create_task(stranger.bind(f"guess{each}")) for each, stranger in enumerate(strangers)]
    await until(lambda: len(process.accounts._hashing) == 3)
    for stranger in strangers:
        stranger.pump.abort()
    await until(lambda: len(process.accounts._hashing) == 0)
    assert len(looked_at) == 1
    hold.set()
    assert isinstance(await bind(world, process, password), Bound)
    assert looked_at == [looked_at[0], password]
    for each in binds:
        each.cancel()
    await asyncio.gather(*binds, return_exceptions=True)


async def test_what_comes_before_the_bind_is_refused(world: EsmeWorld, process: Process) -> None:
    client = await world.connect(process)
    frame = pdu.encode(Command.SUBMIT_SM, pdu.ShortMessage(short_message=b"x"), 1)
    assert await raw(client, frame * 3) == [(Command.SUBMIT_SM | 0x80000000, status.ESME_RINVBNDSTS)] * 3
    assert await world.messages() == []


@pytest.mark.parametrize(
    "octets",
    [
        HEADER.pack(0xFFFFFFFF, Command.BIND_TRANSCEIVER, 0, 1),
        HEADER.pack(15, Command.BIND_TRANSCEIVER, 0, 1),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
async def test_what_is_no_smpp_is_cut(world: EsmeWorld, process: Process, octets: bytes) -> None:
    client = await world.connect(process)
    assert client.pump._transport is not None
    client.pump._transport.write(octets)
    await until(lambda: client.closed and not process.listener._connections)


async def test_a_client_that_does_not_read_is_not_read_from(world: EsmeWorld, process: Process) -> None:
    client = await world.client(process, await world.account(process))
    transport = client.pump._transport
    assert transport is not None
    client.pump.pause_reading()
    (connection,) = process.listener._connections
    enquiries = HEADER.pack(16, Command.ENQUIRE_LINK, 0, 1) * 4096
    theirs = connection.pump._transport
    assert theirs is not None
    while connection.pump.writable:
        transport.write(enquiries)
        await asyncio.sleep(0.001)
    for _ in range(50):  # 3 MB; the kernel may take a little more of what there is meanwhile
        transport.write(enquiries)
        await asyncio.sleep(0.001)
    assert theirs.get_write_buffer_size() < 1 << 20
    client.pump.resume_reading()
    await until(lambda: connection.pump.writable)


async def test_binds_and_submissions_go_over_tls_and_failed_handshakes_leave_nothing(
    world: EsmeWorld, tmp_path: Path
) -> None:
    files = certificates.ensure(tmp_path, datetime.now(UTC))
    server = tls_context(files.certificate, files.key)
    process = await world.process(tls_port=0, tls=server, port=None)
    assert process.listener.tls_port is not None
    password = await world.account(process)
    trust = ssl.create_default_context(cafile=files.authority)
    client = Client()
    world.clients.append(client)
    await client.connect(process.listener.tls_port, trust)
    assert isinstance(await client.bind(password), Bound)
    client.submit()
    await client.accepted()
    plain = Client()
    world.clients.append(plain)
    await plain.connect(process.listener.tls_port)
    plain.session.bind(BindKind.TRANSCEIVER, pdu.Bind(), 0.0)
    plain.pump.flush()
    await until(lambda: plain.closed)
    await world.clock.advance(timedelta(seconds=11))
    await until(lambda: len(process.listener._connections) == 1)


async def test_whoever_has_unbound_may_bind_again_before_tls_has_ended(world: EsmeWorld, tmp_path: Path) -> None:
    files = certificates.ensure(tmp_path, datetime.now(UTC))
    process = await world.process(tls_port=0, tls=tls_context(files.certificate, files.key), port=None)
    password = await world.account(process, binds=1)
    trust = ssl.create_default_context(cafile=files.authority)

    def bind_and_unbind() -> tuple[ssl.SSLSocket, list[int]]:
        """By a client that reads what it asked for and no more: it hears nothing of the end of TLS."""
        plain = socket.create_connection(("127.0.0.1", process.listener.tls_port or 0), PATIENCE_S)
        line = trust.wrap_socket(plain, server_hostname="localhost")
        answers: list[int] = []
        bind = pdu.encode(BindKind.TRANSCEIVER.value, pdu.Bind("customer", password), 1)
        for octets in (bind, HEADER.pack(HEADER_BYTES, Command.UNBIND, 0, 2)):
            line.sendall(octets)
            size, _, state, _ = HEADER.unpack(line.recv(HEADER_BYTES))
            answers.append(state)
            if size > HEADER_BYTES:
                line.recv(size - HEADER_BYTES)
        return line, answers

    lines = [await asyncio.to_thread(bind_and_unbind) for _ in range(3)]
    assert [answers for _, answers in lines] == [[0, 0]] * 3
    for line, _ in lines:
        line.close()


async def test_who_agrees_on_no_tls_gives_way_to_customers(
    world: EsmeWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "HANDSHAKE_S", 3_600.0)
    files = certificates.ensure(tmp_path, datetime.now(UTC))
    process = await world.process(tls_port=0, tls=tls_context(files.certificate, files.key), port=None, connections=8)
    port = process.listener.tls_port
    assert port is not None
    password = await world.account(process)
    trust = ssl.create_default_context(cafile=files.authority)
    bound = Client()
    world.clients.append(bound)
    await bound.connect(port, trust)
    assert isinstance(await bound.bind(password), Bound)
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(30)]
    await until(lambda: [reader.at_eof() for reader, _ in silent] == [True] * 23 + [False] * 7)
    late = Client()
    world.clients.append(late)
    await late.connect(port, trust)
    assert isinstance(await late.bind(password), Bound)
    assert not bound.closed
    await process.listener.close()
    for reader, writer in silent:
        assert await reader.read() == b""
        writer.close()


async def raw(client: Client, octets: bytes) -> list[tuple[int, int]]:
    """Command and status of as many answers as there are frames in `octets`, sent past the client's own session."""
    answers: list[tuple[int, int]] = []
    transport = client.pump._transport
    assert transport is not None

    def receive(data: bytes, _now: float) -> list[Any]:
        for start in range(0, len(data), 16):
            _, command, state, _ = HEADER.unpack_from(data, start)
            answers.append((command, state))
        return []

    client.session.receive = receive  # type: ignore[method-assign]
    transport.write(octets)
    frames = len(octets) // HEADER.unpack_from(octets)[0]
    await until(lambda: len(answers) == frames)
    return answers


async def test_whoever_is_disabled_while_an_earlier_change_is_looked_up_is_cut(
    world: EsmeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process))
    looked_up, go_on, find = asyncio.Event(), asyncio.Event(), process.accounts.find

    async def slow(system_id: str) -> EsmeAccount | None:
        found = await find(system_id)
        looked_up.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(process.accounts, "find", slow)
    await process.accounts.change(world.resource, "customer", Settings(rate_per_s=5.0))
    await looked_up.wait()
    await process.accounts.change(world.resource, "customer", Settings(enabled=False))
    go_on.set()
    await until(lambda: client.closed)


@pytest.mark.parametrize("kind", BindKind)
async def test_whoever_is_disabled_between_its_password_and_its_bind_is_cut(
    world: EsmeWorld, monkeypatch: pytest.MonkeyPatch, kind: BindKind
) -> None:
    process = await world.process()
    password = await world.account(process)
    client, admit = await world.connect(process), process.listener.admit
    checked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(connection: Connection, account: Account) -> int:
        checked.set()
        await go_on.wait()
        return await admit(connection, account)

    monkeypatch.setattr(process.listener, "admit", slow)
    binding = asyncio.create_task(client.bind(password, kind))
    await checked.wait()
    heard: list[str | None] = []
    process.changes.watch(accounts.SUBJECT, heard.append)
    await process.accounts.change(world.resource, "customer", Settings(enabled=False))
    await until(lambda: len(heard) == 2)  # from here, and from the database
    go_on.set()
    assert isinstance(await binding, Bound)
    await until(lambda: client.closed)


async def test_whoever_is_disabled_while_the_database_is_away_is_cut_once_it_is_back(
    world: EsmeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await world.process()
    failed, heard = asyncio.Event(), list[str | None]()
    find, looking = process.accounts.find, 0

    async def look(system_id: str) -> EsmeAccount | None:
        nonlocal looking
        looking += 1
        try:
            return await find(system_id)
        finally:
            looking -= 1

    async def away(_system_id: str) -> EsmeAccount | None:
        failed.set()
        raise Unavailable("PostgreSQL is away")

    monkeypatch.setattr(process.accounts, "find", look)
    client = await world.client(process, await world.account(process))
    process.changes.watch(accounts.SUBJECT, heard.append)
    with monkeypatch.context() as patched:
        patched.setattr(process.accounts, "find", away)
        await until(lambda: not looking)  # as it may, for it hears only now that the account was made
        await process.accounts.change(world.resource, "customer", Settings(enabled=False))
        await until(lambda: len(heard) >= 2)  # from here, and from the database
        await failed.wait()
        await world.clock.advance(timedelta(seconds=2))
    assert not client.closed
    await world.clock.advance(timedelta(seconds=1))
    await until(lambda: client.closed)


async def test_an_account_counts_before_its_process_hears_of_it(
    world: EsmeWorld, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await world.process()
    assert await other.accounts.find("customer") is None

    async def not_yet(*_about: object) -> None: ...

    monkeypatch.setattr(process.changes, "publish", not_yet)
    _, first = await process.accounts.create(world.resource, "customer", Settings())
    assert await other.accounts.authenticate("customer", first, "127.0.0.1") is not None
    assert await other.accounts.find("customer") is not None
    _, second = await process.accounts.rotate(world.resource, "customer")
    assert await other.accounts.authenticate("customer", first, "127.0.0.1") is None
    assert await other.accounts.authenticate("customer", second, "127.0.0.1") is not None


async def test_what_ends_or_comes_while_an_account_is_being_deleted_is_taken_all_the_same(world: EsmeWorld) -> None:
    """It waits for who deletes the account, and then knows that there is none."""
    process = await world.process()
    client = await world.client(process, await world.account(process, texts=("*",)))
    client.submit(registered_delivery=1)
    assert await client.status() == 0
    messages = await world.messages()
    async with world.database.transaction() as connection:
        assert await records_accounts.delete_account(connection, world.resource, "customer")
        taken = [
            asyncio.create_task(world.end(process, messages)),
            asyncio.create_task(world.text(process, "hello", OURS, "+14255550123")),
        ]
        while await world.database.fetchval(WAITING) < len(taken):
            assert not any(task.done() for task in taken)
    await asyncio.gather(*taken)
    assert [row["state"] for row in await world.messages()] == [State.DELIVERED]
    assert await world.waiting() == 0
