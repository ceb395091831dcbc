"""What is dropped when it is old enough: ended messages with their tries, and received texts. Opt-outs are kept."""

from datetime import datetime, timedelta
from uuid import UUID

import structlog

from landline.core.errors import Unavailable
from landline.core.ids import time_ordered
from landline.ports.clock import Clock
from landline.services.sms.model.messages import State
from landline.services.sms.records_progress import PARKED_FOR
from landline.store.database import Database

log = structlog.get_logger()
_EVERY = timedelta(hours=1)
_AT_ONCE = 5000

# Ids begin with their time, and so their order is that of age: the oldest are found by the primary keys. Each portion
# goes on where the one before ended: the index keeps what is deleted until it is vacuumed, and would be read from its
# beginning for each.
_OLDEST = """
WITH gone AS (
    DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE resource_id = $1
        AND message_id > $2 AND message_id < $3{ended} ORDER BY message_id LIMIT $4))
    RETURNING message_id
)
SELECT count(*) AS count, (SELECT message_id FROM gone ORDER BY message_id DESC LIMIT 1) AS last FROM gone
"""
_KINDS = {
    "sms_messages": _OLDEST.format(table="sms_messages", ended=f" AND state >= {int(State.DELIVERED)}"),
    "sms_inbound": _OLDEST.format(table="sms_inbound", ended=""),
    "sms_attempts": _OLDEST.format(table="sms_attempts", ended=""),
}
# The oldest are looked at without a condition, for which PostgreSQL has one way only (docs/design/plans.md): where it
# believes a table to be empty, it would read and sort all that is old for each portion of it.
_SUBMISSIONS = (
    "DELETE FROM sms_submissions WHERE ctid = ANY(ARRAY(SELECT ctid FROM (SELECT ctid, block_id FROM sms_submissions"
    f" ORDER BY block_id LIMIT {_AT_ONCE}) AS oldest WHERE block_id < $1))"
)
_RESOURCES = (
    "WITH RECURSIVE r AS ((SELECT resource_id FROM {table} ORDER BY resource_id LIMIT 1) UNION ALL"
    " SELECT (SELECT resource_id FROM {table} WHERE resource_id > r.resource_id ORDER BY resource_id LIMIT 1)"
    " FROM r WHERE r.resource_id IS NOT NULL) SELECT resource_id FROM r WHERE resource_id IS NOT NULL"
)
"""Each resource once, by as many looks into the primary key."""
_PARKED = (
    "DELETE FROM sms_parked_receipts WHERE ctid = ANY(ARRAY(SELECT ctid FROM (SELECT ctid, parked_at"
    f" FROM sms_parked_receipts ORDER BY parked_at LIMIT {_AT_ONCE}) AS oldest WHERE parked_at < $1))"
)
"""A carrier may bring receipts of another system's messages, or of none: millions an hour."""
LONGEST_OPEN = timedelta(days=40)
"""A message may be scheduled 35 days ahead and be tried 3 days: nothing younger is dropped, whatever is set."""


class Retention:
    """Prunes once an hour. Any number of processes may do so at once: each row is dropped by one of them."""

    def __init__(self, database: Database, clock: Clock, *, keep: timedelta, at_once: int = _AT_ONCE) -> None:
        """`keep`: how long after it was accepted or received a message may still be looked at. `at_once`: messages and
        texts that one statement drops."""
        self._database = database
        self._clock = clock
        self._keep = max(keep, LONGEST_OPEN)
        self._at_once = at_once

    async def run(self) -> None:
        """Until cancelled."""
        alarm = self._clock.alarm()
        try:
            while True:
                try:
                    await self.prune(self._clock.now())
                except Unavailable as error:
                    log.warning("sms.not_pruned", reason=error.message)  # the next hour is soon enough
                await alarm.wait(self._clock.now() + _EVERY)
        finally:
            alarm.close()

    async def prune(self, now: datetime) -> int:
        """Drop what is too old at `now`; how many messages and texts went. In portions, so that nobody waits for it."""
        before = time_ordered(now - self._keep, bytes(10))
        dropped = 0
        for table in _KINDS:  # any may be all that is left
            for row in await self._database.fetch(_RESOURCES.format(table=table)):
                for sql in _KINDS.values():
                    dropped += await self._oldest(sql, row["resource_id"], before)
        await self._all(_SUBMISSIONS, before)
        await self._all(_PARKED, now - PARKED_FOR)
        return dropped

    async def _oldest(self, sql: str, resource: UUID, before: UUID) -> int:
        dropped, last = 0, UUID(int=0)
        while True:
            row = await self._database.fetchrow(sql, resource, last, before, self._at_once)
            assert row is not None
            dropped += row["count"]
            if row["count"] < self._at_once:
                return dropped
            last = row["last"]

    async def _all(self, sql: str, *arguments: object) -> int:
        dropped = 0
        while True:
            count = int((await self._database.execute(sql, *arguments)).rpartition(" ")[2])
            dropped += count
            if count < _AT_ONCE:
                return dropped
