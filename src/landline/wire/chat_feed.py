"""JSON of the chat feed (docs/design/chat-feed.md): one object a frame, told apart by its `type`. Messages, threads and
participants are shaped as over REST."""

from landline.wire.base import Wire
from landline.wire.chat import (
    ChatMessage,
    ChatMessageReadReceipt,
    ChatParticipant,
    ChatThreadProperties,
    CommunicationIdentifierModel,
)


class Connected(Wire, tag_field="type", tag="connected"):
    """The first frame: all that comes follows after `offset`."""

    offset: int
    epoch: str


class Reset(Wire, tag_field="type", tag="reset"):
    """What was missed cannot be brought: list the threads again. All that comes follows after `offset`. `reason`:
    `epochChanged`, `offsetTooOld` or `offsetUnknown`."""

    offset: int
    epoch: str
    reason: str


class Progress(Wire, tag_field="type", tag="progress"):
    """Nothing more happened up to `offset`: resume from there."""

    offset: int


class Reconnect(Wire, tag_field="type", tag="reconnect"):
    """The server is about to stop: connect again, which may lead to another one."""


class Ended(Wire, tag_field="type", tag="ended"):
    """The last frame. `reason`: `unauthorized`, the token ended or was revoked."""

    reason: str


class MessageReceived(Wire, tag_field="type", tag="chatMessageReceived"):
    """A message. When it was changed before this was read, as it is now; without content when it is deleted by now."""

    offset: int
    thread_id: str
    message: ChatMessage


class MessageEdited(Wire, tag_field="type", tag="chatMessageEdited"):
    """A message was changed by its sender."""

    offset: int
    thread_id: str
    message: ChatMessage


class MessageDeleted(Wire, tag_field="type", tag="chatMessageDeleted"):
    """A message was deleted by its sender."""

    offset: int
    thread_id: str
    message: ChatMessage


class ThreadCreated(Wire, tag_field="type", tag="chatThreadCreated"):
    """A thread was made, with the reader in it."""

    offset: int
    thread_id: str
    thread: ChatThreadProperties
    participants: list[ChatParticipant]


class ThreadPropertiesUpdated(Wire, tag_field="type", tag="chatThreadPropertiesUpdated"):
    """A thread's topic, metadata or retention policy was changed: what they are now."""

    offset: int
    thread_id: str
    topic: str
    updated_on: str
    updated_by_communication_identifier: CommunicationIdentifierModel
    metadata: dict[str, str] | None = None


class ThreadDeleted(Wire, tag_field="type", tag="chatThreadDeleted"):
    """A thread was deleted; by nobody when its retention policy did it."""

    offset: int
    thread_id: str
    deleted_on: str
    deleted_by_communication_identifier: CommunicationIdentifierModel | None = None


class ParticipantsAdded(Wire, tag_field="type", tag="participantsAdded"):
    """Participants came. A reader who is among them lists the thread, if it wants what was there before."""

    offset: int
    thread_id: str
    added_on: str
    added_by_communication_identifier: CommunicationIdentifierModel
    participants: list[ChatParticipant]


class ParticipantsRemoved(Wire, tag_field="type", tag="participantsRemoved"):
    """Participants went. A reader who is among them is told nothing more of the thread."""

    offset: int
    thread_id: str
    removed_on: str
    removed_by_communication_identifier: CommunicationIdentifierModel
    participants: list[ChatParticipant]


class TypingIndicatorReceived(Wire, tag_field="type", tag="typingIndicatorReceived"):
    """Somebody types. Told to those who are connected, never again."""

    thread_id: str
    received_on: str
    sender_communication_identifier: CommunicationIdentifierModel
    sender_display_name: str | None = None


class ReadReceiptReceived(Wire, tag_field="type", tag="readReceiptReceived"):
    """Somebody has read up to a message. Told to those who are connected; list the receipts for the others."""

    thread_id: str
    read_receipt: ChatMessageReadReceipt


Change = (
    MessageReceived
    | MessageEdited
    | MessageDeleted
    | ThreadCreated
    | ThreadPropertiesUpdated
    | ThreadDeleted
    | ParticipantsAdded
    | ParticipantsRemoved
)
"""What is kept, and brought to who was away."""
Passing = TypingIndicatorReceived | ReadReceiptReceived
"""What is told once."""
Frame = Connected | Reset | Progress | Reconnect | Ended | Change | Passing
