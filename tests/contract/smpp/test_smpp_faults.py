"""The SMPP engine when networks and SMSCs fail: cut, silent, down, throttling, all at once from a seed; and TLS."""

import asyncio
import random
import ssl
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import trustme
from tests.support.carrier_events import Recorder
from tests.support.patience import PATIENCE_S
from tests.support.smpp_world import OURS, PHONE, World, until, until_bound
from tests.support.still import StillClock

from landline.core.errors import Unavailable
from landline.engines.clock import DrivenClock
from landline.engines.smpp.carrier import SmppCarrier
from landline.engines.smpp.config import SmppConfig, Tls
from landline.ports.sms_carrier import Submission
from landline.protocols.smpp import status
from landline.store.database import Database
from landline.testing.smsc import Rule, Smsc


async def test_a_cut_connection_leaves_messages_unknown_and_is_made_again(world: World) -> None:
    world.smsc.conduct.rules = [Rule(silent=True)]
    carrier = await world.start(window=5)
    await world.send(carrier, *(f"message {number}" for number in range(8)))
    await world.smsc.until(lambda: world.smsc.counts.submits == 5)
    world.network.cut()
    await world.answered(8)
    assert sorted(answer.unknown for answer in world.events.answers) == [False] * 3 + [True] * 5
    assert all(answer.temporary and answer.code == 5001 for answer in world.events.answers)
    world.smsc.conduct.rules = []
    await until_bound(carrier)
    await world.send(carrier, "again")
    await world.answered(9)
    assert world.events.answers[8].carrier_message_id


async def test_one_lost_bind_of_two_leaves_its_queue_to_the_other(world: World) -> None:
    carrier = await world.start(binds=2, window=1)
    world.smsc.conduct.response_delay_s = 0.02
    await world.send(carrier, *(f"message {number}" for number in range(20)))
    await world.smsc.until(lambda: world.smsc.counts.submits >= 4)
    next(iter(world.smsc._connections)).pump.abort()
    await world.answered(20)
    failed = [answer for answer in world.events.answers if answer.carrier_message_id is None]
    assert len(failed) <= 1
    assert all(answer.unknown for answer in failed)


async def test_a_silent_network_is_found_out_by_enquire_link(world: World) -> None:
    carrier = await world.start(enquire_link_s=30, response_s=10)
    world.network.swallows = True
    await world.send(carrier, "into the void")
    await world.clock.advance(timedelta(seconds=15))
    await world.answered(1)
    assert world.events.answers[0].unknown, "its response timer ended"
    assert carrier.bound == 1
    await world.clock.advance(timedelta(seconds=30))
    await until(lambda: carrier.counters()["link_losses"] == 1)
    assert (carrier.links[0].trouble or "").startswith("silent for")
    world.network.swallows = False
    await world.clock.advance(timedelta(seconds=60))
    await until_bound(carrier)
    await world.send(carrier, "hello")
    await world.reported(1)


async def test_an_smsc_that_is_down_is_tried_less_and_less_often(world: World) -> None:
    carrier = await world.start(backoff_first_s=1, backoff_limit_s=8)
    await world.network.close()
    await until(lambda: not carrier.bound)
    await world.clock.advance(timedelta(seconds=100))
    assert 12 <= carrier.counters()["link_connects_failed"] <= 32  # pauses of 8 s at last, or half of it


async def test_an_unbind_that_is_not_answered_is_waited_for_for_a_while_only(world: World) -> None:
    world.clock = StillClock()
    carrier = await world.start(connect_s=3600)
    world.network.swallows = True
    closing = asyncio.create_task(carrier.close())
    await until(lambda: carrier.links[0].closing)
    await world.clock.advance(timedelta(seconds=3.1))
    async with asyncio.timeout(PATIENCE_S):
        await closing


async def test_days_that_are_driven_pass_without_a_connection_noticing(world: World) -> None:
    line = DrivenClock()
    carrier = await world.start(line=line, enquire_link_s=3600, response_s=3600)
    world.network.swallows = True
    await world.send(carrier, "on its way")
    await world.clock.advance(timedelta(days=3))
    counters = carrier.counters()
    assert (counters["link_binds"], counters["link_losses"], len(world.events.answers)) == (1, 0, 0)
    world.network.swallows = False
    world.network.cut()
    await until(lambda: carrier.counters()["link_losses"] == 1)
    await world.clock.advance(timedelta(days=3))
    assert carrier.counters()["link_connects"] <= 2, "how long a connection is waited for is not driven either"
    await line.advance(timedelta(seconds=1))
    await until_bound(carrier)
    await world.send(carrier, "hello")
    await world.reported(1)
    assert abs(world.events.receipts[0].at - world.clock.now()) < timedelta(minutes=1), "what came of it has our time"


