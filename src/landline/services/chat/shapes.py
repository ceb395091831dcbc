"""Chat's values as the wire has them, and back."""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from landline.core.errors import Invalid
from landline.core.ids import RawId
from landline.services.chat.messages import attachments
from landline.services.chat.model import values
from landline.services.chat.model.ids import ThreadId, thread_text, to_milliseconds
from landline.services.chat.model.values import Attachment, Invalidated, Kind, Participant, Properties
from landline.services.chat.notices import identifier
from landline.services.chat.records import metadata
from landline.store.database import Record
from landline.wire import chat
from landline.wire.base import timestamp

_PARTICIPANTS = msgspec.json.Decoder(list[Participant])


def instant(text: str, target: str) -> datetime:
    """An ISO 8601 instant; without an offset it is UTC. Raises `Invalid`."""
    try:
        # A plus sign that came undecoded in a query reads as a space.
        at = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid("This is not an instant such as 2026-11-21T12:00:00Z.", target=target) from None


def raw_id(model: chat.CommunicationIdentifierModel | None) -> RawId:
    """The raw id of whom `model` means. Raises `Invalid` when it is nobody."""
    model = model or chat.CommunicationIdentifierModel()
    user = model.communication_user
    if model.raw_id and user is not None and user.id != model.raw_id:
        raise Invalid("The raw id and the user of an identifier differ.", target="communicationIdentifier")
    found = model.raw_id or (user.id if user else None) or (model.phone_number and f"4:{model.phone_number.value}")
    if not found or len(found) > 256:
        raise Invalid("An identifier has a rawId or a communicationUser.", target="communicationIdentifier")
    return RawId(found)


def participants(models: Sequence[chat.ChatParticipant]) -> list[Participant]:
    """Participants to add. Raises `Invalid`."""
    found = [_participant(model) for model in models]
    if sum(values.metadata_bytes(who.metadata) for who in found) > values.LARGEST_BATCH_METADATA_BYTES:
        message = (
            f"The metadata of all participants in a request is at most {values.LARGEST_BATCH_METADATA_BYTES} bytes."
        )
        raise Invalid(message, target="participants")
    return found


def _participant(model: chat.ChatParticipant) -> Participant:
    shared = model.share_history_time
    return Participant(
        raw_id(model.communication_identifier),
        model.display_name,
        to_milliseconds(instant(shared, "shareHistoryTime")) if shared is not None else values.EPOCH,
        values.checked_metadata(model.metadata),
    )


def retention_days(policy: chat.ChatRetentionPolicy | None) -> int | None:
    """The days of a policy. Raises `Invalid`."""
    return values.retention_days(policy.kind, policy.delete_thread_after_days) if policy else None


def files(models: list[chat.ChatAttachment] | None) -> tuple[Attachment, ...]:
    """Attachments of a request. Raises `Invalid`."""
    return tuple(
        values.attachment(each.name, each.url, each.preview_url, id_=each.id, type_=each.attachment_type)
        for each in models or ()
    )


def shown_participant(who: Participant) -> chat.ChatParticipant:
    return chat.ChatParticipant(
        identifier(who.raw_id), who.display_name, timestamp(who.share_history_from), who.metadata or None
    )


def shown_invalid(invalid: Invalidated) -> chat.ChatError:
    return chat.ChatError(invalid.code, invalid.message, invalid.raw_id)


def shown_thread(
    thread: ThreadId, created_at: datetime, created_by: str, properties: Properties
) -> chat.ChatThreadProperties:
    return chat.ChatThreadProperties(
        thread_text(thread),
        properties.topic,
        timestamp(created_at),
        identifier(created_by),
        metadata=properties.metadata or None,
        retention_policy=_policy(properties.retention_days),
    )


def _policy(days: int | None) -> chat.ChatRetentionPolicy:
    """A thread that was given none has the policy `none` (ChatClientsLiveTests of the .NET SDK)."""
    return chat.ChatRetentionPolicy("threadCreationDate", days) if days else chat.ChatRetentionPolicy("none")


def shown_item(row: Record) -> chat.ChatThreadItem:
    return chat.ChatThreadItem(
        thread_text(row["thread_id"]),
        row["topic"],
        last_message_received_on=timestamp(row["last_message_at"]),
    )


def shown_message(row: Record) -> chat.ChatMessage:
    """A row of `chat_messages`; a deleted one says nothing (Azure's recorded answers), one of the system's has no
    sender."""
    kind, deleted_at, edited_at = Kind(row["kind"]), row["deleted_at"], row["edited_at"]
    written = kind in values.WRITTEN
    return chat.ChatMessage(
        str(row["message_id"]),
        kind,
        str(row["sequence"]),
        str(row["version"]),
        timestamp(row["created_at"]),
        chat.ChatMessageContent("") if deleted_at else _content(kind, row),
        row["sender_display_name"],
        identifier(row["sender"]) if written else None,
        timestamp(deleted_at) if deleted_at else None,
        timestamp(edited_at) if edited_at else None,
        metadata(row["metadata"]) or None,
    )


def seen_message(row: Record) -> chat.ChatMessage:
    """A message as its reader may see it: one that was `edited_later` without what it says now."""
    message = shown_message(row)
    return emptied(message, str(row["message_id"])) if row["edited_later"] else message


def emptied(message: chat.ChatMessage, version: str) -> chat.ChatMessage:
    """`message` as far as it is known to those who may not know what it says now."""
    return chat.ChatMessage(
        message.id,
        message.type,
        message.sequence_id,
        version,
        message.created_on,
        sender_communication_identifier=message.sender_communication_identifier,
    )


def _content(kind: Kind, row: Record) -> chat.ChatMessageContent:
    if kind in values.WRITTEN:
        models = [
            chat.ChatAttachment(each.id, each.kind, each.name, each.url, each.preview_url)
            for each in attachments(row["attachments"])
        ]
        return chat.ChatMessageContent(row["content"], attachments=models or None)
    initiator = identifier(row["sender"])
    if kind is Kind.TOPIC_UPDATED:
        return chat.ChatMessageContent(topic=row["content"], initiator_communication_identifier=initiator)
    those = [shown_participant(who) for who in _PARTICIPANTS.decode(row["participants"])]
    return chat.ChatMessageContent(participants=those, initiator_communication_identifier=initiator)


def shown_receipt(row: Record) -> chat.ChatMessageReadReceipt:
    return chat.ChatMessageReadReceipt(
        identifier(row["raw_id"]), str(row["read_message_id"]), timestamp(row["read_at"])
    )
