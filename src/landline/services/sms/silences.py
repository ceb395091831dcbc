"""Messages that this process handed over and that were not answered in time, remembered in case they are after all."""

from collections import OrderedDict
from uuid import UUID

from msgspec import Struct

from landline.services.sms.handover import Pending


class Silence(Struct, frozen=True):
    """A hand-over that was given up. `doubt`: how many such the message had had then, this one included."""

    resource: UUID
    block: UUID
    doubt: int


class Silences:
    """By carrier and message, the oldest forgotten first: a late answer comes to the process that handed over, soon or
    not at all."""

    def __init__(self, limit: int = 20_000) -> None:
        self._limit = limit
        self._of: OrderedDict[tuple[str, UUID], Silence] = OrderedDict()

    def keep(self, carrier: str, message: Pending) -> None:
        """`message` was not answered by `carrier`."""
        doubt = message.doubt - message.marked + 1
        self._of[carrier, message.submission.key] = Silence(message.resource, message.block, doubt)
        if len(self._of) > self._limit:
            self._of.popitem(last=False)

    def of(self, carrier: str, key: UUID) -> Silence | None:
        """The latest silence of `carrier` about that message."""
        return self._of.get((carrier, key))
