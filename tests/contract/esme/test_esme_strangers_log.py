"""What strangers and customers can have the log told as often as they like."""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from structlog.testing import capture_logs
from tests.contract.esme.test_esme_messages import nothing_waits
from tests.support.esme import EsmeWorld, Process
from tests.support.patience import PATIENCE_S
from tests.support.raw_esme import RawEsme
from tests.support.smpp_client import Client
from tests.support.smpp_world import OURS, PHONE, until

from landline.app import certificates
from landline.core.errors import Unavailable
from landline.edge.server import tls_context
from landline.protocols.smpp import pdu, status
from landline.protocols.smpp.commands import BindKind, Command
from landline.protocols.smpp.events import BindRefused
from landline.protocols.smpp.framing import HEADER, HEADER_BYTES
from landline.protocols.smpp.states import State


async def bind(world: EsmeWorld, process: Process, password: str, system_id: str) -> object:
    return await (await world.connect(process)).bind(password, system_id=system_id)


def lines(logs: Sequence[Any], event: str, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(line[name] for name in names) for line in logs if line["event"] == event]


async def test_refused_binds_of_a_stranger_are_told_once_a_minute_and_once_each(world: EsmeWorld) -> None:
    process = await world.process()
    await world.account(process, "shop")
    with capture_logs() as logs:
        for number in range(10):
            assert await bind(world, process, "guess", f"made-up-{number}") == BindRefused(status.ESME_RINVPASWD)
        for _ in range(3):
            await bind(world, process, "guess", "shop")
        await world.clock.advance(timedelta(seconds=61))
        await bind(world, process, "guess", "made-up")
    assert lines(logs, "sms.esme_refused", "system_id", "reason", "count") == [
        ("made-up-0", "wrong system id or password", 1),
        ("shop", "wrong system id or password", 1),  # an account of somebody's, who may look for why it cannot bind
        ("made-up", "wrong system id or password", 10),
    ]
    assert lines(logs, "smpp.customer_refused", "system_id") == []


async def test_an_address_that_is_not_allowed_is_told_once_a_minute(world: EsmeWorld) -> None:
    process = await world.process()
    password = await world.account(process, "shop", addresses=["10.0.0.0/8"])
    with capture_logs() as logs:
        for _ in range(4):
            await bind(world, process, password, "shop")
        await world.clock.advance(timedelta(seconds=61))
        await bind(world, process, password, "shop")
    assert lines(logs, "sms.esme_address_not_allowed", "system_id", "count") == [("shop", 1), ("shop", 4)]


async def test_binds_beyond_an_accounts_are_told_once_a_minute(world: EsmeWorld) -> None:
    process = await world.process()
    password = await world.account(process, "shop", binds=1)
    await world.client(process, password, "shop")
    with capture_logs() as logs:
        for _ in range(4):
            assert await bind(world, process, password, "shop") == BindRefused(status.ESME_RALYBND)
        await world.clock.advance(timedelta(seconds=61))
        await bind(world, process, password, "shop")
    told = lines(logs, "smpp.customer_refused", "system_id", "status", "count")
    assert told == [("shop", "ESME_RALYBND", 1), ("shop", "ESME_RALYBND", 4)]


async def test_what_strangers_say_that_is_no_smpp_is_told_once_a_minute(world: EsmeWorld) -> None:
    process = await world.process()
    with capture_logs() as logs:
        for _ in range(5):
            await say_http(await world.connect(process))
        await until(lambda: not process.listener._connections)
        await world.clock.advance(timedelta(seconds=61))
        await say_http(await world.connect(process))
        await until(lambda: not process.listener._connections)
    assert lines(logs, "smpp.peer_lost", "peer", "count") == [("127.0.0.1", 1), ("127.0.0.1", 5)]


async def test_a_customer_that_is_lost_is_told_by_its_name(world: EsmeWorld) -> None:
    process = await world.process()
    clients = [await world.client(process, await world.account(process, name), name) for name in ("one", "two")]
    with capture_logs() as logs:
        await asyncio.gather(*map(say_http, clients))
        await until(lambda: not process.listener._connections)
    assert sorted(lines(logs, "smpp.peer_lost", "system_id", "count")) == [("one", 1), ("two", 1)]


async def test_what_a_customer_refuses_for_good_is_told_once_a_minute(world: EsmeWorld) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process, texts=["*"]))
    with capture_logs() as logs:
        for number in range(4):
            await world.text(process, f"{number}", OURS, PHONE)
            await client.arrival(status.ESME_RX_P_APPN)
        await nothing_waits(world)
        await world.clock.advance(timedelta(seconds=61))
        await world.text(process, "one more", OURS, PHONE)
        await client.arrival(status.ESME_RX_P_APPN)
        await nothing_waits(world)
    told = lines(logs, "smpp.customer_refuses", "system_id", "status", "count")
    assert told == [("customer", "ESME_RX_P_APPN", 1), ("customer", "ESME_RX_P_APPN", 4)]


