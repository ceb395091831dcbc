"""Ending parts of the product side by side, in the time there is."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

log = structlog.get_logger()


async def end_within(seconds: float, *closing: Coroutine[Any, Any, None]) -> None:
    """Let these go on for so long, then cancel them: what is left is as after a crash. What fails is logged."""
    tasks = [asyncio.create_task(each) for each in closing]
    _, late = await asyncio.wait(tasks, timeout=seconds)
    for task in late:
        task.cancel()
    for failed in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(failed, Exception):
            log.error("server.close_failed", error=repr(failed))
