"""Tasks that live as long as what started them: one that a bug ends is told to the event loop, and the process that
serves by it ends (app/failures.py). Otherwise nobody would hear of it before the task is closed."""

import asyncio
from collections.abc import Coroutine
from typing import Any

FAILED = "failed"
"""Under what the exception handler of an event loop is told the name of such a task."""


def watched(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """A task of `work`. Its owner cancels it, or waits until it returns."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_look)
    return task


def _look(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        name = task.get_name()
        told = {"message": f"{name} failed", "exception": error, FAILED: name}
        task.get_loop().call_exception_handler(told)
