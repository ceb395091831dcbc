"""Group commit: whatever arrives while one commit runs goes into the next, so that many share one fsync."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import accumulate, takewhile
from typing import Generic, TypeVar

import structlog

from landline.core.errors import GaveWay, NotWritten, Unavailable

log = structlog.get_logger()
_GIVES_WAY = 3
"""How often in a row, at most: each time the other transaction has gone on."""

T = TypeVar("T")
R = TypeVar("R")


class GroupCommit(Generic[T, R]):
    """Collects items and has them committed in batches by `commit`.

    `commit(items)` writes all items in one transaction and returns one result for each, in order, after the commit.
    A batch that gave way to another transaction is tried again. One that fails for another reason than a lost server is
    tried again item by item, so that one bad item cannot fail its neighbours. A batch has a size of `batch_limit` at
    most, unless a single item is larger; `size` tells an item's, which is 1 where nothing else is said.
    """

    def __init__(
        self,
        commit: Callable[[list[T]], Awaitable[list[R]]],
        *,
        lanes: int = 2,
        batch_limit: int = 256,
        waiting_limit: int = 20_000,
        size: Callable[[T], int] | None = None,
    ) -> None:
        self._commit = commit
        self._free_lanes = lanes
        self._batch_limit = batch_limit
        self._waiting_limit = waiting_limit
        self._size = size
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._lanes: set[asyncio.Task[None]] = set()

    async def submit(self, item: T) -> R:
        """`item`'s result, once it is committed. Raises `Unavailable` when too many wait or the server is lost."""
        if len(self._waiting) >= self._waiting_limit:
            raise NotWritten("too many writes are waiting")
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._free_lanes:
            self._free_lanes -= 1
            lane = asyncio.create_task(self._run_lane())
            self._lanes.add(lane)
            lane.add_done_callback(self._lanes.discard)
        return await future

    async def _run_lane(self) -> None:
        try:
            while self._waiting:
                count = self._batch_limit if self._size is None else self._fitting(self._size)
                batch = self._waiting[:count]
                del self._waiting[:count]
                await self._commit_batch(batch)
        finally:
            self._free_lanes += 1

    def _fitting(self, size: Callable[[T], int]) -> int:
        """How many of the waiting items, at least one, make up the next batch."""
        sizes = accumulate(size(item) for item, _ in self._waiting)
        return max(1, sum(1 for _ in takewhile(lambda total: total <= self._batch_limit, sizes)))

    async def _commit_batch(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await self._committed([item for item, _ in batch])
        except Exception as error:
            if len(batch) == 1 or isinstance(error, Unavailable):
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                return
            for pair in batch:
                await self._commit_batch([pair])
            return
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():  # the caller may have gone away; its write stands
                future.set_result(result)

    async def _committed(self, items: list[T]) -> list[R]:
        for _ in range(_GIVES_WAY):
            try:
                return await self._commit(items)
            except GaveWay as error:
                log.info("store.gave_way", reason=error.message, items=len(items))
        return await self._commit(items)
