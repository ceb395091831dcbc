"""Clears away what nobody can ask for any more: ended holds, old searches, reservations and operations."""

from contextlib import suppress
from datetime import timedelta

from landline.core.errors import Unavailable
from landline.ports.clock import Clock
from landline.services.numbers import records_clearing
from landline.services.numbers.reservations import KEPT
from landline.store.database import Database

EVERY = timedelta(hours=1)


class NumbersWorker:
    """One a process; several do the same work and disturb nobody: what has ended is over before it is cleared away."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled."""
        alarm = self._clock.alarm()
        try:
            while True:
                with suppress(Unavailable):  # the next round does it
                    await self.clear()
                await alarm.wait(self._clock.now() + EVERY)
        finally:
            alarm.close()

    async def clear(self) -> None:
        """One round."""
        now = self._clock.now()
        await records_clearing.clear(self._database, now, now - KEPT)
