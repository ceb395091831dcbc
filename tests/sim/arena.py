"""What the seeds of one process share: a loop, a database, and a resource with its numbers and its webhook."""

import asyncio
import contextvars
import random
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
from tests.sim.database import Arena
from tests.sim.invariants import broken
from tests.sim.loop import SimLoop
from tests.sim.turns import CURRENT, Stuck
from tests.sim.world import RESOURCE, Run, entropy

from landline.engines.callout import HttpCallout
from landline.engines.clock import SystemClock
from landline.services.events import records_subscriptions
from landline.services.events.model import Settings, State, Subscription
from landline.services.numbers import model, records
from landline.store.database import Database
from landline.store.migrations import migrate

STEPS = 30


class Simulation:
    """Runs seeds, one after the other, on one database."""

    def __init__(self, server_dsn: str) -> None:
        self._server = server_dsn
        self._name = f"sim_{uuid4().hex}"
        self._dsn = urlsplit(server_dsn)._replace(path=f"/{self._name}").geturl()
        self._loop = SimLoop()
        self._loop.set_task_factory(_tracked)
        self._callout = HttpCallout(loopback_open=True)
        self._arena = Arena(self._dsn)
        self._loop.run_until_complete(self._prepare())

    def run(self, seed: int, steps: int = STEPS, world: Any = Run, judge: Any = broken) -> list[str]:
        """What is wrong after the run of `seed` in such a `world`, as `judge` finds."""
        self._loop.run_until_complete(self._arena.clean())
        self._loop.rewind()
        run = world(seed, self._arena, self._loop, self._callout)
        self._loop.on_idle, self._loop.on_silence = run.turns.idle, run.turns.silence
        self._loop.set_exception_handler(lambda _loop, context: run.wrong.append(f"nobody caught: {context}"))
        try:
            with entropy(random.Random(seed ^ 2)):
                return self._loop.run_until_complete(self._live(run, steps, judge))
        except Stuck as stuck:
            return [f"stuck: {stuck}"]
        finally:
            self._loop.on_idle = self._loop.on_silence = None
            self._loop.set_exception_handler(None)
            self._loop.run_until_complete(self._sweep(run))

    def close(self) -> None:
        self._loop.run_until_complete(self._drop())
        self._loop.close()

    async def _live(self, run: Any, steps: int, judge: Any) -> list[str]:
        await run.live(steps)
        await run.finish()
        wrong = await judge(run)
        await run.close()
        return wrong

    async def _sweep(self, run: Any) -> None:
        """Nothing of a run is left running, however it ended."""
        for machine in run.machines:
            machine.process.go_on()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _prepare(self) -> None:
        admin = await asyncpg.connect(self._server)
        await admin.execute(f"CREATE DATABASE {self._name}")
        await admin.close()
        database = await Database.connect(self._dsn, size=2)
        await migrate(database)
        now = SystemClock().now()
        async with database.transaction() as connection:
            for number in model.DEV_NUMBERS:
                owned = model.owned(RESOURCE, number, kind=None, sms=None, calling=None, carrier=None)
                await records.insert(connection, owned, now)
            webhook = Subscription(
                UUID(int=1), RESOURCE, "all", Settings("https://hook.example/"), State.ENABLED, None, now
            )
            await records_subscriptions.insert(connection, webhook, b"", None)
        await database.close()
        await self._arena.start()

    async def _drop(self) -> None:
        await self._arena.close()
        await self._callout.close()
        admin = await asyncpg.connect(self._server)
        await admin.execute(f"DROP DATABASE {self._name} WITH (FORCE)")
        await admin.close()


def _tracked(loop: asyncio.AbstractEventLoop, work: Any, *, context: contextvars.Context | None = None) -> Any:
    """A task that is known to the process it runs in."""
    task = asyncio.Task(work, loop=loop, context=context)
    process = context.get(CURRENT) if context is not None else CURRENT.get()
    if process is not None:
        process.tasks[task] = None
        task.add_done_callback(lambda ended: process.tasks.pop(ended, None))
    return task
