"""The one order of a thread's messages, and the versions of what changes in it."""

from datetime import datetime

from landline.services.chat.model.ids import MessageId, milliseconds


class Place:
    """Where a locked thread's messages end."""

    __slots__ = ("last_message_id", "sequence")

    def __init__(self, sequence: int, last_message_id: int) -> None:
        self.sequence = sequence
        self.last_message_id = last_message_id

    def next(self, now: datetime) -> tuple[int, MessageId]:
        """(sequence, id) of one more message that arrives at `now`: both larger than any before."""
        self.sequence += 1
        self.last_message_id = version(self.last_message_id, now)
        return self.sequence, MessageId(self.last_message_id)


def version(last: int, now: datetime) -> int:
    """The version of a change at `now`: its millisecond, or the next one after `last`."""
    return max(milliseconds(now), last + 1)
