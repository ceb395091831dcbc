"""The events chat tells the world of: each change once for its thread, and once for every user in it but the one who
made it (acs-wire.md 10).

`ChatAzureBotCommandReceivedInThread` is never sent: no bot can be in a thread here.
"""

from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from landline.core.ids import RawId, ResourceId
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
from landline.services.chat.model.ids import thread_text
from landline.services.chat.model.values import Kind, Participant, Properties
from landline.services.events.model import Event
from landline.wire import base
from landline.wire import chat_events as wire
from landline.wire.base import Wire
from landline.wire.chat import CommunicationIdentifierModel, CommunicationUserIdentifierModel

_PREFIX = "Microsoft.Communication."
# Of each change: the event of its thread, the event of each user in it.
_TYPES: dict[type, tuple[str, str | None]] = {
    MessageReceived: ("ChatMessageReceivedInThread", "ChatMessageReceived"),
    MessageEdited: ("ChatMessageEditedInThread", "ChatMessageEdited"),
    MessageDeleted: ("ChatMessageDeletedInThread", "ChatMessageDeleted"),
    TypingIndicatorReceived: ("ChatTypingIndicatorReceivedInThread", None),
    ThreadCreated: ("ChatThreadCreated", "ChatThreadCreatedWithUser"),
    ThreadPropertiesUpdated: ("ChatThreadPropertiesUpdated", "ChatThreadPropertiesUpdatedPerUser"),
    ThreadDeleted: ("ChatThreadDeleted", "ChatThreadWithUserDeleted"),
    ParticipantsAdded: ("ChatThreadParticipantAdded", "ChatParticipantAddedToThreadWithUser"),
    ParticipantsRemoved: ("ChatThreadParticipantRemoved", "ChatParticipantRemovedFromThreadWithUser"),
}
TYPES = frozenset(_PREFIX + name for names in _TYPES.values() for name in names if name)
"""All types that are sent."""
MESSAGE_TYPES = {Kind.TEXT: "Text", Kind.HTML: "RichText/Html"}
"""What a message's kind is called in events and real-time frames."""

Data = Callable[[RawId | None], Wire]
"""Makes the data for a recipient; for None the thread's."""


def types_of(change: ChatChange) -> tuple[str, ...]:
    """The types of the events that `change` may have."""
    return tuple(_PREFIX + name for name in _TYPES.get(type(change), ()) if name)


def events(
    resource: ResourceId, change: ChatChange, wanted: Collection[str], new_id: Callable[[], UUID]
) -> Iterator[Event]:
    """The events of `change` that are among the `wanted` types, each with an id of its own."""
    if isinstance(change, ReadReceiptReceived):
        return
    transaction = str(new_id())
    in_thread, per_user = _TYPES[type(change)]
    initiator = _initiator(change)
    for what, who, data in _parts(change, transaction):
        subject = f"thread/{thread_text(change.thread)}/{what}/{who}"
        if _PREFIX + in_thread in wanted:
            yield _event(resource, in_thread, subject, data(None), change.at, new_id())
        if per_user is not None and _PREFIX + per_user in wanted:
            for recipient in change.recipients:
                if recipient != initiator:
                    told = f"{subject}/recipient/{recipient}"
                    yield _event(resource, per_user, told, data(recipient), change.at, new_id())


def identifier(raw_id: str) -> CommunicationIdentifierModel:
    """A communication user as the wire has one."""
    return CommunicationIdentifierModel(raw_id=raw_id, communication_user=CommunicationUserIdentifierModel(raw_id))


def _event(resource: ResourceId, name: str, subject: str, data: Wire, at: datetime, event_id: UUID) -> Event:
    return Event(event_id, resource, _PREFIX + name, subject, base.encode(data), at, None)


def _initiator(change: ChatChange) -> RawId | None:
    match change:
        case ThreadCreated(created_by=who) | ThreadPropertiesUpdated(edited_by=who):
            return who.raw_id
        case ParticipantsAdded(added_by=who) | ParticipantsRemoved(removed_by=who):
            return who.raw_id
        case ThreadDeleted(deleted_by=who):
            return who.raw_id if who else None
        case _:
            return change.sender


def _parts(change: ChatChange, transaction: str) -> Iterator[tuple[str, str, Data]]:
    """What the events of `change` are about: the word and the raw id of their subject, and their data. One, but for
    participants, of whom each has events of its own."""
    match change:
        case MessageReceived() | MessageEdited() | MessageDeleted() | TypingIndicatorReceived():
            yield "sender", change.sender, lambda recipient: _message(change, transaction, recipient)
        case ThreadCreated(created_by=who):
            everyone = [_participant(each) for each in change.participants]
            yield "createdBy", who.raw_id, lambda recipient: _created(change, everyone, transaction, recipient)
        case ThreadPropertiesUpdated(edited_by=who):
            yield "editedBy", who.raw_id, lambda recipient: _updated(change, transaction, recipient)
        case ThreadDeleted(deleted_by=who):
            yield "deletedBy", who.raw_id if who else "", lambda recipient: _deleted(change, transaction, recipient)
        case ParticipantsAdded(participants=those):
            for each in those:
                yield (
                    "participantAdded",
                    each.raw_id,
                    lambda recipient, each=each: _added(change, each, transaction, recipient),
                )
        case ParticipantsRemoved(participants=those):
            for each in those:
                yield (
                    "participantRemoved",
                    each.raw_id,
                    lambda recipient, each=each: _removed(change, each, transaction, recipient),
                )
        case ReadReceiptReceived():
            return


