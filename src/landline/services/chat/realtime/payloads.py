"""What the browser clients are told of a change: the name of the event and its body (chat-realtime.md A)."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from landline.core.ids import RawId
from landline.services.chat.model.changes import (
    ChatChange,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    ParticipantsAdded,
    ParticipantsRemoved,
    ReadReceiptReceived,
    ThreadCreated,
    ThreadDeleted,
    ThreadPropertiesUpdated,
    TypingIndicatorReceived,
)
from landline.services.chat.model.ids import milliseconds, thread_text
from landline.services.chat.model.values import Participant, Properties
from landline.services.chat.notices import MESSAGE_TYPES
from landline.wire import chat_realtime as wire
from landline.wire.base import Wire

_UNSAFE = re.compile(r"[^A-Za-z0-9@*_+\-./]", re.ASCII)
_encode = msgspec.json.Encoder().encode


def told(change: ChatChange) -> Sequence[RawId]:
    """Who is told of `change`: all recipients, but nobody that they have read something themselves. Who types is told
    so: realtimeNotifications.spec.ts of the JavaScript SDK waits for it; the UI library passes over one's own."""
    if isinstance(change, ReadReceiptReceived):
        return [each for each in change.recipients if each != change.sender]
    return change.recipients


def payload(change: ChatChange, recipient: str) -> tuple[str, Wire]:
    """The event that tells `recipient` of `change`, and its body. `recipient` is named first, and only in the events
    of messages, typing and receipts."""
    match change:
        case MessageReceived():
            body = wire.MessageReceivedPayload(event_id=200, **_message(change, recipient), **_content(change))
            return "chatMessageReceived", body
        case MessageEdited():
            common = {**_message(change, recipient), **_content(change)}
            return "chatMessageEdited", wire.MessageEditedPayload(event_id=247, edittime=_at(change.at), **common)
        case MessageDeleted():
            common = _message(change, recipient)
            return "chatMessageDeleted", wire.MessageDeletedPayload(event_id=248, deletetime=_at(change.at), **common)
        case TypingIndicatorReceived():
            return "typingIndicatorReceived", _typing(change, recipient)
        case ReadReceiptReceived():
            return "readReceiptReceived", _receipt(change, recipient)
        case _:
            return _thread(change)


def escaped(text: str) -> str:
    """`text` as JavaScript's `escape()` writes it (ECMA-262 B.2.1.1)."""
    return _UNSAFE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    units = found.group().encode("utf-16-be", "surrogatepass")
    codes = [int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2)]
    return "".join(f"%{code:02X}" if code < 256 else f"%u{code:04X}" for code in codes)


def _at(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(value: Any) -> str:
    return _encode(value).decode()


def _message(change: MessageReceived | MessageEdited | MessageDeleted, recipient: str) -> dict[str, Any]:
    written = change.at if isinstance(change, MessageReceived) else change.created_at
    return {
        "recipient_mri": recipient,
        "sender_id": change.sender,
        "group_id": thread_text(change.thread),
        "message_id": str(change.message_id),
        "client_message_id": "",
        "sender_display_name": change.sender_display_name or "",
        "message_type": MESSAGE_TYPES[change.kind],
        "version": str(change.version),
        "original_arrival_time": _at(written),
    }


def _content(change: MessageReceived | MessageEdited) -> dict[str, Any]:
    attachments = [
        wire.MessageAttachment(each.id, each.kind, each.name, each.url, each.preview_url) for each in change.attachments
    ]
    return {
        "message_body": change.content,
        "acs_chat_message_metadata": _text(change.metadata),
        "attachments": _text(attachments) if attachments else None,
    }


def _typing(change: TypingIndicatorReceived, recipient: str) -> Wire:
    return wire.TypingIndicatorReceivedPayload(
        event_id=245,
        recipient_mri=recipient,
        sender_id=change.sender,
        group_id=thread_text(change.thread),
        sender_display_name=change.sender_display_name or "",
        version=str(change.version),
        original_arrival_time=_at(change.at),
    )


def _receipt(change: ReadReceiptReceived, recipient: str) -> Wire:
    horizon = f"{change.message_id};{milliseconds(change.at)};0"
    return wire.ReadReceiptReceivedPayload(
        event_id=246,
        recipient_mri=recipient,
        sender_id=change.sender,
        group_id=thread_text(change.thread),
        message_id=str(change.message_id),
        client_message_id="",
        message_body=_text(wire.ReadReceiptMessageBody(change.sender, horizon, 0, str(change.version))),
    )


def _thread(
    change: ThreadCreated | ThreadPropertiesUpdated | ThreadDeleted | ParticipantsAdded | ParticipantsRemoved,
) -> tuple[str, Wire]:
    common: dict[str, Any] = {"thread_id": thread_text(change.thread), "version": str(change.version)}
    at = _at(change.at)
    match change:
        case ThreadCreated(created_by=who, participants=those, properties=properties):
            return "chatThreadCreated", wire.ChatThreadCreatedPayload(
                event_id=257,
                create_time=at,
                created_by=_one(who),
                members=_several(those),
                properties=_properties(properties),
                **common,
            )
        case ThreadPropertiesUpdated(edited_by=who, properties=properties):
            return "chatThreadPropertiesUpdated", wire.ChatThreadPropertiesUpdatedPayload(
                event_id=258, edit_time=at, edited_by=_one(who), properties=_properties(properties), **common
            )
        case ThreadDeleted(deleted_by=deleter):
            return "chatThreadDeleted", wire.ChatThreadDeletedPayload(
                event_id=259,
                delete_time=at,
                reason="deletedByUser" if deleter else "deletedByPolicy",
                deleted_by=_one(deleter) if deleter else None,
                **common,
            )
        case ParticipantsAdded(added_by=who, participants=those):
            return "participantsAdded", wire.ParticipantsAddedPayload(
                event_id=260, time=at, added_by=_one(who), participants_added=_several(those), **common
            )
        case ParticipantsRemoved(removed_by=who, participants=those):
            return "participantsRemoved", wire.ParticipantsRemovedPayload(
                event_id=261, time=at, removed_by=_one(who), participants_removed=_several(those), **common
            )


def _one(who: Participant) -> str:
    return escaped(_text(_participant(who)))


def _several(those: Sequence[Participant]) -> str:
    return escaped(_text([_participant(each) for each in those]))


def _participant(who: Participant) -> wire.ChatParticipantPayload:
    since = _at(who.share_history_from)
    return wire.ChatParticipantPayload(who.raw_id, who.display_name or "", since, _text(who.metadata))


def _properties(properties: Properties) -> str:
    policy = None
    if properties.retention_days:
        after = f"{properties.retention_days}.00:00:00"
        policy = _text(wire.RetentionPolicyPayload("DeleteAfterCreationTime", after))
    shown = wire.ChatThreadPropertiesPayload(properties.topic, _text(properties.metadata), policy)
    return escaped(_text(shown))
