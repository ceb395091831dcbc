"""Shapes of chat's real-time notifications, and of what comes before them (chat-realtime.md A).

Fields marked as text hold JSON; of threads and participants it is escaped as JavaScript's `escape()` does.
"""

from landline.wire.base import Wire


class RealTimeNotificationConfig(Wire):
    """Where real-time clients go."""

    trouter_service_url: str
    registrar_service_url: str
    cloud_type: str


class ConnectParams(Wire):
    """Echoed in the query of everything that follows; safe in a URL as they are."""

    sr: str
    issuer: str
    sp: str
    st: str
    se: str
    sig: str


class Allocation(Wire):
    """A client's address and where its socket is opened."""

    socketio: str
    url: str
    surl: str
    curlb: str
    ccid: str
    id: str
    ttl: str
    connectparams: ConnectParams


class MessageAttachment(Wire):
    """In `MessageReceivedPayload.attachments`."""

    id: str
    attachment_type: str
    name: str | None = None
    url: str | None = None
    preview_url: str | None = None


class MessageReceivedPayload(Wire):
    """200."""

    event_id: int
    recipient_mri: str
    sender_id: str
    group_id: str
    message_id: str
    client_message_id: str
    sender_display_name: str
    message_type: str
    message_body: str
    version: str
    original_arrival_time: str
    acs_chat_message_metadata: str
    attachments: str | None = None


class MessageEditedPayload(MessageReceivedPayload, kw_only=True):
    """247."""

    edittime: str


class MessageDeletedPayload(Wire):
    """248."""

    event_id: int
    recipient_mri: str
    sender_id: str
    group_id: str
    message_id: str
    client_message_id: str
    sender_display_name: str
    message_type: str
    version: str
    original_arrival_time: str
    deletetime: str


class TypingIndicatorReceivedPayload(Wire):
    """245."""

    event_id: int
    recipient_mri: str
    sender_id: str
    group_id: str
    sender_display_name: str
    version: str
    original_arrival_time: str


class ReadReceiptReceivedPayload(Wire):
    """246. `message_body`: a `ReadReceiptMessageBody` as text."""

    event_id: int
    recipient_mri: str
    sender_id: str
    group_id: str
    message_id: str
    client_message_id: str
    message_body: str


class ReadReceiptMessageBody(Wire, rename=None):
    """`consumptionhorizon`: message id; milliseconds of reading; a client's own id."""

    user: str
    consumptionhorizon: str
    messageVisibilityTime: int
    version: str


class ChatParticipantPayload(Wire):
    """A participant of a thread."""

    participant_id: str
    display_name: str
    share_history_time: str
    member_meta_data: str


class ChatThreadPropertiesPayload(Wire):
    """What a thread is about. Metadata and policy as text."""

    topic: str
    acs_chat_thread_metadata: str
    retention_policy: str | None = None


class RetentionPolicyPayload(Wire):
    """`execute_after`: `days.hh:mm:ss`."""

    retention_policy_type: str
    execute_after: str


class ChatThreadCreatedPayload(Wire):
    """257."""

    event_id: int
    thread_id: str
    version: str
    create_time: str
    created_by: str
    members: str
    properties: str


class ChatThreadPropertiesUpdatedPayload(Wire):
    """258."""

    event_id: int
    thread_id: str
    version: str
    edit_time: str
    edited_by: str
    properties: str


class ChatThreadDeletedPayload(Wire):
    """259. `deleted_by` is left out when the retention policy did it."""

    event_id: int
    thread_id: str
    version: str
    delete_time: str
    reason: str
    deleted_by: str | None = None


class ParticipantsAddedPayload(Wire):
    """260."""

    event_id: int
    thread_id: str
    version: str
    time: str
    added_by: str
    participants_added: str


class ParticipantsRemovedPayload(Wire):
    """261."""

    event_id: int
    thread_id: str
    version: str
    time: str
    removed_by: str
    participants_removed: str
