"""What the webhook was told and what the insights count agree exactly, through faults and driven hours."""

import os
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from random import Random
from typing import Any
from urllib.parse import quote

from azure.communication.sms import SmsClient
from tests.support.patience import PATIENCE_S

from landline.testing import Event, Inbox, Server

SEED = int(os.environ.get("ROLLUPS_SEED") or Random().randrange(10**6))
REPORT = "Microsoft.Communication.SMSDeliveryReportReceived"
RECEIVED = "Microsoft.Communication.SMSReceived"
COUNTRIES = {"+1425555": "US", "+4915112": "DE", "+4477009": "GB"}
NUMBERS = [f"{prefix}{line:04d}" for prefix in COUNTRIES for line in range(12)]
TAGS = ("spring", "autumn", None)
PRICES = {"+": "0.1", "+1": "0.0075", "+1425": "0.007001", "+491511": "0.07", "+49": "0.08"}
"""By prefix, none of them of +44: those cost what all others do."""
COSTS = {"+1425555": Decimal("0.007001"), "+4915112": Decimal("0.07"), "+4477009": Decimal("0.1")}


def test_events_and_rollups_agree_exactly(landline_server: Callable[..., Server]) -> None:
    print(f"ROLLUPS_SEED={SEED}")
    dice, server = Random(SEED), landline_server()
    began = datetime.fromisoformat(server.admin.call("GET", "/clock")["now"])
    inbox = server.inbox()
    server.carrier.seed(SEED)
    server.carrier.rule("+1425555*", code=4005, every=5)
    server.carrier.rule("+4915112*", code=5001, temporary=True, every=3, at="submit")
    server.carrier.rule("+4477009*", silent=True, every=4)
    free = [sent for _ in range(2) for sent in send(server, dice)]
    for prefix, price in PRICES.items():
        server.admin.call("PUT", f"/sms/prices/simulated/{quote(prefix)}", {"price": price})
    accepted = len(free) + sum(len(send(server, dice)) for _ in range(12))
    texts = [speak(server, number, dice) for number in dice.sample(NUMBERS, 12)]
    server.clock.advance(minutes=90)
    accepted += sum(len(send(server, dice)) for _ in range(6))
    server.clock.advance(hours=13)
    reports = inbox.wait_for_all(REPORT, accepted, timeout=PATIENCE_S)
    received = inbox.wait_for_all(RECEIVED, len(texts), timeout=PATIENCE_S)
    assert_once(inbox)
    totals = server.insights(since=began)["totals"]
    assert figures(totals) == told(reports)
    assert (totals["accepted"], totals["pending"]) == (accepted, 0)
    assert (totals["replies"], totals["optOuts"]) == (len(received), texts.count("STOP"))
    assert_groups_agree(server, began, reports)
    assert_costs_agree(server, began, reports, free)


def send(server: Server, dice: Random) -> list[str]:
    """Texts to some, some of them under a tag; their ids."""
    recipients = dice.sample(NUMBERS, dice.choice([1, 3, 20]))
    client = SmsClient.from_connection_string(server.connection_string)
    items = client.send(
        server.phone_number,
        recipients,
        "hello " * dice.choice([1, 40]),
        enable_delivery_report=True,
        tag=dice.choice(TAGS),
    )
    assert all(item.successful for item in items)
    return [str(item.message_id) for item in items]


def speak(server: Server, number: str, dice: Random) -> str:
    word = dice.choice(["STOP", "yes", "no"])
    server.handset(number).send(word)
    return word


def assert_once(inbox: Inbox) -> None:
    """However often an event was posted, a message has one."""
    ids = {event.id: event.data["messageId"] for event in inbox.events if event.type in (REPORT, RECEIVED)}
    assert len(set(ids.values())) == len(ids)


def assert_groups_agree(server: Server, began: datetime, reports: list[Event]) -> None:
    """By tag and by the recipient's country, by pages and as a whole."""
    groups = server.insights("tag", "country", since=began)["value"]
    found = {(group["tag"], group["country"]): figures(group) for group in groups if group["accepted"]}
    by_place: dict[tuple[str, str], list[Event]] = {}
    for report in reports:
        country = next(name for prefix, name in COUNTRIES.items() if report.data["to"].startswith(prefix))
        by_place.setdefault((report.data.get("tag") or "", country), []).append(report)
    assert found == {place: told(each) for place, each in by_place.items()}


def assert_costs_agree(server: Server, began: datetime, reports: list[Event], free: list[str]) -> None:
    """What the events' segments cost by the prices, what the timelines say, and what is counted; each in all and by tag
    and country. Who had opted out was not sent to."""
    told: dict[tuple[str, str], list[Decimal]] = {}
    for report in reports:
        data = report.data
        prefix = next(prefix for prefix in COSTS if data["to"].startswith(prefix))
        timeline = server.admin.call("GET", f"/messages/{data['messageId']}/timeline")
        if data["messageId"] in free or timeline["steps"][1]["what"] == "blocked":
            assert timeline["cost"] is None
            continue
        [attempt] = data["deliveryAttempts"]
        cost = COSTS[prefix] * (attempt["segmentsSucceeded"] + attempt["segmentsFailed"])
        assert (Decimal(timeline["cost"]), timeline["currency"]) == (cost, "USD")
        told.setdefault((data.get("tag") or "", COUNTRIES[prefix]), []).append(cost)
    groups = server.insights("tag", "country", since=began)["value"]
    assert {
        (group["tag"], group["country"]): (Decimal(group["cost"]), group["priced"])
        for group in groups
        if "priced" in group
    } == {place: (sum(costs), len(costs)) for place, costs in told.items()}
    totals = server.insights(since=began)["totals"]
    every = [cost for costs in told.values() for cost in costs]
    assert (Decimal(totals["cost"]), totals["priced"]) == (sum(every), len(every))


def figures(group: dict[str, Any]) -> dict[str, Any]:
    return {name: group[name] for name in ("delivered", "failed", "failedByCode", "segmentsDelivered")}


def told(reports: list[Event]) -> dict[str, Any]:
    """The same figures from the reports themselves."""
    codes = Counter(report.data["deliveryStatusDetails"].partition(":")[0] for report in reports)
    delivered = codes.pop("2000", 0)
    segments = [attempt["segmentsSucceeded"] for report in reports for attempt in report.data["deliveryAttempts"]]
    return {
        "delivered": delivered,
        "failed": codes.total(),
        "failedByCode": dict(codes),
        "segmentsDelivered": sum(segments),
    }
