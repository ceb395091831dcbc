"""The folder: every other second it folds what was counted, now and then it drops what is old."""

import asyncio
from datetime import timedelta

import structlog

from landline.core.errors import Unavailable
from landline.ports.clock import Alarm, Clock
from landline.services.insights.service import Insights

log = structlog.get_logger()
_FOLD_EVERY_S = 2.0
"""By the machine's time: folding changes no answer, so there is nothing to do for it while time is driven."""
_PRUNE_EVERY = timedelta(hours=1)
_AWAY = timedelta(seconds=10)


class Folder:
    """One process's folder. All processes may run one; without any, answers stay right and become slow."""

    def __init__(self, insights: Insights, clock: Clock) -> None:
        self._insights = insights
        self._clock = clock

    async def run(self) -> None:
        """Work until cancelled."""
        alarm = self._clock.alarm()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._fold_often())
                tasks.create_task(self._prune_often(alarm))
        finally:
            alarm.close()

    async def _fold_often(self) -> None:
        while True:
            try:
                while await self._insights.fold():
                    pass
            except Unavailable as error:
                log.warning("insights.fold_waits", error=error.message)
            except Exception:
                log.exception("insights.fold_failed")
            await asyncio.sleep(_FOLD_EVERY_S)

    async def _prune_often(self, alarm: Alarm) -> None:
        while True:
            try:
                while await self._insights.prune():
                    pass
                wait = _PRUNE_EVERY
            except Unavailable as error:
                log.warning("insights.prune_waits", error=error.message)
                wait = _AWAY
            except Exception:
                log.exception("insights.prune_failed")
                wait = _PRUNE_EVERY
            await alarm.wait(self._clock.now() + wait)
