"""A campaign over two carriers that fail some of it: what their SMSCs took and what phones answered is what insights,
timelines and events say, by carrier, country and tag."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from typing import Any
from urllib.parse import quote

import pytest
from azure.communication.sms import SmsClient
from tests.support.patience import PATIENCE_S

from landline.protocols.smpp import status
from landline.protocols.smpp.commands import MessageState
from landline.testing import Server
from landline.testing.smsc import Conduct, Rule, Smsc

REPORT = "Microsoft.Communication.SMSDeliveryReportReceived"
RECEIVED = "Microsoft.Communication.SMSReceived"
LONG = "two segments " * 15
EACH = 12
FAILED_BY_NORTH, FAILED_BY_BOTH, REFUSED_BY_NORTH, DELIVERED_BY_NORTH, NOT_ALLOWED = (
    [f"{prefix}{number * 7:03d}" for number in range(EACH)]
    for prefix in ("+12065550", "+14165550", "+447700900", "+33612345", "+525512345")
)
ALL = [*FAILED_BY_NORTH, *FAILED_BY_BOTH, *REFUSED_BY_NORTH, *DELIVERED_BY_NORTH, *NOT_ALLOWED]


@pytest.fixture
async def smscs() -> AsyncGenerator[dict[str, Smsc]]:
    conducts = {
        "north": Conduct(
            rules=[
                Rule("1206", state=MessageState.UNDELIVERABLE),
                Rule("1416", state=MessageState.UNDELIVERABLE),
                Rule("44", status=status.ESME_RX_R_APPN),
            ]
        ),
        "south": Conduct(
            rules=[Rule("1416", state=MessageState.UNDELIVERABLE)], response_id="{id:X}", receipt_id="{id:010d}"
        ),
    }
    found = {name: Smsc({"landline": "secret"}, conduct=conduct) for name, conduct in conducts.items()}
    for smsc in found.values():
        await smsc.start()
    yield found
    for smsc in found.values():
        await smsc.close()


def environment(smscs: dict[str, Smsc]) -> dict[str, str]:
    shared = {"kind": "smpp", "host": "127.0.0.1", "system_id": "landline", "password": "secret"}
    carriers: list[dict[str, Any]] = [{**shared, "name": name, "port": smsc.port} for name, smsc in smscs.items()]
    carriers[1] |= {"message_ids": "dec-hex", "long_style": "sar"}
    routes = [{"name": "all", "carriers": ["north", {"carrier": "south", "weight": 0}]}]
    return {"LANDLINE_CARRIERS": json.dumps(carriers), "LANDLINE_ROUTES": json.dumps(routes)}


async def test_what_smscs_saw_and_phones_said_is_what_insights_tell(
    landline_server: Callable[..., Server], smscs: dict[str, Smsc]
) -> None:
    server = await asyncio.to_thread(landline_server, env=environment(smscs))
    inbox = await asyncio.to_thread(server.inbox)
    await asyncio.to_thread(set_up, server)
    client = SmsClient.from_connection_string(server.connection_string)
    items = await asyncio.to_thread(
        client.send, server.phone_number, ALL, LONG, enable_delivery_report=True, tag="spring"
    )
    assert all(item.successful for item in items)
    reports = await asyncio.to_thread(inbox.wait_for_all, REPORT, len(ALL), timeout=PATIENCE_S)
    by = {phone: last_of(smscs, phone) for phone in ALL}
    for phone in DELIVERED_BY_NORTH[:5]:  # its texts went by the first, its answers come over the second
        smscs["south"].text(phone, server.phone_number, "STOP")
    await asyncio.to_thread(inbox.wait_for_all, RECEIVED, 5, timeout=PATIENCE_S)

    ends = {event.data["to"]: event.data["deliveryStatusDetails"][:4] for event in reports}
    assert ends == {phone: code for phones, code in CODES for phone in phones}
    carriers = await asyncio.to_thread(lambda: {item.to: carrier_of(server, item.message_id) for item in items})
    assert carriers == by
    expected = {("north", "FR"), ("north", "MX"), ("south", "US"), ("south", "CA"), ("south", "GB")}
    groups = (await asyncio.to_thread(server.insights, "carrier", "country", tag="spring"))["value"]
    assert {(group["carrier"], group["country"]) for group in groups if group["accepted"]} == expected
    for group in groups:
        if group["accepted"]:
            phones = [phone for phone in ALL if country_of(phone) == group["country"]]
            assert figures(group) == told(phones, ends, 5 if group["country"] == "FR" else 0)


CODES = (
    (FAILED_BY_NORTH, "2000"),
    (FAILED_BY_BOTH, "4006"),
    (REFUSED_BY_NORTH, "2000"),
    (DELIVERED_BY_NORTH, "2000"),
    (NOT_ALLOWED, "4003"),
)


def set_up(server: Server) -> None:
    settings = {"failoverOnReceipt": True, "allowedCountries": ["US", "CA", "GB", "FR"]}
    server.admin.call("PATCH", "/resources/local/sms/settings", settings)
    for carrier, price in (("north", "0.01"), ("south", "0.02")):
        server.admin.call("PUT", f"/sms/prices/{carrier}/%2B", {"price": price})


def carrier_of(server: Server, message_id: str) -> str:
    return server.admin.call("GET", f"/messages/{quote(message_id)}/timeline")["carrier"]


def last_of(smscs: dict[str, Smsc], phone: str) -> str:
    """The SMSC that took the text to this phone last: the second, if it did; the first, if nobody was asked."""
    return "south" if any(f"+{each.recipient}" == phone for each in smscs["south"].received) else "north"


def country_of(phone: str) -> str:
    return {"+1206": "US", "+1416": "CA", "+4477": "GB", "+3361": "FR", "+5255": "MX"}[phone[:5]]


def figures(group: dict[str, Any]) -> dict[str, Any]:
    names = ("accepted", "segments", "delivered", "segmentsDelivered", "failedByCode", "pending", "replies", "optOuts")
    return {**{name: group[name] for name in names}, "cost": group.get("cost"), "priced": group.get("priced", 0)}


def told(phones: list[str], ends: dict[str, str], stops: int) -> dict[str, Any]:
    """A text costs what the carrier that was tried first takes for its two segments; a blocked one nothing."""
    codes = Counter(ends[phone] for phone in phones)
    delivered = codes.pop("2000", 0)
    priced = len(phones) - codes["4003"]
    return {
        "accepted": len(phones),
        "segments": 2 * len(phones),
        "delivered": delivered,
        "segmentsDelivered": 2 * delivered,
        "failedByCode": dict(codes),
        "pending": 0,
        "replies": stops,
        "optOuts": stops,
        "cost": f"{priced * 2 / 100:.2f}" if priced else None,
        "priced": priced,
    }
