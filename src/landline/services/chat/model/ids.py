"""The ids of threads and messages: `19:<32 hex>@thread.v2`, and the milliseconds a message arrived in."""

import re
from datetime import UTC, datetime, timedelta
from typing import NewType
from uuid import UUID

from landline.core.errors import Invalid, NotFound
from landline.core.ids import RawId, ResourceId, split_user_raw_id, user_raw_id

ThreadId = NewType("ThreadId", UUID)
MessageId = NewType("MessageId", int)

_THREAD = re.compile(r"19:([0-9a-f]{32})@thread\.v2")
_MESSAGE = re.compile(r"[0-9]{1,18}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def thread_text(thread: ThreadId) -> str:
    """A thread's id as the wire has it."""
    return f"19:{thread.hex}@thread.v2"


def parse_thread(text: str) -> ThreadId:
    """The thread that `text` names. Raises `Invalid`."""
    found = _THREAD.fullmatch(text)
    if found is None:
        raise Invalid("This is not the id of a chat thread.", target="chatThreadId")
    return ThreadId(UUID(found.group(1)))


def parse_message(text: str) -> MessageId:
    """The message that `text` names. Raises `NotFound` when no message has such an id."""
    if _MESSAGE.fullmatch(text) is None:
        raise NotFound("There is no such message in the thread.", target="chatMessageId")
    return MessageId(int(text))


def milliseconds(at: datetime) -> int:
    """`at` in whole milliseconds since 1970."""
    return (at - _EPOCH) // timedelta(milliseconds=1)


def to_milliseconds(at: datetime) -> datetime:
    """`at` without what is finer than a millisecond, which is as fine as JavaScript's dates are."""
    return _EPOCH + timedelta(milliseconds=milliseconds(at))


def own_user(raw_id: str, resource: ResourceId) -> RawId | None:
    """`raw_id` as this resource writes it when it names one of its users, else None."""
    ids = split_user_raw_id(raw_id)
    return user_raw_id(*ids) if ids is not None and ids[0] == resource else None