async def test_a_customer_that_binds_in_a_loop_is_told_once_a_minute(world: EsmeWorld) -> None:
    process = await world.process()
    password = await world.account(process)
    with capture_logs() as logs:
        for number in range(5):
            client = await world.client(
                process, password, kind=BindKind.RECEIVER if number == 2 else BindKind.TRANSCEIVER
            )
            client.pump.close()
            await until(lambda: not process.listener._connections)
        await world.clock.advance(timedelta(seconds=61))
        await world.client(process, password)
    told = lines(logs, "smpp.customer_bound", "system_id", "kind", "count")
    assert told == [("customer", "transceiver", 1), ("customer", "receiver", 1), ("customer", "transceiver", 4)]


async def test_what_a_customer_submits_again_and_again_while_the_database_is_away_is_told_once_a_minute(
    world: EsmeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await world.process()
    client = await world.client(process, await world.account(process))

    async def away(*_: object) -> None:
        raise Unavailable("PostgreSQL is away")

    async def put_off(count: int) -> None:
        """Submissions, of which some may come in one piece, and a request to take one back."""
        for _ in range(count):
            client.submit()
        assert [await client.status() for _ in range(count)] == [status.ESME_RSYSERR] * count
        client.session.request(Command.CANCEL_SM, pdu.CancelSm(message_id=uuid4().hex), None, 0.0)
        client.pump.flush()
        assert await client.status() == status.ESME_RSYSERR

    monkeypatch.setattr(process.esme, "submit", away)
    monkeypatch.setattr(process.esme, "cancel", away)
    with capture_logs() as logs:
        for count in (1, 3, 5):
            await put_off(count)
        await world.clock.advance(timedelta(seconds=61))
        await put_off(1)
    told = lines(logs, "smpp.customer_put_off", "system_id", "reason", "count")
    assert told == [("customer", "PostgreSQL is away", 1), ("customer", "PostgreSQL is away", 12)]


async def test_what_a_customer_says_and_is_refused_is_told_once_a_minute(world: EsmeWorld) -> None:
    process = await world.process()
    assert process.listener.port is not None
    bind = pdu.encode(BindKind.TRANSCEIVER.value, pdu.Bind("shop", "secret"), 1)
    cut = HEADER.pack(len(bind) - 4, BindKind.TRANSCEIVER.value, 0, 1) + bind[HEADER_BYTES:-4]
    submit = pdu.encode(Command.SUBMIT_SM, pdu.ShortMessage(), 1)
    with capture_logs() as logs:
        for _ in range(3):
            esme = RawEsme()
            await esme.connect(process.listener.port)
            assert (await esme.asked(cut)).status == status.ESME_RINVCMDLEN
            assert (await esme.asked(submit)).status == status.ESME_RINVBNDSTS
            esme.close()
        client = await world.client(process, await world.account(process, "shop"), "shop", kind=BindKind.RECEIVER)
        client.session.state = State.BOUND_TRX  # it believes so
        client.submit()
        assert await client.status() == status.ESME_RINVBNDSTS
    assert lines(logs, "smpp.pdu_refused", "system_id", "peer", "command", "reason", "count") == [
        ("", "127.0.0.1", "bind_transceiver", "ESME_RINVCMDLEN", 1),
        ("", "127.0.0.1", "submit_sm", "ESME_RINVBNDSTS", 1),
        ("shop", "127.0.0.1", "submit_sm", "ESME_RINVBNDSTS", 1),
    ]


async def test_who_agrees_on_no_tls_is_told_once_a_minute(world: EsmeWorld, tmp_path: Path) -> None:
    files = certificates.ensure(tmp_path, datetime.now(UTC))
    process = await world.process(tls_port=0, tls=tls_context(files.certificate, files.key), port=None)
    port = process.listener.tls_port
    assert port is not None

    async def bind_plainly() -> None:
        plain = Client()
        world.clients.append(plain)
        await plain.connect(port)
        plain.begin_bind()
        await until(lambda: plain.closed)

    def trust_nobody() -> None:
        with (
            socket.create_connection(("127.0.0.1", port), PATIENCE_S) as line,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            ssl.create_default_context().wrap_socket(line, server_hostname="localhost")

    with capture_logs() as logs:
        for _ in range(3):
            await bind_plainly()
        await asyncio.to_thread(trust_nobody)
        _, probe = await asyncio.open_connection("127.0.0.1", port)  # as balancers do, to see whether it is there
        probe.close()
        await until(lambda: not process.listener._agreeing)
    assert lines(logs, "smpp.no_tls", "peer", "reason", "count") == [
        ("127.0.0.1", "WRONG_VERSION_NUMBER", 1),
        ("127.0.0.1", "TLSV1_ALERT_UNKNOWN_CA", 1),
    ]


async def say_http(client: Client) -> None:
    assert client.pump._transport is not None
    client.pump._transport.write(b"GET / HTTP/1.1\r\n\r\n")
    await until(lambda: client.closed)