async def test_a_quiet_connection_is_kept_by_enquire_link(world: World) -> None:
    carrier = await world.start(enquire_link_s=30)
    pump = carrier._links[0].pump
    assert pump is not None
    for _ in range(10):
        await world.clock.advance(timedelta(seconds=31))
        await until(lambda: pump.session._enquired_at is None)
    assert carrier.counters()["link_losses"] == 0


async def test_an_smsc_that_unbinds_is_bound_again(world: World) -> None:
    world.smsc.conduct.unbind_after = 1
    carrier = await world.start()
    await world.send(carrier, "hello")
    await world.answered(1)
    await world.smsc.until(lambda: world.smsc.counts.binds == 2)


async def test_a_carrier_that_is_down_at_the_start_is_bound_later(world: World) -> None:
    world.network.refuses = True
    carrier = await world.start()
    with pytest.raises(Unavailable):
        await world.send(carrier, "hello")
    assert not carrier.up
    world.network.refuses = False
    await until_bound(carrier)
    assert carrier.up
    await world.send(carrier, "hello")
    await world.reported(1)


async def test_a_refused_bind_is_tried_again(world: World) -> None:
    world.smsc.conduct.bind_status = status.ESME_RINVPASWD
    carrier = await world.start()
    with pytest.raises(Unavailable):
        await world.send(carrier, "hello")
    world.smsc.conduct.bind_status = status.ESME_ROK
    await until_bound(carrier)
    assert carrier.counters()["link_binds_refused"] >= 1


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_fails_each_message_is_answered_once_and_none_is_lost(world: World, seed: int) -> None:
    chance = random.Random(seed)
    world.smsc.conduct.rules = [
        Rule("1425", every=40, status=status.ESME_RTHROTTLED),
        Rule("1425", every=17, status=status.ESME_RSYSERR),
    ]
    world.smsc.conduct.deliver_retry_s = 0.01
    carrier = await world.start(binds=2, window=10, backoff_limit_s=0.02)
    wanted = {uuid4(): f"message {number} " + "long " * chance.choice([0, 50]) for number in range(150)}
    left = dict(wanted)
    rounds = 0
    while left:
        rounds += 1
        answered = len(world.events.answers)
        batch = [Submission(key, OURS, PHONE, text, 1, True) for key, text in list(left.items())[:40]]
        try:
            await carrier.submit(batch)
        except Unavailable:
            await until_bound(carrier, 2)
            continue
        if rounds % 2:
            submits = world.smsc.counts.submits + chance.randint(1, len(batch))
            await world.smsc.until(lambda submits=submits: world.smsc.counts.submits >= submits)
            world.network.cut()
        await world.answered(answered + len(batch))
        answers = world.events.answers[answered:]
        assert sorted(answer.key for answer in answers) == sorted(given.key for given in batch)
        for answer in answers:
            assert answer.carrier_message_id or answer.temporary
            if answer.carrier_message_id:
                del left[answer.key]
        await until_bound(carrier, 2)
    assert set(wanted.values()) <= {text.text for text in world.smsc.texts}
    ids = {answer.carrier_message_id for answer in world.events.answers if answer.carrier_message_id}
    await world.smsc.until(lambda: world.smsc.counts.deliveries >= len(ids))
    await world.clock.advance(timedelta(seconds=2))
    await world.events.until(lambda: ids <= {receipt.carrier_message_id for receipt in world.events.receipts})


def _contexts(folder: Path, name: str) -> tuple[ssl.SSLContext, Tls]:
    ca = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(name).configure_cert(server)
    server.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(server)
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    ca.issue_cert("landline.example").private_key_and_cert_chain_pem.write_to_path(str(folder / "ours.pem"))
    return server, Tls(str(folder / "ca.pem"), str(folder / "ours.pem"), server_name="smsc.example")


