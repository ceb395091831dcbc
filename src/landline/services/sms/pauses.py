"""How long work waits that cannot go on here: before a carrier that took nothing, or a database that was away, is asked
again, and before what is another process's is looked at here."""

import asyncio
from datetime import datetime, timedelta

from landline.ports.clock import Alarm, Clock

UNREACHED_PAUSE = timedelta(seconds=15)
"""How long work whose carrier this process does not reach is left to others."""
_PAUSE = timedelta(seconds=1)


async def pause(clock: Clock, line: Clock, alarm: Alarm) -> None:
    """Until a carrier, or the database, is to be asked again; however often `alarm` rings meanwhile."""
    again_at = line.now() + _PAUSE
    if line is clock:
        while clock.now() < again_at:
            await alarm.wait(again_at)
        return
    line_alarm = line.alarm()
    ringing = asyncio.create_task(_ring_at(line, line_alarm, again_at, alarm))
    try:
        while line.now() < again_at:
            await alarm.wait(None)
    finally:
        ringing.cancel()
        await asyncio.gather(ringing, return_exceptions=True)
        line_alarm.close()


async def _ring_at(clock: Clock, alarm: Alarm, at: datetime, other: Alarm) -> None:
    """Ring `other`, which follows another clock, once `clock` reads `at`: its `alarm` may go off a little earlier."""
    while clock.now() < at:
        await alarm.wait(at)
    other.ring()
