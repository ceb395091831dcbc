"""Deliverability and responses of messages: counted in the transaction of what happened, folded later, exact at any
moment, because whoever asks is answered from what is folded and what is not, as they are at one instant."""

from collections.abc import AsyncGenerator
from datetime import timedelta

from landline.core.errors import TooMany
from landline.core.ids import ResourceId
from landline.ports.clock import Clock
from landline.services.insights import records
from landline.services.insights.model import Tally
from landline.services.insights.questions import Group, Kept, Page, Place, Question
from landline.store.database import Connection, Database
from landline.store.parts import Part, execute

FOLD_ROWS = 5000
FROM_THE_FIRST = 15
"""Each so often a fold looks for notes in all of their table."""
PRUNE_ROWS = 5000
_EXPORTS_AT_ONCE = 2
"""An export holds a database connection for as long as its reader takes."""
_EXPORT_ROWS = 500


class Insights:
    """Counts and answers. `keep_hours`, `keep_days`: how long single hours and whole days are kept. `tags_per_hour`:
    how many tags of a resource are counted by name in an hour; later ones are counted together as `(other)`."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        keep_hours: timedelta = timedelta(days=35),
        keep_days: timedelta = timedelta(days=400),
        tags_per_hour: int = 1000,
    ) -> None:
        self._database = database
        self._clock = clock
        self.kept = Kept(keep_hours, keep_days)
        self._tags_per_hour = tags_per_hour
        self._exports = 0
        self._folds, self._page, self._idle = 0, 0, False
        """`_page`: where the last note stood that this process folded. While nothing is vacuumed, as a backup has it,
        new ones come behind it, and all pages before it hold dead rows, of which there may be millions. `_idle`:
        whether there was none anywhere."""

    async def count(self, connection: Connection, tally: Tally) -> None:
        """Store `tally` in the caller's transaction: one statement that only inserts, so that it waits for no other
        transaction and none waits for it. Nothing is stored twice or lost that the transaction itself is not."""
        await execute(connection, self.counting(tally))

    @staticmethod
    def counting(tally: Tally) -> list[Part]:
        """`count` as a part of the statement that writes what is counted, none where there is nothing to count. Its
        text is `COUNT`."""
        return [Part(records.COUNT, records.counted(tally))] if tally.groups else []

    COUNT = records.COUNT
    """An INSERT without a condition, which may be followed by one."""

    async def page(self, resource: ResourceId, question: Question, *, after: Place | None = None, limit: int) -> Page:
        """Up to `limit` groups behind the place `after`, and the totals of the whole question.

        Groups stand in the order of their places, so that pages neither repeat nor skip any that was there all along.
        Raises `Invalid` when the question goes back further than counts are kept.
        """
        self.kept.check(question, self._clock.now())
        async with self._database.analysis() as connection:
            return await records.page(connection, resource, question, after, limit)

    async def export(self, resource: ResourceId, question: Question) -> AsyncGenerator[list[Group]]:
        """All groups, as they were at one instant, a few hundred at a time. Close it when it is not read to its end.

        Raises `Invalid` as `page` does, and `TooMany` when other exports are being read.
        """
        self.kept.check(question, self._clock.now())
        if self._exports >= _EXPORTS_AT_ONCE:
            raise TooMany("Other exports are being read.", retry_after_s=5.0)
        self._exports += 1
        try:
            async with self._database.analysis() as connection:
                await records.declare(connection, resource, question)
                while groups := await records.more(connection, question, _EXPORT_ROWS):
                    yield groups
        finally:
            self._exports -= 1

    async def fold(self) -> bool:
        """Fold what has been counted; whether there may be more. Any number of processes may try, and one at a time
        does: another might count as `(other)` what belongs to a tag that is being named."""
        self._folds += 1
        first = 0 if self._folds % FROM_THE_FIRST == 0 else self._page
        async with self._database.analysis() as connection:
            if not await records.folds_alone(connection):
                return False
            folded = await records.fold(connection, FOLD_ROWS, self._tags_per_hour, first)
            if first and not folded.count and not self._idle:  # room before it may be used again
                folded = await records.fold(connection, FOLD_ROWS, self._tags_per_hour)
        self._idle = not folded.count
        self._page = folded.page if folded.count else self._page
        return folded.count >= FOLD_ROWS

    async def prune(self) -> bool:
        """Delete hours and days that need not be kept any longer; whether there may be more."""
        now = self._clock.now()
        async with self._database.connection() as connection:
            first = self.kept.first_hour(now), self.kept.first_day(now)
            return await records.prune(connection, *first, PRUNE_ROWS)
