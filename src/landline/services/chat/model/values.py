"""Threads, participants and messages as values, and the limits that ACS sets them (acs-wire.md 7.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

import msgspec

from landline.core.errors import Invalid, Refusal
from landline.core.ids import RawId, ResourceId
from landline.services.chat.model import html
from landline.services.chat.model.ids import ThreadId

LARGEST_THREAD = 250
LARGEST_BATCH = 200
LARGEST_PAGE = 200
DEFAULT_PAGE = 100
LARGEST_MESSAGE_BYTES = 28 * 1024
"""Of a message's content, metadata and attachments together, in UTF-8."""
LARGEST_METADATA_BYTES = 28 * 1024
"""Of a thread's or participant's."""
LARGEST_BATCH_METADATA_BYTES = 112 * 1024
"""Of all participants in a request: each of up to 250 is told of them all, in an event of its own."""
LIVELY = 20
"""With more participants than this a thread has no typing indicators and no read receipts."""
RETENTION_DAYS = range(30, 91)
KEPT_FOREVER = 0
"""`retention_days` of the policy `none`, told apart from no policy at all."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""The history a participant is shown begins here when nobody says otherwise."""


class Kind(StrEnum):
    """What a message is; the last three are the system's own."""

    TEXT = "text"
    HTML = "html"
    TOPIC_UPDATED = "topicUpdated"
    PARTICIPANT_ADDED = "participantAdded"
    PARTICIPANT_REMOVED = "participantRemoved"


WRITTEN = frozenset({Kind.TEXT, Kind.HTML})
"""Kinds that users write."""


class MessageTooLarge(Refusal):
    """A message is over the limit."""

    status = 413
    code = "MessageSizeExceeded"


class Participant(msgspec.Struct, frozen=True):
    """A user in a thread."""

    raw_id: RawId
    display_name: str | None = None
    share_history_from: datetime = EPOCH
    metadata: dict[str, str] = {}


class Attachment(msgspec.Struct, frozen=True):
    """What is said of a file that belongs to a message. `kind`: image or file."""

    id: str
    kind: str
    name: str | None = None
    url: str | None = None
    preview_url: str | None = None


class Properties(msgspec.Struct, frozen=True):
    """What can be changed of a thread. `retention_days`: None no policy, 0 kept for ever."""

    topic: str
    metadata: dict[str, str]
    retention_days: int | None = None


