"""What tries came to, written in batches: whatever ends while one batch is written goes into the next.

It also keeps count of the blocks this process holds: a block is closed in the transaction that writes the last of it.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from landline.core.errors import Unavailable
from landline.ports.clock import Alarm
from landline.services.events import records
from landline.services.events.model import Again, Delivery
from landline.services.events.records import Result
from landline.services.events.service import Events
from landline.store.database import Duplicate
from landline.store.parts import execute

log = structlog.get_logger()
_BATCH = 1000
_GATHER_S = 0.01
"""How long what ends is gathered: a statement for a few costs as much as one for a hundred. After a crash so much more
is delivered again."""
_AWAY = timedelta(seconds=1)
"""How long to leave a database alone that was away."""


class Results:
    """The results not yet written, and the blocks not yet done. `scheduled` is told when a row comes due again."""

    def __init__(self, events: Events, scheduled: Callable[[datetime], None]) -> None:
        self._events = events
        self._scheduled = scheduled
        self._pending: list[Result] = []
        self._left: Counter[UUID] = Counter()
        self._alarm: Alarm | None = None
        self._finishing = False

    @property
    def blocks(self) -> set[UUID]:
        """The batches and blocks of which something is left to do."""
        return set(self._left)

    def expect(self, deliveries: Sequence[Delivery]) -> None:
        """A result of each of these will come."""
        self._left.update([delivery.block for delivery in deliveries if delivery.block is not None])

    def put(self, results: Sequence[Result]) -> None:
        """Have these written soon."""
        self._pending += results
        if self._alarm is not None:
            self._alarm.ring()

    def finish(self) -> None:
        """Have `run` end once it has tried to write what is waiting."""
        self._finishing = True
        if self._alarm is not None:
            self._alarm.ring()

    async def run(self) -> None:
        """Write what is put, until `finish`."""
        self._alarm = self._events.clock.alarm()
        try:
            while True:
                again_at = None
                try:
                    await self._flush()
                except Unavailable as error:
                    log.warning("events.results_wait", error=error.message, waiting=len(self._pending))
                    again_at = self._events.clock.now() + _AWAY
                if self._finishing:
                    return
                await self._alarm.wait(again_at)
                await asyncio.sleep(_GATHER_S)
        finally:
            self._alarm.close()
            self._alarm = None

    async def _flush(self) -> None:
        """Write everything that is waiting. Raises `Unavailable`; what is not written then goes on waiting."""
        while self._pending:
            batch = self._pending[:_BATCH]
            try:
                await self._write(batch)
                del self._pending[: len(batch)]
            except Unavailable:
                raise
            except Exception:
                log.exception("events.results_failed", results=len(batch))
                for result in batch:
                    await self._write_alone(result)
                    del self._pending[0]  # at once: what is written twice would be counted twice

    async def _write_alone(self, result: Result) -> None:
        try:
            await self._write([result])
        except Unavailable:
            raise
        except Exception:
            # A row that cannot be written must not keep all others from being written; it is tried after a restart.
            log.exception("events.result_lost", event_id=str(result.delivery.event.event_id))

    async def _write(self, results: Sequence[Result]) -> None:
        done = Counter(result.delivery.block for result in results if result.delivery.block is not None)
        closed = [block for block, count in done.items() if self._left[block] <= count]
        emitted = {result.delivery.block for result in results if not result.delivery.stored}
        batches = [block for block in closed if block in emitted]
        blocks = [block for block in closed if block not in emitted]
        closing = [self._events.batches.closing(batches)] if batches else []
        closing += [self._events.blocks.closing(blocks)] if blocks else []
        async with self._events.database.connection() as connection:  # one statement: a transaction of its own
            try:
                await execute(connection, [*closing, *records.writing(results, self._events.owner)])
            except Duplicate:  # by another process, or by us, who did not learn of it
                await execute(connection, [*closing, *records.writing(results, self._events.owner, again=True)])
        self._left.subtract(done)
        for block in closed:
            del self._left[block]
        next_at = min((r.verdict.next_at for r in results if isinstance(r.verdict, Again)), default=None)
        if next_at is not None:
            self._scheduled(next_at)
