"""What an operator does about messages already accepted: take one back, tell reports again."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from msgspec.structs import replace

from landline.core.errors import Conflict, Invalid, NotFound
from landline.core.ids import ResourceId, time_ordered
from landline.ports.clock import Clock
from landline.services.events.model import Event
from landline.services.events.service import Events
from landline.services.sms import notices, records
from landline.services.sms.model import messages
from landline.services.sms.taking_back import TakingBack
from landline.store.database import Database, Record

_AT_ONCE = 500
_ROWS_READ = 20_000
"""As a page of the search reads."""
_FIRST = datetime.fromtimestamp(0, UTC)
"""Before it ids have no time (RFC 9562 §5.7)."""


class Outgoing:
    """See the module. Messages are named by their public ids."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        events: Events,
        taking_back: TakingBack,
        *,
        rows_read: int = _ROWS_READ,
    ) -> None:
        """`rows_read`: how many messages a call of `push_all` looks at, at most."""
        self._rows_read = rows_read
        self._database = database
        self._clock = clock
        self._events = events
        self._taking_back = taking_back

    async def cancel(self, resources: Sequence[ResourceId], public_id: str) -> None:
        """Take back a message that no carrier has yet: it ends as failed (5000), and is reported so.

        Raises `NotFound`; `Conflict` when it has ended, is with a carrier or on its way to one, or stands in the queue
        of a process that does not answer.
        """
        found = await self._find(resources, public_id)
        if not await self._taking_back.cancel(found["resource_id"], [found["message_id"]]):
            raise Conflict(
                "The message has ended, a carrier may have it, or a process that does not answer has it in hand.",
                target="messageId",
            )

    async def push(self, resources: Sequence[ResourceId], public_id: str) -> None:
        """Tell the report of an ended message again, as a new event. Raises `NotFound`, `Conflict` before its end."""
        found = await self._find(resources, public_id)
        if found["state"] not in messages.FINAL:
            raise Conflict("The message has not ended: there is no report to push.", target="messageId")
        await self._emit([found])

    async def push_all(
        self, resource: ResourceId, since: datetime, until: datetime, after: str | None
    ) -> tuple[int, str | None]:
        """Tell the reports of messages accepted from `since` on and before `until` again, of those that wanted one.

        Up to 500 of them, and of a bounded piece, in which there may be none: how many, and where to go on (`after`),
        None at the end. Raises `Invalid`.
        """
        if not since < until:
            raise Invalid("since is not before until.", target="since")
        first, end = (time_ordered(max(at, _FIRST), bytes(10)) for at in (since, until))
        if after is not None:
            try:
                first = UUID(after)
            except ValueError:
                raise Invalid("after is none that an answer gave.", target="after") from None
        async with self._database.connection() as connection:
            ended, following = await records.ended_between(
                connection, resource, first, end, _AT_ONCE, rows_read=self._rows_read
            )
        await self._emit(ended)
        return len(ended), None if following is None else str(following)

    async def _find(self, resources: Sequence[ResourceId], public_id: str) -> Record:
        message_id = messages.parse_public_id(public_id)
        async with self._database.connection() as connection:
            found = await records.find(connection, resources, message_id) if message_id else None
        if found is None:
            raise NotFound("There is no message with this id.", target="messageId")
        return found

    async def _emit(self, ended: Sequence[Record]) -> None:
        now = self._clock.now()
        told = [_again(notices.ended(record), now) for record in ended]
        async with self._database.transaction() as connection:
            emitted = await self._events.emit(connection, told)
        self._events.committed(emitted)


def _again(event: Event, now: datetime) -> Event:
    """Under an id of its own, or it would be the delivery that was made before; the data says which message it is."""
    return replace(event, event_id=time_ordered(now, os.urandom(10)))
