"""JSON of the chat API (acs-wire.md 7.1): the shape of 2025-03-15, which adds metadata and retention to 2024-03-07."""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from landline.wire.base import Wire

Name = Annotated[str, Meta(max_length=256)]
Topic = Annotated[str, Meta(max_length=1024)]
Metadata = dict[Annotated[str, Meta(max_length=256)], str]
MetadataPatch = dict[Annotated[str, Meta(max_length=256)], str | None]


class CommunicationUserIdentifierModel(Wire):
    """A communication user."""

    id: str


class PhoneNumberIdentifierModel(Wire):
    """A phone number."""

    value: str


class MicrosoftTeamsUserIdentifierModel(Wire):
    """A Teams user."""

    user_id: str
    is_anonymous: bool | None = None
    cloud: str | None = None


class MicrosoftTeamsAppIdentifierModel(Wire):
    """A Teams application."""

    app_id: str
    cloud: str | None = None


class CommunicationIdentifierModel(Wire):
    """Whom somebody means: by raw id, or by one of the others."""

    kind: str | None = None
    raw_id: str | None = None
    communication_user: CommunicationUserIdentifierModel | None = None
    phone_number: PhoneNumberIdentifierModel | None = None
    microsoft_teams_user: MicrosoftTeamsUserIdentifierModel | None = None
    microsoft_teams_app: MicrosoftTeamsAppIdentifierModel | None = None


class ChatParticipant(Wire):
    """A user in a thread; without its identifier it is nobody."""

    communication_identifier: CommunicationIdentifierModel | None = None
    display_name: Name | None = None
    share_history_time: str | None = None
    metadata: Metadata | None = None


class ChatRetentionPolicy(Wire):
    """How long a thread is kept: `none`, or `threadCreationDate` with a number of days."""

    kind: str
    delete_thread_after_days: int | None = None


class CreateChatThreadRequest(Wire):
    """Body of `POST /chat/threads`."""

    topic: Topic
    participants: list[ChatParticipant] | None = None
    metadata: Metadata | None = None
    retention_policy: ChatRetentionPolicy | None = None


class UpdateChatThreadRequest(Wire):
    """Body of `PATCH /chat/threads/{id}`, a merge patch: what is absent stays as it is."""

    topic: Topic | None = None
    metadata: MetadataPatch | UnsetType | None = UNSET
    retention_policy: ChatRetentionPolicy | UnsetType | None = UNSET


class AddChatParticipantsRequest(Wire):
    """Body of `POST /chat/threads/{id}/participants/:add`."""

    participants: list[ChatParticipant]


class ChatAttachment(Wire):
    """What is said of a file that belongs to a message; the file is elsewhere."""

    id: Annotated[str, Meta(min_length=1, max_length=256)]
    attachment_type: str
    name: Name | None = None
    url: Annotated[str, Meta(max_length=2048)] | None = None
    preview_url: Annotated[str, Meta(max_length=2048)] | None = None


class SendChatMessageRequest(Wire):
    """Body of `POST /chat/threads/{id}/messages`. `attachments` is of the previews from 2024-06-05 on."""

    content: str
    sender_display_name: Name | None = None
    type: str | None = None
    metadata: Metadata | None = None
    attachments: Annotated[list[ChatAttachment], Meta(max_length=50)] | None = None


class UpdateChatMessageRequest(Wire):
    """Body of `PATCH /chat/threads/{id}/messages/{id}`, a merge patch."""

    content: str | None = None
    metadata: MetadataPatch | UnsetType | None = UNSET
    attachments: Annotated[list[ChatAttachment], Meta(max_length=50)] | UnsetType | None = UNSET


class SendReadReceiptRequest(Wire):
    """Body of `POST /chat/threads/{id}/readReceipts`."""

    chat_message_id: str


class SendTypingNotificationRequest(Wire):
    """Body of `POST /chat/threads/{id}/typing`."""

    sender_display_name: Name | None = None


class ChatError(Wire):
    """Why a participant was not added; `target` is its raw id."""

    code: str
    message: str
    target: str | None = None
    details: list["ChatError"] | None = None
    innererror: "ChatError | None" = None


class ChatThreadProperties(Wire):
    """A thread."""

    id: str
    topic: str
    created_on: str
    created_by_communication_identifier: CommunicationIdentifierModel | None = None
    deleted_on: str | None = None
    metadata: dict[str, str] | None = None
    retention_policy: ChatRetentionPolicy | None = None


class CreateChatThreadResult(Wire):
    """Answer to a creation."""

    chat_thread: ChatThreadProperties | None = None
    invalid_participants: list[ChatError] | None = None


class AddChatParticipantsResult(Wire):
    """Answer to an addition."""

    invalid_participants: list[ChatError] | None = None


class ChatThreadItem(Wire):
    """A thread in a list."""

    id: str
    topic: str
    deleted_on: str | None = None
    last_message_received_on: str | None = None


class ChatThreadsItemCollection(Wire):
    """A page of threads."""

    value: list[ChatThreadItem]
    next_link: str | None = None


class SendChatMessageResult(Wire):
    """Answer to a message: its id."""

    id: str


class ChatMessageContent(Wire):
    """What a message says; the system's messages have participants or a topic."""

    message: str | None = None
    topic: str | None = None
    participants: list[ChatParticipant] | None = None
    attachments: list[ChatAttachment] | None = None
    initiator_communication_identifier: CommunicationIdentifierModel | None = None


class ChatMessage(Wire):
    """A message."""

    id: str
    type: str
    sequence_id: str
    version: str
    created_on: str
    content: ChatMessageContent | None = None
    sender_display_name: str | None = None
    sender_communication_identifier: CommunicationIdentifierModel | None = None
    deleted_on: str | None = None
    edited_on: str | None = None
    metadata: dict[str, str] | None = None


class ChatMessagesCollection(Wire):
    """A page of messages, the newest first."""

    value: list[ChatMessage]
    next_link: str | None = None


class ChatParticipantsCollection(Wire):
    """A page of participants."""

    value: list[ChatParticipant]
    next_link: str | None = None


class ChatMessageReadReceipt(Wire):
    """How far a participant has read."""

    sender_communication_identifier: CommunicationIdentifierModel
    chat_message_id: str
    read_on: str


class ChatMessageReadReceiptsCollection(Wire):
    """A page of read receipts."""

    value: list[ChatMessageReadReceipt]
    next_link: str | None = None
