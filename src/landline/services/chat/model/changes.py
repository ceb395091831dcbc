"""What changed in a thread, as the processes tell each other: all that a real-time frame or an event needs.

Each change names its recipients: who was in the thread when it happened, the one who did it included. Bytes on the bus
are msgpack. chat-realtime.md lists the ten.
"""

from datetime import datetime

import msgspec

from landline.core.ids import RawId
from landline.services.chat.model.ids import MessageId, ThreadId
from landline.services.chat.model.values import Attachment, Kind, Participant, Properties


class _Change(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    thread: ThreadId
    recipients: tuple[RawId, ...]
    version: int
    """Milliseconds; grows with every change of the same message or thread."""
    at: datetime
    """When it happened; to the millisecond."""


class MessageReceived(_Change, frozen=True, kw_only=True):
    """A user's message is in the thread; `at` is its createdOn."""

    message_id: MessageId
    sequence: int
    sender: RawId
    sender_display_name: str | None
    kind: Kind
    content: str
    metadata: dict[str, str]
    attachments: tuple[Attachment, ...] = ()


class MessageEdited(_Change, frozen=True, kw_only=True):
    """A message was changed by its sender; `at` is its editedOn."""

    message_id: MessageId
    sequence: int
    sender: RawId
    sender_display_name: str | None
    kind: Kind
    content: str
    metadata: dict[str, str]
    attachments: tuple[Attachment, ...] = ()
    created_at: datetime


class MessageDeleted(_Change, frozen=True, kw_only=True):
    """A message was deleted by its sender; `at` is its deletedOn."""

    message_id: MessageId
    sequence: int
    sender: RawId
    sender_display_name: str | None
    kind: Kind
    created_at: datetime


class TypingIndicatorReceived(_Change, frozen=True, kw_only=True):
    """A participant types. Not stored."""

    sender: RawId
    sender_display_name: str | None


class ReadReceiptReceived(_Change, frozen=True, kw_only=True):
    """A participant has read up to a message; `at` is readOn."""

    sender: RawId
    message_id: MessageId


class ThreadCreated(_Change, frozen=True, kw_only=True):
    """A thread was made."""

    created_by: Participant
    participants: tuple[Participant, ...]
    properties: Properties


class ThreadPropertiesUpdated(_Change, frozen=True, kw_only=True):
    """A thread's topic, metadata or retention policy was changed."""

    edited_by: Participant
    properties: Properties
    created_at: datetime


class ThreadDeleted(_Change, frozen=True, kw_only=True):
    """A thread was deleted; `deleted_by` is None when its retention policy did it."""

    deleted_by: Participant | None
    created_at: datetime


class ParticipantsAdded(_Change, frozen=True, kw_only=True):
    """Participants came; they are among the recipients."""

    added_by: Participant
    participants: tuple[Participant, ...]
    created_at: datetime
    """When the thread was made."""


class ParticipantsRemoved(_Change, frozen=True, kw_only=True):
    """Participants went; they are among the recipients."""

    removed_by: Participant
    participants: tuple[Participant, ...]
    created_at: datetime


ChatChange = (
    MessageReceived
    | MessageEdited
    | MessageDeleted
    | TypingIndicatorReceived
    | ReadReceiptReceived
    | ThreadCreated
    | ThreadPropertiesUpdated
    | ThreadDeleted
    | ParticipantsAdded
    | ParticipantsRemoved
)

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(ChatChange).decode
