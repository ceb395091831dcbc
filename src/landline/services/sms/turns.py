"""One thing at a time, for which whoever wants it waits in turn: the first of each kind before the second of any, so
that a crowd of one kind holds up nobody else."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class Turns:
    """See the module. Who gives up waiting leaves the line."""

    def __init__(self) -> None:
        self._taken = False
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        """Those of each kind, in the order of the kinds' next turns."""

    def __len__(self) -> int:
        """How many wait."""
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def taken(self, kind: str) -> AsyncGenerator[None]:
        """Have it, alone, from when it is one's turn."""
        if self._taken:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            line = self._waiting.setdefault(kind, deque())
            line.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn in line:
                    self._leave(kind, line, turn)
                elif not turn.cancelled():
                    self._pass_on()
                raise
        self._taken = True
        try:
            yield
        finally:
            self._pass_on()

    def _leave(self, kind: str, line: deque[asyncio.Future[None]], turn: asyncio.Future[None]) -> None:
        line.remove(turn)
        if not line:
            del self._waiting[kind]

    def _pass_on(self) -> None:
        """Give it to who is next, and to nobody else meanwhile."""
        while self._waiting:
            kind, line = self._waiting.popitem(last=False)
            turn = line.popleft()
            if line:
                self._waiting[kind] = line
            if not turn.done():  # who gives up has not left the line yet
                turn.set_result(None)
                return
        self._taken = False
