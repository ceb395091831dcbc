"""What rooms do by themselves: those that ended long ago go."""

from datetime import timedelta

import structlog

from landline.core.errors import Unavailable
from landline.ports.clock import Clock
from landline.services.rooms.service import Rooms

log = structlog.get_logger()

EVERY = timedelta(days=1)


class RoomsWorker:
    """Prunes once a day. Any number of processes may do so at once."""

    def __init__(self, rooms: Rooms, clock: Clock) -> None:
        self._rooms = rooms
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled."""
        alarm = self._clock.alarm()
        try:
            while True:
                try:
                    await self._rooms.prune()
                except Unavailable as error:
                    log.warning("rooms.not_pruned", reason=error.message)  # tomorrow is soon enough
                await alarm.wait(self._clock.now() + EVERY)
        finally:
            alarm.close()
