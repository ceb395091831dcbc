"""A change as the frame that all its readers get: encoded once, and written as the same bytes to each of them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from landline.core.ids import RawId, ResourceId
from landline.protocols.websocket.frames import text_frame
from landline.services.chat import shapes
from landline.services.chat.model.changes import ReadReceiptReceived, TypingIndicatorReceived
from landline.services.chat.model.ids import ThreadId, thread_text
from landline.services.chat.model.log import OF_MESSAGES, Detail, Logged, detail
from landline.services.chat.model.values import Participant, Properties
from landline.services.chat.notices import identifier
from landline.services.chat.records import Key
from landline.store.database import Record
from landline.wire import base, chat
from landline.wire import chat_feed as wire
from landline.wire.base import timestamp

_MESSAGES: dict[str, Any] = {
    Logged.MESSAGE_RECEIVED: wire.MessageReceived,
    Logged.MESSAGE_EDITED: wire.MessageEdited,
    Logged.MESSAGE_DELETED: wire.MessageDeleted,
}


class Frame:
    """One frame. `position` is None where a reader that comes back resumes from the one before."""

    __slots__ = ("_epoch", "_framed", "_json", "_told", "position")

    def __init__(self, body: wire.Frame, epoch: str, position: int | None = None) -> None:
        self.position = position
        self._epoch = epoch
        self._json = base.encode(body)
        self._framed: bytes | None = None
        self._told: bytes | None = None

    @property
    def size(self) -> int:
        """About how many bytes it is."""
        return len(self._json)

    @property
    def framed(self) -> bytes:
        """As a WebSocket's frame."""
        if self._framed is None:
            self._framed = text_frame(self._json)
        return self._framed

    @property
    def told(self) -> bytes:
        """As a server-sent event (HTML standard §9.2.5), its id what `Last-Event-ID` brings back."""
        if self._told is None:
            name = b"" if self.position is None else f"id: {self.position}.{self._epoch}\n".encode()
            self._told = b"%sdata: %s\n\n" % (name, self._json)
        return self._told


@dataclass(frozen=True, slots=True)
class Logline:
    """A row of the log."""

    position: int
    key: Key
    kind: str
    roster_version: int
    created_at: datetime | None
    """When its message was written; None for other changes."""
    superseded: bool
    """Whether its message was changed again."""
    row: Record

    @classmethod
    def of(cls, row: Record) -> "Logline | None":
        """`row` as a line; None when its message is no more."""
        kind = row["change"]
        written = kind in OF_MESSAGES
        if written and row["message_id"] is None:
            return None
        return cls(
            row["position"],
            (ResourceId(row["of_resource"]), ThreadId(row["of_thread"])),
            kind,
            row["roster_version"],
            row["created_at"] if written else None,
            written and row["version"] != row["change_version"],
            row,
        )

    def frame(self, epoch: str, *, blank: bool = False) -> Frame:
        """For all who may see it; `blank` without what the message says."""
        return Frame(self._body(blank), epoch, self.position)

    def _body(self, blank: bool) -> wire.Frame:
        if self.kind in _MESSAGES:
            message = shapes.shown_message(self.row)
            if blank:
                message = shapes.emptied(message, str(self.row["change_version"]))
            return _MESSAGES[self.kind](self.position, thread_text(self.key[1]), message)
        return _of_thread(self.kind, self.position, self.key[1], self.row["changed_at"], detail(self.row["detail"]))


def passing(change: TypingIndicatorReceived | ReadReceiptReceived, epoch: str) -> Frame:
    """The frame of what is told once."""
    thread, who, at = thread_text(change.thread), identifier(change.sender), timestamp(change.at)
    if isinstance(change, TypingIndicatorReceived):
        return Frame(wire.TypingIndicatorReceived(thread, at, who, change.sender_display_name), epoch)
    receipt = chat.ChatMessageReadReceipt(who, str(change.message_id), at)
    return Frame(wire.ReadReceiptReceived(thread, receipt), epoch)


def _of_thread(kind: str, position: int, thread: ThreadId, at: datetime, told: Detail) -> wire.Frame:
    text, when = thread_text(thread), timestamp(at)
    if kind == Logged.THREAD_DELETED:
        return wire.ThreadDeleted(position, text, when, identifier(told.who.raw_id) if told.who else None)
    assert told.who is not None, "somebody did it"
    who: RawId = told.who.raw_id
    if kind == Logged.THREAD_CREATED:
        properties = shapes.shown_thread(thread, at, who, _properties(told))
        return wire.ThreadCreated(position, text, properties, _shown(told.participants))
    if kind == Logged.THREAD_UPDATED:
        properties = _properties(told)
        metadata = properties.metadata or None
        return wire.ThreadPropertiesUpdated(position, text, properties.topic, when, identifier(who), metadata)
    shape = wire.ParticipantsAdded if kind == Logged.PARTICIPANTS_ADDED else wire.ParticipantsRemoved
    return shape(position, text, when, identifier(who), _shown(told.participants))


def _properties(told: Detail) -> Properties:
    assert told.properties is not None, "changes of a thread hold its properties"
    return told.properties


def _shown(those: tuple[Participant, ...]) -> list[chat.ChatParticipant]:
    return [shapes.shown_participant(each) for each in those]
