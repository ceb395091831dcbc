"""What does the chat feed cost: the log a message sent, a follower a change?

Run `python -m bench.chat_log` from the repository. CPU time of this process and of PostgreSQL's backends per message,
in rounds that alternate between sends with the log and without; then of the tail alone, with readers that drop bytes.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from unittest import mock

from bench import machine
from tests.support.chat import RESOURCE, Process, process

from landline.core.ids import RawId
from landline.engines.clock import SystemClock
from landline.services.chat import records_log
from landline.services.chat.model.ids import ThreadId
from landline.services.chat.realtime.tickets import Holder
from landline.services.chat.stream.audience import Audience
from landline.services.chat.stream.frames import Frame
from landline.services.chat.stream.tail import Tail
from landline.store.database import Database
from landline.store.embedded import EmbeddedServer
from landline.store.migrations import migrate

THREADS, MEMBERS, AT_ONCE = 25, 20, 64
ROUNDS, MESSAGES = 5, 3000
READERS = (1, 20, 500)


class Sink:
    """Fills `audience.Reader`: encodes as a socket would, and drops it."""

    unsent = 0

    def __init__(self, user: RawId) -> None:
        self.holder = Holder(RESOURCE, user, "", datetime.now(UTC))
        self.frames = 0

    def push(self, frame: Frame) -> None:
        assert frame.framed
        self.frames += 1

    def progress(self, frame: Frame) -> None: ...

    def restart(self, frame: Frame, position: int) -> None: ...

    def flush(self) -> None: ...

    def fail(self) -> None: ...

    def cut(self) -> None: ...


class Town:
    """Threads full of users, on a database of its own."""

    def __init__(self, one: Process, database: Database, users: Sequence[RawId], threads: Sequence[ThreadId]) -> None:
        self.one = one
        self.database = database
        self.users = users
        self._threads = threads

    async def send(self) -> None:
        """`MESSAGES` messages, so many at once."""
        free = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> None:
            async with free:
                at = number % THREADS
                await self.one.send(self._threads[at], self.users[at * MEMBERS], "hello there " * 5)

        await asyncio.gather(*(one(number) for number in range(MESSAGES)))

    async def cost(self, work: Callable[[], Awaitable[None]]) -> tuple[float, float]:
        """Microseconds of this process and of PostgreSQL's backends, per message."""
        rows = await self.database.fetch("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'")
        pids = [row["pid"] for row in rows]
        ours, theirs = time.process_time(), sum(map(_cpu_s, pids))
        await work()
        return (time.process_time() - ours) / MESSAGES * 1e6, (sum(map(_cpu_s, pids)) - theirs) / MESSAGES * 1e6


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def town(database: Database, dsn: str) -> Town:
    """Everything that has to be there first."""
    await migrate(database)
    one = process(database, dsn, clock=SystemClock())
    users = [await one.user() for _ in range(THREADS * MEMBERS)]
    threads = [await one.thread(*users[at : at + MEMBERS]) for at in range(0, len(users), MEMBERS)]
    made = Town(one, database, users, threads)
    await made.send()
    return made


async def sends(town: Town) -> None:
    """With the log and without."""
    found: dict[str, list[tuple[float, float]]] = {"with the log": [], "without": []}
    for _ in range(ROUNDS):
        found["with the log"].append(await town.cost(town.send))
        with mock.patch.object(records_log, "append", mock.AsyncMock()):
            found["without"].append(await town.cost(town.send))
    for what, costs in found.items():
        _print(f"a message sent, {what}", costs)


async def follows(town: Town) -> None:
    """The tail, behind what was sent."""
    for count in READERS:
        audience = Audience(town.database, most_of_a_user=count)
        tail = Tail(town.database, town.one.feed, town.one.clock, audience)
        readers = [Sink(town.users[at % len(town.users)]) for at in range(count)]
        costs: list[tuple[float, float]] = []
        for _ in range(ROUNDS):
            for reader in readers:
                await tail.join(reader)
            await town.send()
            costs.append(await town.cost(tail.follow))
            for reader in readers:
                tail.leave(reader)
        told = sum(reader.frames for reader in readers) / MESSAGES / ROUNDS
        _print(f"a change followed for {count} readers, {told:.2f} of them told", costs)


def _print(what: str, costs: Sequence[tuple[float, float]]) -> None:
    ours, theirs = [
        f"{median(each):.0f} ({', '.join(f'{one:.0f}' for one in each)})" for each in zip(*costs, strict=True)
    ]
    print(f"{what}: {ours} us here, {theirs} us in PostgreSQL", flush=True)


async def main() -> None:
    """Print the figures."""
    machine.header("What does the chat feed cost?")
    print(f"load averages {machine.load()}; medians, and each of {ROUNDS} rounds of {MESSAGES} messages")
    with tempfile.TemporaryDirectory(prefix="landline-bench-") as directory:
        server = EmbeddedServer(Path(directory))
        dsn = await server.start()
        database = await Database.connect(dsn)
        try:
            made = await town(database, dsn)
            await sends(made)
            await follows(made)
        finally:
            await database.close()
            await server.close()


if __name__ == "__main__":
    asyncio.run(main())
