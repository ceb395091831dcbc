"""Erasing what is stored of one phone's number, or of a short code or name that texted: its texts either way and the
events about them. Counts of the insights name no phone and stay, and so do opt-outs, which must be obeyed.

A call looks at a bounded piece of a table in which no index finds a phone, so that nobody waits for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from landline.core import phone
from landline.core.errors import Invalid
from landline.core.ids import ResourceId, time_ordered
from landline.edge import queries
from landline.ports.clock import Clock
from landline.services.events.service import Events
from landline.services.sms import records_erasing, records_search
from landline.services.sms.model import messages
from landline.services.sms.model.messages import State
from landline.services.sms.records_search import Sought
from landline.services.sms.taking_back import TakingBack
from landline.store.database import Database, Record

_ROWS_READ = 20_000
"""As a page of the search reads."""
_AT_ONCE = 500
BEING_TOLD = timedelta(minutes=2)
"""What ended or came less long ago may be on its way to a webhook, and would be stored once more if that fails."""
_LONGEST = 65
"""Characters of an address: a data_sm has 64 (SMPP 3.4 §4.7.1), and it may get a `+`."""
_FIRST = time_ordered(datetime.fromtimestamp(0, UTC), bytes(10))


class _Place(msgspec.Struct, frozen=True, array_like=True):
    """Where the next call goes on: at messages whose ids are less than `end`."""

    resource: str
    number: str
    incoming: bool
    end: UUID


@dataclass(frozen=True, slots=True)
class Left:
    """A message that could not be erased yet, by its public id."""

    message_id: str
    state: str


@dataclass(frozen=True, slots=True)
class Erased:
    """How many of what were erased, what is left, and the token that goes on, None at the end."""

    outgoing: int
    incoming: int
    events: int
    waiting: int
    """Texts and receipts that waited for SMPP accounts."""
    left: Sequence[Left]
    after: str | None


_PLACES = msgspec.json.Decoder(_Place)


class Erasing:
    """See the module."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        events: Events,
        taking_back: TakingBack,
        *,
        rows_read: int = _ROWS_READ,
    ) -> None:
        """`rows_read`: how many rows a call looks at, at most."""
        self._database = database
        self._clock = clock
        self._events = events
        self._taking_back = taking_back
        self._rows_read = rows_read

    async def erase(self, resource: ResourceId, number: str, after: str | None) -> Erased:
        """Erase what a piece of the tables has of `number`; texts to it that no carrier has are taken back, and erased
        by a later call, once they are told of. It may be repeated. Raises `Invalid`."""
        if not 0 < len(number) <= _LONGEST:
            wanted = "a phone number in E.164 format, such as +14255550199, or the sender of a text as it is stored"
            raise Invalid(f"Must be {wanted}.", target="number")
        only_texted = phone.parse(number) is None  # nothing is ever sent to what is no phone number
        begin = self._begin(resource, number, incoming=only_texted)
        place = begin if after is None else _continued(resource, number, after)
        find = records_search.incoming if place.incoming else records_search.outgoing
        sought = Sought(sender=number) if place.incoming else Sought(recipient=number)
        async with self._database.connection() as connection:
            found = await find(connection, resource, sought, _FIRST, place.end, self._rows_read, _AT_ONCE)
        if len(found.rows) == _AT_ONCE:
            following = msgspec.structs.replace(place, end=found.rows[-1]["message_id"])
        elif found.read == self._rows_read and found.last is not None:
            following = msgspec.structs.replace(place, end=found.last)
        else:
            following = None if place.incoming else self._begin(resource, number, incoming=True)
        erase = self._incoming if place.incoming else self._outgoing
        return await erase(resource, number, found.rows, None if following is None else queries.token(following))

    def _begin(self, resource: ResourceId, number: str, *, incoming: bool = False) -> _Place:
        end = time_ordered(self._clock.now() + timedelta(milliseconds=1), bytes(10))
        return _Place(str(resource), number, incoming, end)

    async def _outgoing(self, resource: ResourceId, _number: str, rows: Sequence[Record], after: str | None) -> Erased:
        ids = [row["message_id"] for row in rows]
        open_ = [row["message_id"] for row in rows if row["state"] not in messages.FINAL]
        if open_:
            await self._taking_back.cancel(resource, open_)
        async with self._database.transaction() as connection:
            erased = await records_erasing.outgoing(connection, resource, ids, self._told_before())
            events = await self._events.erase(connection, resource, erased)
            there = {row["message_id"]: row["state"] for row in await records_erasing.left(connection, resource, ids)}
        left = [_left(row, there[row["message_id"]]) for row in rows if row["message_id"] in there]
        return Erased(len(erased), 0, events, 0, left, after)

    async def _incoming(self, resource: ResourceId, number: str, rows: Sequence[Record], after: str | None) -> Erased:
        ids = [row["message_id"] for row in rows]
        async with self._database.transaction() as connection:
            erased = await records_erasing.incoming(connection, resource, ids, self._told_before())
            events = await self._events.erase(connection, resource, erased)
            waiting = 0 if after is not None else await records_erasing.rest(connection, resource, number)
        left = [
            Left(messages.incoming_id(row["message_id"], row["received_at"]), "received")
            for row in rows
            if row["message_id"] not in set(erased)
        ]
        return Erased(0, len(erased), events, waiting, left, after)

    def _told_before(self) -> datetime:
        return self._clock.now() - BEING_TOLD


def _continued(resource: ResourceId, number: str, after: str) -> _Place:
    found = queries.place(_PLACES, after)
    if found is None or (found.resource, found.number) != (str(resource), number):
        raise Invalid("after is not a value that an answer for this number gave.", target="after")
    return found


def _left(found: Record, state: int) -> Left:
    """`found` as the search has it, which knows more of the state of a message that has not ended."""
    shown = State(state if state in messages.FINAL else found["state"])
    return Left(messages.outgoing_id(found["message_id"], found["accepted_at"]), shown.name.lower())
