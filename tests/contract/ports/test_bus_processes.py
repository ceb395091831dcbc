"""The Bus port between processes over real NATS servers: what crosses, what an outage costs, and that nothing waits."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
import uvloop
from tests.support.bus import Ear, nats_server, processes, settings
from tests.support.cable import Cable
from tests.support.cluster import eventually
from tests.support.patience import PATIENCE_S
from tests.support.ports import free_port

from landline.core.errors import Unavailable
from landline.engines.nats import bus as nats_bus
from landline.engines.nats.bus import NatsBus
from landline.engines.nats.connection import Connection
from landline.engines.nats.server import NatsServer


async def until(true: Callable[[], bool]) -> None:
    async def asked() -> bool:
        return true()

    await eventually(asked)


async def lost(bus: NatsBus) -> None:
    """Return when it has no connection: looked at in every turn, as it is soon so no more."""
    async with asyncio.timeout(PATIENCE_S):
        while bus.together:
            await asyncio.sleep(0)


def said_by(number: int, count: int) -> list[bytes]:
    return [f"{number}:{each}".encode() for each in range(count)]


async def test_many_processes_hear_one_another_once_and_each_in_its_order() -> None:
    async with nats_server() as server, processes(server.url, count=6) as buses:
        ears = [Ear() for _ in buses]
        for bus, ear in zip(buses, ears, strict=True):
            await bus.subscribe("a", ear)
        said = [said_by(number, 200) for number in range(6)]
        for round_ in zip(*said, strict=True):
            for bus, data in zip(buses, round_, strict=True):
                bus.publish("a", data)
        for ear in ears:
            for each in said:
                await ear.until(each[-1])
            by_whom = [[data for data in ear.heard if data.startswith(b"%d:" % number)] for number in range(6)]
            assert by_whom == said
        assert {bus.figures.published for bus in buses} == {200}


async def test_a_process_hears_a_subject_once_however_many_listen() -> None:
    async with nats_server() as server, processes(server.url) as (one, other):
        ears = [Ear() for _ in range(3)]
        await asyncio.gather(*(other.subscribe("a", ear) for ear in ears))
        for data in said_by(0, 10):
            one.publish("a", data)
        for ear in ears:
            assert await ear.until(b"0:9") == said_by(0, 10)
        assert other.figures.heard == 10


async def test_what_nobody_listens_to_is_not_sent_to_a_process() -> None:
    async with nats_server() as server, processes(server.url) as (one, other):
        ear = Ear()
        (await other.subscribe("a", Ear())).close()
        await other.subscribe("b", ear)
        one.publish("a", b"1")
        one.publish("b", b"2")
        await ear.until(b"2")
        assert other.figures.heard == 1


async def test_deployments_with_prefixes_of_their_own_share_a_server() -> None:
    async with nats_server() as server:
        shop, bank = (NatsBus(settings(server.url, prefix=name)) for name in ("shop", "bank.live"))
        async with processes(server.url) as (default, _):
            await asyncio.gather(shop.start(), bank.start())
            ears = [Ear(), Ear(), Ear()]
            for bus, ear in zip((shop, bank, default), ears, strict=True):
                await bus.subscribe("a", ear)
            for bus, data in ((shop, b"shop"), (bank, b"bank"), (default, b"default")):
                bus.publish("a", data)
            for ear, data in zip(ears, (b"shop", b"bank", b"default"), strict=True):
                assert await ear.until(data) == [data]
            await asyncio.gather(shop.close(), bank.close())


async def test_a_killed_server_comes_back_and_what_was_said_meanwhile_is_heard() -> None:
    async with nats_server() as server, processes(server.url, count=3) as buses:
        ears = [Ear() for _ in buses]
        for bus, ear in zip(buses, ears, strict=True):
            await bus.subscribe("a", ear)
        for number in range(3):
            former = server.pid
            assert former is not None
            os.kill(former, signal.SIGKILL)
            await asyncio.gather(*(lost(bus) for bus in buses))
            later, data = Ear(), b"%d" % number
            await buses[1].subscribe(f"later.{number}", later)  # while there is no server
            buses[0].publish("a", data)
            buses[0].publish(f"later.{number}", data)
            for ear in (*ears, later):
                await ear.until(data)
            assert server.pid != former
        assert {tuple(ear.heard) for ear in ears} == {(b"0", b"1", b"2")}
        assert [bus.figures.connections for bus in buses] == [4, 4, 4]
        assert [bus.dropped for bus in buses] == [0, 0, 0]


async def test_a_connection_lost_while_it_waits_for_the_others_is_known_at_once_and_so_is_what_is_listened_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two outages within moments: who did not see the second one was together with nobody."""
    monkeypatch.setattr(nats_bus, "_OTHERS_S", 3600.0)
    async with nats_server() as server, processes(server.url) as (bus, other):
        for outage in range(2):
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
            await asyncio.gather(lost(bus), lost(other))
            await until(lambda connections=outage + 2: bus.figures.connections >= connections and other.together)
            async with asyncio.timeout(PATIENCE_S):
                await bus.subscribe(f"later.{outage}", Ear())


