"""How many messages are taken into memory, and of whom: what others send is not to wait behind a campaign whose carrier
or number is slow, or behind a carrier that is down (docs/design/gateway.md, "Crowds")."""

from collections.abc import Callable, Mapping, Sized
from typing import Any

from landline.services.sms.model.crowds import NO_CROWDS, Crowd, Crowds, Sender, crowd_of, crowds
from landline.services.sms.model.pacing import Lanes

DUE, NEW = 2, 3
"""How many limits of messages may be in memory for one to be taken there: one that has come due, or is backlog, of no
crowd; one that is new and of no crowd. A hundred senders each are a crowd before the last is full."""


class Room:
    """For `limit` messages among those `in_hand`, which wait in the carriers' `queues`. When `share` says that several
    processes work on the same database it is a tenth of it, so that what one cannot hand over at once is there for the
    others."""

    def __init__(
        self, limit: int, share: Callable[[], int], in_hand: Sized, queues: Mapping[str, Lanes[Sender, Any]]
    ) -> None:
        self._whole_limit = limit
        self._share = share
        self._in_hand = in_hand
        self._queues = queues
        self._crowds = self._kept_out = NO_CROWDS
        self._moved = limit
        """How many messages came and went since the crowds were looked for."""
        self._wanted = False
        self.on_more: Callable[[], None] = _nobody
        """Called when more may be taken up, after it might not."""

    def is_there(self, limits: int = 1) -> bool:
        """Whether more messages may be taken, of those that are named by `DUE` and `NEW`; `on_more` says when."""
        if len(self._in_hand) < limits * self._limit:
            return True
        self._wanted = True
        return False

    @property
    def pressed(self) -> bool:
        """Whether so much is in memory that new messages may be of a `crowd`."""
        return len(self._in_hand) >= self._of_one

    def crowd(self, carrier: str, sender: Sender) -> Crowd | None:
        """The crowd among which a new message has to wait in the database, if there is one."""
        found = self._present()
        crowd = crowd_of(found, carrier, sender)
        full = len(self._in_hand) >= self._limit
        return crowd if crowd is not None and (full or found[crowd] >= self._of_one) else None

    def kept_out(self) -> Crowds:
        """The crowds of which no more is taken up from the database now: those that have their share of memory, and
        all when it is full."""
        least = 0 if len(self._in_hand) >= self._limit else self._of_one
        self._kept_out = {crowd: size for crowd, size in self._present().items() if size >= least}
        return self._kept_out

    def moved(self, count: int) -> None:
        """So many messages came into the queues, or went from them."""
        self._moved += count
        if self._kept_out and any(self._present().get(crowd, 0) < size // 2 for crowd, size in self._kept_out.items()):
            self._kept_out = NO_CROWDS
            self.on_more()

    def freed(self) -> None:
        """Messages are in hand no more."""
        if self._wanted and len(self._in_hand) < self._limit // 2:
            self._wanted = False
            self.on_more()

    def _present(self) -> Crowds:
        """As they were some messages ago: they are not looked for each time."""
        if self._moved >= self._limit // 100:
            waiting = {carrier: queue.sizes() for carrier, queue in self._queues.items()}
            self._crowds, self._moved = crowds(waiting, self._limit), 0
        return self._crowds

    @property
    def _limit(self) -> int:
        return self._whole_limit if self._share() == 1 else self._whole_limit // 10

    @property
    def _of_one(self) -> int:
        """How much of memory one crowd may have."""
        return self._limit // 2


def _nobody() -> None:
    return None
