"""The data of ACS's chat events, of a thread or of one user in it (acs-wire.md 10; specs/eventgrid/acs-events.json)."""

from landline.wire.base import Wire
from landline.wire.chat import CommunicationIdentifierModel


class AcsChatThreadParticipant(Wire):
    """A participant, in an event."""

    participant_communication_identifier: CommunicationIdentifierModel | None = None
    display_name: str | None = None
    metadata: dict[str, str] | None = None


class AcsChatMessageReceivedInThreadEventData(Wire, kw_only=True):
    """Data of `Microsoft.Communication.ChatMessageReceivedInThread`."""

    transaction_id: str
    thread_id: str
    message_id: str
    sender_communication_identifier: CommunicationIdentifierModel | None = None
    sender_display_name: str | None = None
    compose_time: str | None = None
    type: str
    version: int | None = None
    message_body: str
    metadata: dict[str, str]


class AcsChatMessageReceivedEventData(AcsChatMessageReceivedInThreadEventData, kw_only=True):
    """Data of `Microsoft.Communication.ChatMessageReceived`."""

    recipient_communication_identifier: CommunicationIdentifierModel | None = None


class AcsChatMessageEditedInThreadEventData(AcsChatMessageReceivedInThreadEventData, kw_only=True):
    """Data of `Microsoft.Communication.ChatMessageEditedInThread`."""

    edit_time: str | None = None


class AcsChatMessageEditedEventData(AcsChatMessageEditedInThreadEventData, kw_only=True):
    """Data of `Microsoft.Communication.ChatMessageEdited`."""

    recipient_communication_identifier: CommunicationIdentifierModel | None = None


class AcsChatMessageDeletedInThreadEventData(Wire, kw_only=True):
    """Data of `Microsoft.Communication.ChatMessageDeletedInThread`."""

    transaction_id: str
    thread_id: str
    message_id: str
    sender_communication_identifier: CommunicationIdentifierModel | None = None
    sender_display_name: str | None = None
    compose_time: str | None = None
    type: str
    version: int | None = None
    delete_time: str


class AcsChatMessageDeletedEventData(AcsChatMessageDeletedInThreadEventData, kw_only=True):
    """Data of `Microsoft.Communication.ChatMessageDeleted`."""

    recipient_communication_identifier: CommunicationIdentifierModel | None = None


class AcsChatTypingIndicatorReceivedInThreadEventData(AcsChatMessageReceivedInThreadEventData, kw_only=True):
    """Data of `Microsoft.Communication.ChatTypingIndicatorReceivedInThread`; its message is none."""


class AcsChatThreadCreatedEventData(Wire, kw_only=True):
    """Data of `Microsoft.Communication.ChatThreadCreated`."""

    transaction_id: str
    thread_id: str
    create_time: str
    version: int
    created_by_communication_identifier: CommunicationIdentifierModel | None = None
    properties: dict[str, str]
    metadata: dict[str, str] | None = None
    participants: list[AcsChatThreadParticipant]


class AcsChatThreadCreatedWithUserEventData(AcsChatThreadCreatedEventData, kw_only=True):
    """Data of `Microsoft.Communication.ChatThreadCreatedWithUser`."""

    recipient_communication_identifier: CommunicationIdentifierModel | None = None


class AcsChatThreadDeletedEventData(Wire, kw_only=True):
    """Data of `Microsoft.Communication.ChatThreadDeleted`."""

    transaction_id: str
    thread_id: str
    create_time: str
    version: int
    deleted_by_communication_identifier: CommunicationIdentifierModel | None = None
    delete_time: str | None = None


class AcsChatThreadWithUserDeletedEventData(AcsChatThreadDeletedEventData, kw_only=True):
    """Data of `Microsoft.Communication.ChatThreadWithUserDeleted`."""

    recipient_communication_identifier: CommunicationIdentifierModel | None = None


class AcsChatThreadPropertiesUpdatedEventData(Wire, kw_only=True):
    """Data of `Microsoft.Communication.ChatThreadPropertiesUpdated`."""

    transaction_id: str
    thread_id: str
    create_time: str
    version: int
    edited_by_communication_identifier: CommunicationIdentifierModel | None = None
    edit_time: str | None = None
    properties: dict[str, str]
    metadata: dict[str, str]


class AcsChatThreadPropertiesUpdatedPerUserEventData(AcsChatThreadPropertiesUpdatedEventData, kw_only=True):
    """Data of `Microsoft.Communication.ChatThreadPropertiesUpdatedPerUser`."""

    recipient_communication_identifier: CommunicationIdentifierModel | None = None


class AcsChatParticipantAddedToThreadEventData(Wire, kw_only=True):
    """Data of `Microsoft.Communication.ChatThreadParticipantAdded`."""

    transaction_id: str
    thread_id: str
    time: str | None = None
    added_by_communication_identifier: CommunicationIdentifierModel | None = None
    participant_added: AcsChatThreadParticipant | None = None
    version: int | None = None


class AcsChatParticipantAddedToThreadWithUserEventData(Wire, kw_only=True):
    """Data of `Microsoft.Communication.ChatParticipantAddedToThreadWithUser`."""

    recipient_communication_identifier: CommunicationIdentifierModel | None = None
    transaction_id: str
    thread_id: str
    create_time: str
    version: int
    time: str | None = None
    added_by_communication_identifier: CommunicationIdentifierModel | None = None
    participant_added: AcsChatThreadParticipant | None = None


class AcsChatParticipantRemovedFromThreadEventData(Wire, kw_only=True):
    """Data of `Microsoft.Communication.ChatThreadParticipantRemoved`."""

    transaction_id: str
    thread_id: str
    time: str | None = None
    removed_by_communication_identifier: CommunicationIdentifierModel | None = None
    participant_removed: AcsChatThreadParticipant | None = None
    version: int | None = None


class AcsChatParticipantRemovedFromThreadWithUserEventData(Wire, kw_only=True):
    """Data of `Microsoft.Communication.ChatParticipantRemovedFromThreadWithUser`."""

    recipient_communication_identifier: CommunicationIdentifierModel | None = None
    transaction_id: str
    thread_id: str
    create_time: str
    version: int
    time: str | None = None
    removed_by_communication_identifier: CommunicationIdentifierModel | None = None
    participant_removed: AcsChatThreadParticipant | None = None
