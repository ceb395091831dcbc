"""A gateway over a real SMSC under real faults: every acknowledged message has one report, and none is sent twice but
those that were on their way, unanswered, when something broke; at most once, not even those.

Each run meets half of the faults, of its own choice; with FAULTS in the environment (`make sim`) all of them.
FAULTS_SEED repeats a run's choices of which, when and in which order.
"""

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
import pytest
from tests.support import processes
from tests.support.far_smsc import PASSWORD, SYSTEM_ID, FarSmsc
from tests.support.load import Load

from landline.services.sms.model import messages
from landline.store.embedded import EmbeddedServer
from landline.testing import Inbox, Server
from landline.testing.admin import AdminError

SEED = int(os.environ.get("FAULTS_SEED") or Random().randrange(10**6))
REPORT = "Microsoft.Communication.SMSDeliveryReportReceived"
NUMBERS = [f"+1206555{number:04d}" for number in range(40)]
WINDOW, BINDS = 4, 2
UNKNOWN = 9999
TIMEOUT_S = 120.0
LOOK_EVERY_S = 0.1
SLOW_S = 3.0
GAP_S = 0.02
REPORT_S = 600


@dataclass
class World:
    """A server, the SMSC it binds to, and what reports came."""

    server: Server
    smsc: FarSmsc
    inbox: Inbox
    began: datetime

    def reports(self) -> dict[str, dict[str, Any]]:
        """The report of each message. Posts that were made again, under the same event id, are one."""
        found = {event.id: event.data for event in self.inbox.events if event.type == REPORT}
        by_message = Counter(data["messageId"] for data in found.values())
        assert set(by_message.values()) <= {1}, "a message was reported by two events"
        return {data["messageId"]: data for data in found.values()}

    def carrier_is_up(self) -> bool:
        asked = {"resource": "local", "from": self.server.phone_number, "to": NUMBERS[0]}
        answer = self.server.admin.call("POST", "/sms/routes:test", asked)
        return next(each["up"] for each in answer["carriers"] if each["carrier"] == "far")

    def until(self, true: Callable[[], bool], what: str) -> None:
        """Wait for `true`, which nobody announces."""
        deadline = time.monotonic() + TIMEOUT_S
        while not true():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}\n{self.server.log[-20000:]}")
            time.sleep(LOOK_EVERY_S)

    def totals(self) -> dict[str, Any]:
        return self.server.insights(since=self.began)["totals"]


