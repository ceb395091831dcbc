"""Shapes and types of chat's events against the table of the JS SDK (tests/data) and the names of the Python one."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from azure.eventgrid import SystemEventNames

from landline.services.chat import notices
from landline.wire import chat_events
from landline.wire.chat import CommunicationIdentifierModel

TABLE: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "acs_chat_events.json").read_text("utf-8"))
KINDS = {
    "String": str,
    "Number": int,
    "CommunicationIdentifierModel": CommunicationIdentifierModel,
    "AcsChatThreadParticipant": chat_events.AcsChatThreadParticipant,
    "[AcsChatThreadParticipant]": list[chat_events.AcsChatThreadParticipant],
    "{String}": dict[str, str],
    "{{any}}": dict[str, str],
}
BOT = "AzureBotCommandReceivedInThread"
SENT = sorted(name for name in TABLE["definitions"] if BOT not in name)


@pytest.mark.parametrize("name", SENT)
def test_the_data_has_exactly_the_fields_of_the_table(name: str) -> None:
    fields = {field.encode_name: field for field in msgspec.structs.fields(getattr(chat_events, name))}
    expected = TABLE["definitions"][name]
    assert fields.keys() == expected.keys()
    for wire_name, entry in expected.items():
        kind = KINDS[entry["type"]]
        assert fields[wire_name].type in (kind, kind | None), wire_name
        assert fields[wire_name].required or not entry["required"], wire_name


def test_every_type_of_the_table_is_sent_but_the_bots() -> None:
    assert {name for name in TABLE["events"] if BOT not in name} == notices.TYPES


def test_the_types_are_among_the_sdks() -> None:
    assert {each.value for each in SystemEventNames} >= notices.TYPES - {
        # newer than the Python package
        "Microsoft.Communication.ChatTypingIndicatorReceivedInThread",
    }
