"""The shapes of event data against the table of the JS SDK (tests/data) and the models of the Python one."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from azure.core.messaging import CloudEvent as SdkCloudEvent
from azure.eventgrid import EventGridEvent as SdkEventGridEvent
from azure.eventgrid import SystemEventNames

from landline.wire import base, events

TABLE: dict[str, dict[str, dict[str, Any]]] = json.loads(
    (Path(__file__).parents[1] / "data" / "acs_sms_events.json").read_text("utf-8")
)["definitions"]
KINDS = {"String": str, "Number": int, "[AcsSmsDeliveryAttempt]": list[events.AcsSmsDeliveryAttempt]}


@pytest.mark.parametrize("name", sorted(TABLE))
def test_the_data_has_exactly_the_fields_of_the_table(name: str) -> None:
    shape = getattr(events, name)
    fields = {field.encode_name: field for field in msgspec.structs.fields(shape)}
    assert fields.keys() == TABLE[name].keys()
    for wire_name, expected in TABLE[name].items():
        assert fields[wire_name].required == expected["required"], wire_name
        kind = KINDS[expected["type"]]
        assert fields[wire_name].type == (kind if expected["required"] else kind | None), wire_name


def test_the_event_types_are_the_sdks() -> None:
    assert SystemEventNames.AcsSmsReceivedEventName == events.SMS_RECEIVED
    assert SystemEventNames.AcsSmsDeliveryReportReceivedEventName == events.SMS_DELIVERY_REPORT_RECEIVED
    assert SystemEventNames.EventGridSubscriptionValidationEventName == events.VALIDATION_EVENT


def test_the_sdk_parses_both_envelopes() -> None:
    data = events.AcsSmsReceivedEventData("m1", "+15555550100", "+18005550100", "hi", 1, "2026-11-21T12:00:00Z")
    raw = msgspec.Raw(base.encode(data))
    at = "2026-11-21T12:00:00.0000000Z"
    grid = base.encode(events.EventGridEvent("i", "/t", "/phonenumber/1", raw, events.SMS_RECEIVED, at))
    parsed = SdkEventGridEvent.from_json(grid)
    assert (parsed.id, parsed.topic, parsed.subject, parsed.data_version) == ("i", "/t", "/phonenumber/1", "1.0")
    assert parsed.event_time == datetime.fromisoformat("2026-11-21T12:00:00+00:00")
    assert parsed.data["segmentCount"] == 1
    assert parsed.data["from"] == "+15555550100"
    cloud = base.encode(events.CloudEvent("i", "/t", "/phonenumber/1", raw, events.SMS_RECEIVED, at))
    one = SdkCloudEvent.from_json(cloud)
    assert (one.id, one.source, one.type, one.specversion) == ("i", "/t", events.SMS_RECEIVED, "1.0")
    assert one.time == parsed.event_time
    assert one.data == parsed.data