@pytest.fixture
def world(landline_server: Callable[..., Server], tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    smsc = FarSmsc(tmp_path).start()
    carrier = {
        "kind": "smpp",
        "name": "far",
        "host": "127.0.0.1",
        "port": smsc.port,
        "system_id": SYSTEM_ID,
        "password": PASSWORD,
        "binds": BINDS,
        "window": WINDOW,
        "crash_policy": request.param,
        "response_s": 2.0,
        "enquire_link_s": 1.0,
        "backoff_first_s": 0.1,
        "backoff_limit_s": 0.5,
    }
    routes = [{"name": "all", "carriers": ["far"]}]
    server = landline_server(
        env={"LANDLINE_CARRIERS": json.dumps([carrier]), "LANDLINE_ROUTES": json.dumps(routes)},
        data=tmp_path / "data",
    )
    began = datetime.fromisoformat(server.admin.call("GET", "/clock")["now"])
    yield World(server, smsc, server.inbox(), began)
    smsc.signal(signal.SIGCONT)
    smsc.kill()


def kill_landline(world: World) -> None:
    world.server.kill()
    world.server.restart()


def kill_postgresql(world: World) -> None:
    processes.kill_postgresql(world.server.pid)


def kill_smsc(world: World) -> None:
    world.smsc.kill()
    world.smsc.start()


def cut_connections(world: World) -> None:
    world.smsc.signal(signal.SIGUSR1)


def black_hole(world: World) -> None:
    """Connections stay, and nothing comes back over them."""
    world.smsc.signal(signal.SIGSTOP)
    world.until(lambda: not world.carrier_is_up(), "the carrier still counts as up")
    world.smsc.signal(signal.SIGCONT)


def slow_disk(world: World) -> None:
    """PostgreSQL answers nothing for a while: for as long as a client waits in vain."""
    with processes.postgresql_stopped(world.server.pid), pytest.raises(AdminError):
        world.server.admin.call("GET", "/resources", timeout_s=SLOW_S)


FAULTS = (kill_landline, kill_postgresql, kill_smsc, cut_connections, black_hole, slow_disk)


@pytest.mark.filterwarnings("ignore:unclosed <s:ResourceWarning")
@pytest.mark.usefixtures("half_made_connections")
@pytest.mark.parametrize("world", ["resend", "unknown"], indirect=True)
def test_nothing_is_lost_and_nothing_doubled_but_what_was_in_doubt(
    world: World, request: pytest.FixtureRequest
) -> None:
    print(f"FAULTS_SEED={SEED}")
    random = Random(f"{SEED} {request.node.name}")
    load = Load(
        world.server.connection_string,
        world.server.phone_number,
        NUMBERS,
        seed=SEED,
        threads=2,
        gap_s=GAP_S,
        report_timeout_s=REPORT_S,
    ).start()
    try:
        for fault in random.sample(FAULTS, len(FAULTS) if "FAULTS" in os.environ else len(FAULTS) // 2):
            load.wait_acknowledged(random.randrange(20, 80))
            print(fault.__name__)
            fault(world)
            load.resume()
        load.wait_acknowledged(20)
    finally:
        sent = load.stop()
    acknowledged = {key: message for one in sent for key, message in one.acknowledged.items()}
    settle(world, acknowledged)
    reports = world.reports()
    assert {*acknowledged.values()} <= reports.keys()
    copies = Counter((taken.recipient, taken.text) for taken in world.smsc.taken())
    stored = asyncio.run(stored_ids(world))
    unanswered = [taken for taken in world.smsc.taken() if taken.message_id not in stored]
    unknown = [data for data in reports.values() if data["deliveryStatusDetails"].startswith(str(UNKNOWN))]
    print(f"{len(reports)} messages, {len(unanswered)} in doubt, {len(unknown)} unknown")
    if "unknown" in request.node.name:
        assert max(copies.values()) == 1
        assert len(unknown) <= len(unanswered) + len(FAULTS) * WINDOW * BINDS
    else:
        doubled = {key: number for key, number in copies.items() if number > 1}
        assert set(doubled.values()) <= {2}
        assert doubled.keys() <= {(taken.recipient, taken.text) for taken in unanswered}
    assert_rollups_agree(world, reports)


def settle(world: World, acknowledged: dict[tuple[str, str], str]) -> None:
    """Every message has come to its end; what was never reported (the SMSC that knew of it is dead) by its time."""

    def all_told() -> bool:
        lives = {(taken.recipient, taken.text): taken.life for taken in world.smsc.taken()}
        reports = world.reports()
        return all(
            message in reports or lives.get(key, world.smsc.lives) < world.smsc.lives
            for key, message in acknowledged.items()
        )

    try:
        world.until(all_told, "reports did not come")
    except TimeoutError:
        print(asyncio.run(whereabouts(world, {*acknowledged.values()} - world.reports().keys())))
        raise
    world.server.clock.advance(seconds=REPORT_S + 60)
    world.until(lambda: world.totals()["pending"] == 0, "messages never ended")
    world.until(lambda: len(world.reports()) == world.totals()["accepted"], "reports were not told")


async def whereabouts(world: World, unreported: set[str]) -> str:
    """What the database and the SMSC know of messages whose reports did not come, and the state of all work."""
    connection = await asyncpg.connect(EmbeddedServer(world.server.data / "postgresql").dsn)
    lines = [f"{len(unreported)} unreported, now {world.server.admin.call('GET', '/clock')['now']}"]
    try:
        keys = [messages.parse_public_id(each) for each in sorted(unreported)]
        for sql in (
            "SELECT message_id, accepted_at, recipient, body, state, code, attempts, doubt, due_at, claim_id, block_id"
            " FROM sms_messages WHERE message_id = ANY($1) ORDER BY 1 LIMIT 40",
            "SELECT message_id, submitted_at, carrier_message_id FROM sms_submissions WHERE message_id = ANY($1)",
            "SELECT message_id, at, code, reason, unknown FROM sms_attempts WHERE message_id = ANY($1) LIMIT 80",
            "SELECT b.*, (SELECT count(*) FROM sms_messages m WHERE m.block_id = b.block_id AND state < 8) AS open"
            " FROM sms_blocks b WHERE $1::uuid[] IS NOT NULL ORDER BY due_at LIMIT 40",
            "SELECT state, code, due_at IS NOT NULL AS alone, claim_id, count(*), min(due_at) FROM sms_messages"
            " WHERE $1::uuid[] IS NOT NULL GROUP BY 1, 2, 3, 4",
            "SELECT * FROM sms_parked_receipts WHERE $1::uuid[] IS NOT NULL LIMIT 40",
            "SELECT block_id, owner, due_at FROM events_batches WHERE $1::uuid[] IS NOT NULL LIMIT 40",
            "SELECT count(*) FROM events_deliveries WHERE $1::uuid[] IS NOT NULL",
        ):
            lines.append(sql)
            lines += [repr(dict(row)) for row in await connection.fetch(sql, keys)]
    finally:
        await connection.close()
    return "\n".join(lines)


async def stored_ids(world: World) -> set[str]:
    """The SMSC's ids of which the server learned: messages that were answered."""
    connection = await asyncpg.connect(EmbeddedServer(world.server.data / "postgresql").dsn)
    try:
        return {row["carrier_message_id"] for row in await connection.fetch("SELECT * FROM sms_submissions")}
    finally:
        await connection.close()


def assert_rollups_agree(world: World, reports: dict[str, dict[str, Any]]) -> None:
    """The insights say what the events said."""
    codes = Counter(data["deliveryStatusDetails"].partition(":")[0] for data in reports.values())
    delivered = codes.pop("2000", 0)
    totals = world.totals()
    assert (totals["accepted"], totals["delivered"]) == (len(reports), delivered)
    assert totals["failedByCode"] == codes