@pytest.mark.parametrize(
    ("name", "wanted", "bound"),
    [
        ("smsc.example", "smsc.example", 1),
        ("other.example", "smsc.example", 0),
        ("127.0.0.1", None, 1),
        ("smsc.example", None, 0),
    ],
)
async def test_tls_with_an_own_ca_and_a_certificate_of_ours(
    database: Database, tmp_path: Path, name: str, wanted: str | None, bound: int
) -> None:
    server, tls = _contexts(tmp_path, name)
    tls = replace(tls, server_name=wanted)
    smsc = Smsc({"landline": "secret"})
    await smsc.start(tls=server)
    events = Recorder()
    config = SmppConfig("smpp", "127.0.0.1", smsc.port, "landline", "secret", tls=tls)
    carrier = SmppCarrier(config, database, DrivenClock())
    await carrier.start(events)
    assert carrier.bound == bound
    if bound:
        await carrier.submit([Submission(uuid4(), OURS, PHONE, "hello", 1, True)])
        await events.until(lambda: len(events.receipts) == 1)
    await carrier.close()
    await smsc.close()


@pytest.mark.parametrize("theirs", [True, False])
async def test_that_one_side_alone_speaks_tls_is_told_as_what_keeps_the_bind_down(
    database: Database, tmp_path: Path, theirs: bool
) -> None:
    server, ours = _contexts(tmp_path, "smsc.example")
    smsc = Smsc({"landline": "secret"})
    await smsc.start(tls=server if theirs else None)
    config = SmppConfig("smpp", "127.0.0.1", smsc.port, "landline", "secret", tls=None if theirs else ours)
    carrier = SmppCarrier(config, database, DrivenClock())
    await carrier.start(Recorder())
    hint = "Is this a port for TLS" if theirs else "Is this a port without"
    assert hint in (carrier.links[0].trouble or "")
    await carrier.close()
    await smsc.close()


async def test_an_smsc_that_waits_for_more_of_what_it_takes_for_a_pdu_is_told_as_one_without_tls(
    database: Database, tmp_path: Path
) -> None:
    async def hears_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    _, ours = _contexts(tmp_path, "smsc.example")
    smsc = await asyncio.start_server(hears_only, "127.0.0.1", 0)
    port = smsc.sockets[0].getsockname()[1]
    config = SmppConfig("smpp", "127.0.0.1", port, "landline", "secret", tls=ours, connect_s=0.05)
    carrier = SmppCarrier(config, database, DrivenClock())
    await carrier.start(Recorder())
    assert carrier.links[0].trouble == "cannot connect: not within 0.05 s. Is this a port without ([carriers.tls])?"
    await carrier.close()
    smsc.close()
    await smsc.wait_closed()


async def test_tls_files_that_were_replaced_count_from_the_next_connection(database: Database, tmp_path: Path) -> None:
    _, tls = _contexts(tmp_path, "smsc.example")
    (tmp_path / "new").mkdir()
    server, _ = _contexts(tmp_path / "new", "smsc.example")
    smsc, clock = Smsc({"landline": "secret"}), DrivenClock()
    await smsc.start(tls=server)
    carrier = SmppCarrier(SmppConfig("smpp", "127.0.0.1", smsc.port, "landline", "secret", tls=tls), database, clock)
    await carrier.start(Recorder())
    assert carrier.bound == 0, "it is trusted by the new CA only"
    (tmp_path / "ca.pem").write_text("half written")
    await clock.advance(timedelta(seconds=1))
    for name in ("ca.pem", "ours.pem"):
        (tmp_path / "new" / name).replace(tmp_path / name)
    until_bound = asyncio.create_task(smsc.until(lambda: smsc.bound() == 1))
    await clock.advance(timedelta(minutes=1))
    await until_bound
    await carrier.close()
    await smsc.close()


async def test_a_bind_has_its_time_however_long_connecting_took(world: World) -> None:
    await world.smsc.start()
    config = SmppConfig("slow", "127.0.0.1", world.smsc.port, "landline", "secret", connect_s=60)
    carrier = SmppCarrier(config, world.database, world.clock)
    world.carriers.append(carrier)
    starting = asyncio.create_task(carrier.start(world.events))
    while not carrier.links:
        await asyncio.sleep(0)
    await asyncio.sleep(0)  # it connects
    assert carrier.counters()["link_connects"] == 0
    world.clock._jump(world.clock.now() + timedelta(seconds=30))  # `advance` would wait for the connection
    await starting
    assert (carrier.bound, carrier.counters()["link_losses"]) == (1, 0)
