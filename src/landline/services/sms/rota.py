"""Whose turn it is of the senders with timers that are due, where one's campaign is not to be taken up before another's
text. The first of each is, before the second of any; who they are is looked up once for all their turns."""

from collections.abc import Sequence
from datetime import datetime
from itertools import islice

from landline.services.sms import records_deferred
from landline.services.sms.model.crowds import Crowd, Crowds, Fairly, crowd_of
from landline.services.sms.records_deferred import Claim, Waiting
from landline.store.database import Connection, Record

_OF_EACH = 2
"""Of so many of each sender is taken at a turn at least: a look at thousands of them is not to bring one each."""


class Rota:
    """One process's. Others may have taken the same senders' turns: what they have claimed is passed over."""

    def __init__(self) -> None:
        self._turns: dict[Crowd, None] = {}
        self._of_each = 1
        self._nothing: Waiting | None = None
        """What was found when nothing was due, until `next_due` has told it."""

    @property
    def goes_on(self) -> bool:
        """Whether there are senders whose turn is still to come."""
        return bool(self._turns)

    async def claim(
        self,
        connection: Connection,
        claim: Claim,
        limit: int,
        *,
        carriers: Sequence[str],
        fairly: Fairly,
    ) -> list[Record]:
        """What is due of those whose turn it is, as `records_deferred.claim_deferred`: some, if there is any."""
        self.forget()
        fresh = False
        while True:
            of_each = min(self._of_each, fairly.of_each)
            senders = self._next(max(limit // of_each, 1), carriers, fairly.without)
            if not senders:
                if fresh or not await self._begin(connection, claim.at, limit, carriers, fairly):
                    return []
                fresh = True
                continue
            if rows := await records_deferred.claim_of_each(connection, claim, of_each, senders=senders):
                return rows

    def forget(self) -> None:
        """What is due is looked for anew: what was found before says nothing of what has come since."""
        self._nothing = None

    async def next_due(
        self, connection: Connection, now: datetime, carriers: Sequence[str], without: Crowds
    ) -> datetime | None:
        """When there is something to claim, if `claim` has just found nothing."""
        nothing, self._nothing = self._nothing, None
        if nothing is None:
            nothing = await records_deferred.waiting(connection, carriers, without, now)
        return nothing.next_at

    async def _begin(
        self, connection: Connection, now: datetime, limit: int, carriers: Sequence[str], fairly: Fairly
    ) -> bool:
        found = await records_deferred.waiting(connection, carriers, fairly.without, now)
        if not found.due:
            self._nothing = found
            return False
        self._turns = dict.fromkeys([*found.due, *(each for each in self._turns if each.carrier in carriers)])
        self._of_each = max(limit // len(self._turns), _OF_EACH)
        return True

    def _next(self, count: int, carriers: Sequence[str], without: Crowds) -> list[Crowd]:
        """Those who are not to be taken up now keep their turns: a crowd is one for moments, and soon again."""
        senders = list(islice((each for each in self._turns if _wanted(each, carriers, without)), count))
        for sender in senders:
            del self._turns[sender]
        return senders


def _wanted(crowd: Crowd, carriers: Sequence[str], without: Crowds) -> bool:
    assert crowd.sender is not None
    return crowd.carrier in carriers and crowd_of(without, crowd.carrier, crowd.sender) is None