def test_a_server_that_does_not_read_costs_bounded_memory_and_no_time() -> None:
    """On the loop of the product: asyncio's own tells nobody to wait in Python 3.12.0 to 3.12.8, 3.13.0 and 3.13.1
    (CVE-2024-12254)."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(unread())


async def unread() -> None:
    async with nats_server() as server, processes(server.url, backlog=500) as (one, other):
        ear, own = Ear(), Ear()
        await other.subscribe("a", ear)
        await one.subscribe("a", own)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        try:
            for number in range(200):
                for _ in range(99):
                    one.publish("a", bytes(2000))
                one.publish("a", b"%d" % number)
                await own.until(b"%d" % number)
                assert len(one._outgoing) <= 500, number
            await until(lambda: one.dropped > 0)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        assert len(own.heard) == 20_000
        one.publish("a", b"after all")
        await ear.until(b"after all", timeout_s=PATIENCE_S)


async def test_the_oldest_goes_first_when_too_much_waits() -> None:
    async with nats_server() as server, processes(server.url) as (other, _):
        ear = Ear()
        await other.subscribe("a", ear)
        one = NatsBus(settings(server.url), backlog=3, backlog_bytes=10)
        await one.start()
        for data in (b"1", b"2", b"3", b"4", b"5678901"):
            one.publish("a", data)
        await ear.until(b"5678901")
        await one.close()
        assert (ear.heard, one.dropped) == ([b"3", b"4", b"5678901"], 2)


async def test_a_process_that_stalls_is_passed_over_and_hears_again() -> None:
    """The server cuts who does not read, and tells nobody else to wait."""
    async with nats_server() as server, processes(server.url, count=3) as (one, other, stalled):
        ear, late = Ear(), Ear()
        await other.subscribe("a", ear)
        await stalled.subscribe("a", late)
        connection = stalled._connection
        assert connection is not None
        transport = connection._client._transport
        transport._io_writer.transport.pause_reading()  # type: ignore[union-attr]
        for number in range(80):
            one.publish("a", b"%d" % number + bytes(500_000))
            await ear.until(b"%d" % number + bytes(500_000))
        transport._io_writer.transport.resume_reading()  # type: ignore[union-attr]
        await until(lambda: stalled.figures.connections >= 2 and stalled.together)
        one.publish("a", b"again")
        await late.until(b"again")


async def test_without_a_server_a_process_starts_hears_itself_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nats_bus, "_START_S", 0.2)
    monkeypatch.setattr(nats_bus, "_MOMENT_S", 0.0)
    async with nats_server() as gone:
        url = gone.url
    async with processes(url, count=1) as (bus,):
        ear = Ear()
        await bus.subscribe("a", ear)
        bus.publish("a", b"1")
        await ear.until(b"1")
        assert not bus.together
        told: list[str] = []

        async def told_which() -> bool:
            with pytest.raises(Unavailable) as away:
                await bus.check()
            told.append(away.value.message)
            return not told[-1].endswith("not started")

        await eventually(told_which)
        assert told[-1].startswith(f"NATS is out of reach: {urlsplit(url).hostname}:{urlsplit(url).port}: ")


async def test_the_second_server_is_used_when_the_first_is_away() -> None:
    async with nats_server() as gone:
        away = gone.url
    async with nats_server() as server, processes(away, server.url, count=8) as buses:
        await until(lambda: all(bus.together for bus in buses))
        ears = [Ear() for _ in buses]
        for bus, ear in zip(buses, ears, strict=True):
            await bus.subscribe("a", ear)
        buses[0].publish("a", b"1")
        assert Counter([tuple(await ear.until(b"1")) for ear in ears]) == {(b"1",): 8}


async def test_an_end_sends_what_was_said_last() -> None:
    async with nats_server() as server, processes(server.url, count=1) as (other,):
        ear, one = Ear(), NatsBus(settings(server.url))
        await other.subscribe("a", ear)
        await one.start()
        for data in said_by(0, 100):
            one.publish("a", data)
        await one.close()
        assert await ear.until(b"0:99") == said_by(0, 100)


async def test_an_end_while_the_server_does_not_answer_is_quick() -> None:
    async with nats_server() as server, processes(server.url, count=1) as (bus,):
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        try:
            bus.publish("a", bytes(100_000))
            async with asyncio.timeout(PATIENCE_S):
                await bus.close()
        finally:
            os.kill(server.pid, signal.SIGCONT)


async def test_the_server_is_gone_after_its_end_and_none_is_started_twice() -> None:
    server = NatsServer()
    await server.start()
    pid = server.pid
    assert pid is not None
    await server.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_server_that_comes_just_when_it_was_tried_in_vain_is_not_left_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """nats-py tries twice and tells of the first time, too: what others sent meanwhile was lost with the connection."""
    async with nats_server() as far:
        port, its = free_port(), urlsplit(far.url).port or 0
        cable = Cable(its)
        listening: list[asyncio.Server] = []
        told = Connection._erred

        async def told_then(connection: Connection, error: Exception) -> None:
            if not listening:
                listening.append(await asyncio.start_server(cable.connected, "127.0.0.1", port))
            await told(connection, error)

        monkeypatch.setattr(Connection, "_erred", told_then)
        of = settings(far.url.replace(str(its), str(port)))
        connection = await Connection.open(of.servers[0], of, lambda: None)
        try:
            assert listening
            assert connection.lost is None
            await connection.settle()
        finally:
            await connection.close()
            listening[0].close()
            cable.cut()