def _told(recipient: RawId | None) -> dict[str, Any]:
    return {} if recipient is None else {"recipient_communication_identifier": identifier(recipient)}


def _message(
    change: MessageReceived | MessageEdited | MessageDeleted | TypingIndicatorReceived,
    transaction: str,
    recipient: RawId | None,
) -> Wire:
    written = change.at if isinstance(change, MessageReceived | TypingIndicatorReceived) else change.created_at
    common: dict[str, Any] = {
        "transaction_id": transaction,
        "thread_id": thread_text(change.thread),
        "message_id": str(change.version if isinstance(change, TypingIndicatorReceived) else change.message_id),
        "sender_communication_identifier": identifier(change.sender),
        "sender_display_name": change.sender_display_name,
        "compose_time": base.timestamp(written),
        "version": change.version,
        **_told(recipient),
    }
    if isinstance(change, TypingIndicatorReceived):
        return wire.AcsChatTypingIndicatorReceivedInThreadEventData(
            type="Control/Typing", message_body="", metadata={}, **common
        )
    common["type"] = MESSAGE_TYPES[change.kind]
    at = base.timestamp(change.at)
    if isinstance(change, MessageDeleted):
        if recipient is None:
            return wire.AcsChatMessageDeletedInThreadEventData(delete_time=at, **common)
        return wire.AcsChatMessageDeletedEventData(delete_time=at, **common)
    common |= {"message_body": change.content, "metadata": change.metadata}
    if isinstance(change, MessageEdited):
        if recipient is None:
            return wire.AcsChatMessageEditedInThreadEventData(edit_time=at, **common)
        return wire.AcsChatMessageEditedEventData(edit_time=at, **common)
    if recipient is None:
        return wire.AcsChatMessageReceivedInThreadEventData(**common)
    return wire.AcsChatMessageReceivedEventData(**common)


def _created(
    change: ThreadCreated, participants: list[wire.AcsChatThreadParticipant], transaction: str, recipient: RawId | None
) -> Wire:
    shape = wire.AcsChatThreadCreatedEventData if recipient is None else wire.AcsChatThreadCreatedWithUserEventData
    return shape(
        transaction_id=transaction,
        thread_id=thread_text(change.thread),
        create_time=base.timestamp(change.at),
        version=change.version,
        created_by_communication_identifier=identifier(change.created_by.raw_id),
        properties=_properties(change.properties),
        metadata=change.properties.metadata,
        participants=participants,
        **_told(recipient),
    )


def _updated(change: ThreadPropertiesUpdated, transaction: str, recipient: RawId | None) -> Wire:
    shape = (
        wire.AcsChatThreadPropertiesUpdatedEventData
        if recipient is None
        else wire.AcsChatThreadPropertiesUpdatedPerUserEventData
    )
    return shape(
        transaction_id=transaction,
        thread_id=thread_text(change.thread),
        create_time=base.timestamp(change.created_at),
        version=change.version,
        edited_by_communication_identifier=identifier(change.edited_by.raw_id),
        edit_time=base.timestamp(change.at),
        properties=_properties(change.properties),
        metadata=change.properties.metadata,
        **_told(recipient),
    )


def _deleted(change: ThreadDeleted, transaction: str, recipient: RawId | None) -> Wire:
    shape = wire.AcsChatThreadDeletedEventData if recipient is None else wire.AcsChatThreadWithUserDeletedEventData
    return shape(
        transaction_id=transaction,
        thread_id=thread_text(change.thread),
        create_time=base.timestamp(change.created_at),
        version=change.version,
        deleted_by_communication_identifier=identifier(change.deleted_by.raw_id) if change.deleted_by else None,
        delete_time=base.timestamp(change.at),
        **_told(recipient),
    )


def _added(change: ParticipantsAdded, who: Participant, transaction: str, recipient: RawId | None) -> Wire:
    common: dict[str, Any] = {
        "transaction_id": transaction,
        "thread_id": thread_text(change.thread),
        "time": base.timestamp(change.at),
        "added_by_communication_identifier": identifier(change.added_by.raw_id),
        "participant_added": _participant(who),
        "version": change.version,
    }
    if recipient is None:
        return wire.AcsChatParticipantAddedToThreadEventData(**common)
    return wire.AcsChatParticipantAddedToThreadWithUserEventData(
        create_time=base.timestamp(change.created_at), **common, **_told(recipient)
    )


def _removed(change: ParticipantsRemoved, who: Participant, transaction: str, recipient: RawId | None) -> Wire:
    common: dict[str, Any] = {
        "transaction_id": transaction,
        "thread_id": thread_text(change.thread),
        "time": base.timestamp(change.at),
        "removed_by_communication_identifier": identifier(change.removed_by.raw_id),
        "participant_removed": _participant(who),
        "version": change.version,
    }
    if recipient is None:
        return wire.AcsChatParticipantRemovedFromThreadEventData(**common)
    return wire.AcsChatParticipantRemovedFromThreadWithUserEventData(
        create_time=base.timestamp(change.created_at), **common, **_told(recipient)
    )


def _properties(properties: Properties) -> dict[str, str]:
    return {"topic": properties.topic}


def _participant(who: Participant) -> wire.AcsChatThreadParticipant:
    return wire.AcsChatThreadParticipant(identifier(who.raw_id), who.display_name, who.metadata or None)
