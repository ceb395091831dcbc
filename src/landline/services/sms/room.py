"""How many messages are taken into memory, and of whom: what others send is not to wait behind a campaign whose carrier
or number is slow, or behind a carrier that is down (docs/design/gateway.md, "Crowds")."""

from collections.abc import Callable, Mapping, Sized
from typing import Any

from landline.services.sms.model.crowds import NO_CROWDS, Crowd, Crowds, Fairly, Sender, crowd_of, crowds, few
from landline.services.sms.model.pacing import Lanes

CROWDS, DUE, NEW = 2, 2.5, 3
"""How many limits of messages may be in memory for one to be taken there: backlog of a crowd that has hardly any there;
one that has come due, or is backlog, of no crowd; one that is new and of no crowd. So each has some room that those
before it cannot fill, and more than a thousand senders wait before the last is full (`crowds.few`)."""


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
        self._crowds = NO_CROWDS
        self._kept_out: dict[Crowd, int] = {}
        self._moved = limit
        """How many messages came and went since the crowds were looked for."""
        self._wanted = 0
        """Of fewer messages in hand `on_more` is to be told."""
        self.on_more: Callable[[], None] = _nobody
        """Called when more may be taken up, after it might not."""

    def is_there(self, limits: float = 1) -> bool:
        """Whether more messages may be taken, of those that are named by `CROWDS`, `DUE` and `NEW`; `on_more` says
        when."""
        bound = int(limits * self._limit)
        if len(self._in_hand) < bound:
            return True
        self._wanted = max(self._wanted, bound - bound // 8)
        return False

    @property
    def pressed(self) -> bool:
        """Whether so much is in memory that new messages may be of a `crowd`."""
        return len(self._in_hand) >= self._limit // 2

    @property
    def free(self) -> int:
        """How many more messages fill it."""
        return self._limit - len(self._in_hand)

    @property
    def full_of_waiting(self) -> bool:
        """Whether what waits here fills it, without what is on its way."""
        return sum(map(len, self._queues.values())) >= self._limit

    def crowd(self, carrier: str, sender: Sender, count: int) -> Crowd | None:
        """The crowd among which `count` new messages have to wait in the database, if there is one."""
        limit, in_hand, found = self._limit, len(self._in_hand), self._present()
        if in_hand < limit:
            crowd = crowd_of(found, carrier, sender)
            return crowd if crowd is not None and found[crowd] >= limit - in_hand else None
        if self._waiting(carrier, sender) + count > few(limit, in_hand):
            return Crowd(carrier, sender)
        return crowd_of(found, carrier, sender)

    def crowd_elsewhere(self, carrier: str, sender: Sender, count: int) -> Crowd | None:
        """Whether `count` messages that are committed together for a carrier that only others reach are a crowd, as
        far as this process can tell: what waits for it waits in the database, and not here."""
        return Crowd(carrier, sender) if count >= few(self._limit, 0) else None

    def allowed(self, carrier: str, sender: Sender, count: int, *, of_crowd: bool) -> int:
        """How many of `count` messages in a claimed block, be it a crowd's or of none, are taken: a few of a crowd that
        finds memory full, as its blocks may hold a hundred times that; all of its block where what fills memory does
        not wait but is on its way, and soon gone."""
        crowd, full = self.crowd(carrier, sender, count), len(self._in_hand) >= self._limit
        if crowd is None:
            return count
        if of_crowd and (crowd.sender is None or not full or not self.full_of_waiting):
            return count
        if not full or crowd.sender is None:
            return 0
        return max(few(self._limit, len(self._in_hand)) - self._waiting(carrier, sender), 0)

    def kept_out(self) -> Crowds:
        """The crowds of which no more is taken up from the database now: those that have as much of memory as is left,
        and so all when it is full."""
        self._moved = self._whole_limit
        free = self._limit - len(self._in_hand)
        self._kept_out = {crowd: size for crowd, size in self._present().items() if size >= free}
        return self._kept_out

    def fairly(self, kept_out: Crowds) -> Fairly | None:
        """How what is due is taken up while so much is in memory; None while it does not matter whose it is."""
        return Fairly(kept_out, few(self._limit, len(self._in_hand))) if self.pressed or kept_out else None

    def keys(self, kept_out: Crowds) -> list[str] | None:
        """By what blocks know the crowds that are `kept_out`; None for every crowd there is."""
        return [crowd.key for crowd in kept_out] if self.is_there(CROWDS) else None

    def left(self, crowd: Crowd) -> None:
        """Messages of `crowd` were left in the database."""
        size = self._present().get(crowd, 0)
        if size:
            self._kept_out.setdefault(crowd, size)
        elif self.is_there(CROWDS):
            self.on_more()

    def moved(self, count: int) -> None:
        """So many messages came into the queues, or went from them."""
        self._moved += count
        if self._kept_out and self._moved >= self._limit // 100:  # else those present are as they were
            present = self._present()
            if any(2 * present.get(crowd, 0) < size for crowd, size in self._kept_out.items()):
                self._kept_out = {}
                self.on_more()

    def freed(self) -> None:
        """Messages are in hand no more."""
        if self._wanted and len(self._in_hand) < self._wanted:
            self._wanted = 0
            self.on_more()

    def _waiting(self, carrier: str, sender: Sender) -> int:
        queue = self._queues.get(carrier)
        return 0 if queue is None else queue.size(sender)

    def _present(self) -> Crowds:
        """As they were some messages ago: they are not looked for each time."""
        if self._moved >= self._limit // 100:
            waiting = {carrier: queue.sizes() for carrier, queue in self._queues.items()}
            paced = {carrier: queue.paced() for carrier, queue in self._queues.items()}
            self._crowds, self._moved = crowds(waiting, self._limit, len(self._in_hand), paced), 0
        return self._crowds

    @property
    def _limit(self) -> int:
        return self._whole_limit if self._share() == 1 else self._whole_limit // 10


def _nobody() -> None:
    return None