@dataclass(frozen=True, slots=True)
class Invalidated:
    """A participant that was not added, and why."""

    raw_id: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A message about to be written."""

    resource: ResourceId
    thread: ThreadId
    sender: RawId
    sender_display_name: str | None
    kind: Kind
    content: str
    metadata: dict[str, str]
    attachments: tuple[Attachment, ...] = ()


def content(kind: Kind, text: str, metadata: Mapping[str, str], attachments: Sequence[Attachment]) -> str:
    """What is stored of `text`: HTML is sanitised. Raises `MessageTooLarge`, `Invalid`."""
    _check_bytes(len(text.encode()), metadata, attachments)
    if not (text.strip() or metadata or attachments):  # the UI library sends files without a word, in metadata
        raise Invalid("A message has some content, metadata or attachments.", target="content")
    if kind is Kind.HTML and html.is_too_deep(text):
        raise Invalid(f"HTML has at most {html.DEEPEST} elements nested in one another.", target="content")
    return html.sanitised(text) if kind is Kind.HTML else text


def check_kept(kind: Kind, stored: str, metadata: Mapping[str, str], attachments: Sequence[Attachment]) -> None:
    """Raises `MessageTooLarge` when a message whose content stays `stored` gets too large. Sanitised HTML may be longer
    than what was sent, which was weighed then: only what is beside it is weighed again."""
    _check_bytes(0 if kind is Kind.HTML else len(stored.encode()), metadata, attachments)


def _check_bytes(content_bytes: int, metadata: Mapping[str, str], attachments: Sequence[Attachment]) -> None:
    size = content_bytes + metadata_bytes(metadata) + sum(_attachment_bytes(each) for each in attachments)
    if size > LARGEST_MESSAGE_BYTES:
        raise MessageTooLarge(f"A message holds at most {LARGEST_MESSAGE_BYTES} bytes, this one has {size}.")


def kind(text: str | None) -> Kind:
    """The kind of message a user may send. Raises `Invalid`."""
    if text is None:
        return Kind.TEXT
    for each in WRITTEN:
        if text.lower() == each:  # the SDKs write it in lower case, old ones with a capital
            return each
    raise Invalid("A message that is sent is of type text or html.", target="type")


def topic(text: str) -> str:
    """`text` as a topic. Raises `Invalid`."""
    if not text.strip():
        raise Invalid("A thread's topic is not empty.", target="topic")
    return text


def metadata_bytes(metadata: Mapping[str, str]) -> int:
    """The size of metadata, keys and values, in UTF-8."""
    return sum(len(key.encode()) + len(value.encode()) for key, value in metadata.items())


def checked_metadata(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """`metadata` of a thread or participant. Raises `Invalid` when it is too large."""
    if metadata and metadata_bytes(metadata) > LARGEST_METADATA_BYTES:
        raise Invalid(f"Metadata holds at most {LARGEST_METADATA_BYTES} bytes.", target="metadata")
    return dict(metadata or {})


def merged(metadata: Mapping[str, str], patch: Mapping[str, str | None] | msgspec.UnsetType | None) -> dict[str, str]:
    """`metadata` after a merge patch (RFC 7396): null takes a key away, or all of them; and so does an empty text, as
    on Azure (ChatClientsLiveTests of the .NET SDK, whose clients cannot say null)."""
    if patch is None:
        return {}
    changed: Mapping[str, str | None] = {} if patch is msgspec.UNSET else patch
    both = {**metadata, **changed}
    return {key: value for key, value in both.items() if value is not None and (value or key not in changed)}


def retention_days(policy: str, days: int | None) -> int:
    """The days of a retention policy. Raises `Invalid`."""
    if policy == "none":
        return KEPT_FOREVER
    if policy != "threadCreationDate":
        raise Invalid("A retention policy is of kind none or threadCreationDate.", target="retentionPolicy.kind")
    if days is None or days not in RETENTION_DAYS:
        raise Invalid(
            f"A thread is deleted {RETENTION_DAYS.start} to {RETENTION_DAYS.stop - 1} days after its creation.",
            target="retentionPolicy.deleteThreadAfterDays",
        )
    return days


def check_batch(count: int) -> None:
    """Raises `Invalid` when a request names too many participants."""
    if count > LARGEST_BATCH:
        raise Invalid(f"A request names at most {LARGEST_BATCH} participants.", target="participants")


def check_size(count: int) -> None:
    """Raises `Invalid` when a thread would become too large."""
    if count > LARGEST_THREAD:
        raise Invalid(f"A thread has at most {LARGEST_THREAD} participants.", target="participants")


def lively(count: int) -> bool:
    """Whether a thread of so many is told of typing and reading. Who tells a larger one is not refused, as on Azure
    (azure-sdk-for-net#31413): the official UI library would say that its user is no longer in the thread."""
    return count <= LIVELY


def attachment(name: str | None, url: str | None, preview_url: str | None, *, id_: str, type_: str) -> Attachment:
    """What a request says of a file. Raises `Invalid`."""
    if type_ not in ("image", "file"):
        raise Invalid("An attachment is of type image or file.", target="attachments.attachmentType")
    for link in (url, preview_url):
        if link is not None and not link.startswith(("https://", "http://", "/")):
            raise Invalid("An attachment's address begins with https://, http:// or /.", target="attachments.url")
    return Attachment(id_, type_, name, url, preview_url)


def _attachment_bytes(each: Attachment) -> int:
    return len(msgspec.json.encode(each))
