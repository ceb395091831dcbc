"""Hears of tasks that are to live as long as their process and that a bug has ended (`store.watched`): the process ends
then, for whoever started it to start it anew."""

import asyncio
from typing import Any, NoReturn

from landline.store.watched import FAILED


class Failures:
    """Of the running loop, from now on."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._first: asyncio.Future[BaseException] = loop.create_future()
        loop.set_exception_handler(self._told)

    async def wait(self) -> NoReturn:
        """Until there is one; raises what ended the task."""
        raise await self._first

    def _told(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What nobody caught is logged, as always."""
        loop.default_exception_handler(context)
        if FAILED in context and not self._first.done():
            self._first.set_result(context["exception"])


async def until_one_ends(*works: "asyncio.Future[Any] | asyncio.Task[Any]") -> None:
    """Wait for the first of `works`, which are not to end by themselves, and raise what it raised; the others are
    cancelled."""
    try:
        done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        for work in done:
            work.result()
    finally:
        for work in works:
            work.cancel()
