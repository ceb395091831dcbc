"""What was acknowledged survives: the server, or its PostgreSQL, is killed under load again and again (rules 1 and 2).

CRASH_ROUNDS sets how often; CRASH_SEED repeats a run's choices of when.
"""

import json
import os
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from tests.support import processes
from tests.support.load import Load, Sent
from tests.support.patience import PATIENCE_S
from tests.support.signed import Raw

from landline.testing import Event, Inbox, Server

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "3"))
SEED = int(os.environ.get("CRASH_SEED") or Random().randrange(10**6))
REPORT = "Microsoft.Communication.SMSDeliveryReportReceived"
NUMBERS = [f"+1206555{number:04d}" for number in range(60)]
FINAL = {"delivered", "failed"}


def kill_server(server: Server) -> None:
    server.kill()
    server.restart()


def kill_postgresql(server: Server) -> None:
    """The server is not told; it has to see it and start PostgreSQL again."""
    processes.kill_postgresql(server.pid)


@pytest.mark.filterwarnings("ignore:unclosed <s:ResourceWarning")
@pytest.mark.usefixtures("half_made_connections")
@pytest.mark.parametrize("kill", [kill_server, kill_postgresql])
def test_every_acknowledged_message_is_found_once_in_one_final_state(
    landline_server: Callable[..., Server], kill: Callable[[Server], None]
) -> None:
    print(f"CRASH_SEED={SEED}")
    random = Random(SEED)
    server = landline_server()
    inbox = server.inbox()
    load = Load(server.connection_string, server.phone_number, NUMBERS, seed=SEED).start()
    try:
        for _ in range(ROUNDS):
            load.wait_acknowledged(random.randrange(5, 200))
            kill(server)
            load.resume()
        load.wait_acknowledged(20)
    finally:
        sent = load.stop()
    acknowledged = {key: message for one in sent for key, message in one.acknowledged.items()}
    assert_replays_change_nothing(server, sent, acknowledged)
    assert_reported_once(server, inbox, acknowledged)
    assert_on_handsets_once(server, acknowledged)


def assert_replays_change_nothing(server: Server, sent: list[Sent], acknowledged: dict[tuple[str, str], str]) -> None:
    """Every request again, byte for byte: those answered before get the same ids, the rest are taken (once) now."""
    raw = Raw(server.endpoint, server.access_key, server.ca_bundle)
    for one in sent:
        body = json.loads(one.body)
        answer = raw.call("POST", "/sms", body)
        assert answer.status == 202, answer
        for item in answer.json()["value"]:
            assert item["successful"], item
            message = acknowledged.setdefault((item["to"], body["message"]), item["messageId"])
            assert item["messageId"] == message


def assert_reported_once(server: Server, inbox: Inbox, acknowledged: dict[tuple[str, str], str]) -> None:
    wanted = set(acknowledged.values())
    assert len(wanted) == len(acknowledged)
    server.clock.advance(minutes=30)  # leases of the dead run out, refused webhooks are tried again
    events = first_reports(inbox, wanted)
    raw = Raw(server.endpoint, server.access_key, server.ca_bundle)
    for message in sorted(wanted):
        statuses = {event.data["deliveryStatus"] for event in events[message]}
        assert len(statuses) == 1, (message, statuses)
        fetched = raw.call("GET", f"/deliveryReports/{message}")
        assert fetched.status == 200, fetched
        assert {fetched.json()["deliveryStatus"]} == statuses
        timeline = server.admin.call("GET", f"/messages/{message}/timeline")
        assert timeline["state"] in FINAL
        assert [step["what"] for step in timeline["steps"]].count("reported") == 1, timeline


def first_reports(inbox: Inbox, wanted: set[str]) -> dict[str, list[Event]]:
    """All reports of the `wanted` messages, once each has at least one."""
    found: dict[str, list[Event]] = {}
    missing = set(wanted)

    def is_missing(data: dict[str, Any]) -> bool:
        return data["messageId"] in missing

    while missing:
        event = inbox.wait_for(REPORT, where=is_missing, timeout=PATIENCE_S)
        missing.discard(event.data["messageId"])
    for event in inbox.events:
        if event.type == REPORT and event.data["messageId"] in wanted:
            found.setdefault(event.data["messageId"], []).append(event)
    return found


def assert_on_handsets_once(server: Server, acknowledged: dict[tuple[str, str], str]) -> None:
    arrived: Counter[tuple[str, str]] = Counter()
    for number in NUMBERS:
        arrived.update((number, text["text"]) for text in all_texts(server, number))
    assert {key: count for key, count in arrived.items() if count != 1} == {}
    assert set(arrived) == set(acknowledged)


def all_texts(server: Server, number: str) -> list[dict[str, Any]]:
    """Everything on a handset, page by page."""
    texts: list[dict[str, Any]] = []
    path = f"/handsets/%2B{number[1:]}/inbox"
    while page := server.admin.call("GET", path, query={"after": texts[-1]["id"] if texts else 0})["value"]:
        texts += page
    return texts
