"""The log of durable changes: what a row of it holds beside its place, and how a change becomes one."""

from enum import StrEnum
from typing import NamedTuple

import msgspec

from landline.services.chat.model.changes import (
    ChatChange,
    MessageDeleted,
    MessageEdited,
    MessageReceived,
    ParticipantsAdded,
    ParticipantsRemoved,
    ThreadCreated,
    ThreadDeleted,
    ThreadPropertiesUpdated,
)
from landline.services.chat.model.ids import MessageId
from landline.services.chat.model.values import Participant, Properties


class Logged(StrEnum):
    """The kinds of changes that are kept; typing and receipts are not."""

    MESSAGE_RECEIVED = "messageReceived"
    MESSAGE_EDITED = "messageEdited"
    MESSAGE_DELETED = "messageDeleted"
    THREAD_CREATED = "threadCreated"
    THREAD_UPDATED = "threadUpdated"
    THREAD_DELETED = "threadDeleted"
    PARTICIPANTS_ADDED = "participantsAdded"
    PARTICIPANTS_REMOVED = "participantsRemoved"


OF_MESSAGES = frozenset({Logged.MESSAGE_RECEIVED, Logged.MESSAGE_EDITED, Logged.MESSAGE_DELETED})


class Detail(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who did what, of changes that are not of messages."""

    who: Participant | None = None
    participants: tuple[Participant, ...] = ()
    properties: Properties | None = None


class Entry(NamedTuple):
    """What the log keeps of a change."""

    kind: Logged
    message: MessageId | None
    detail: Detail | None


detail = msgspec.json.Decoder(Detail).decode
"""A stored detail as a value."""


def entry(change: ChatChange) -> Entry | None:
    """What is kept of `change`; None when nothing is."""
    match change:
        case MessageReceived(message_id=message):
            return Entry(Logged.MESSAGE_RECEIVED, message, None)
        case MessageEdited(message_id=message):
            return Entry(Logged.MESSAGE_EDITED, message, None)
        case MessageDeleted(message_id=message):
            return Entry(Logged.MESSAGE_DELETED, message, None)
        case ThreadCreated(created_by=who, participants=those, properties=properties):
            return Entry(Logged.THREAD_CREATED, None, Detail(who, those, properties))
        case ThreadPropertiesUpdated(edited_by=who, properties=properties):
            return Entry(Logged.THREAD_UPDATED, None, Detail(who, (), properties))
        case ThreadDeleted(deleted_by=who):
            return Entry(Logged.THREAD_DELETED, None, Detail(who))
        case ParticipantsAdded(added_by=who, participants=those):
            return Entry(Logged.PARTICIPANTS_ADDED, None, Detail(who, those))
        case ParticipantsRemoved(removed_by=who, participants=those):
            return Entry(Logged.PARTICIPANTS_REMOVED, None, Detail(who, those))
        case _:
            return None
