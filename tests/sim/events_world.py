"""One seeded run of the event deliverer: several processes on one database, several webhooks, and everything that goes
wrong. What a run does is drawn from its seed alone."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from unittest.mock import patch
from uuid import UUID, uuid4

import msgspec
from tests.sim.clock import SimClock
from tests.sim.database import CURRENT, Arena, Bus, SimChanges, SimDatabase
from tests.sim.hooks import CALM, TEMPERS, Hook, SimCallout
from tests.sim.loop import SimLoop
from tests.sim.turns import Fate, Process, Turns

from landline.core.errors import NotFound, Refusal, Unavailable
from landline.core.ids import ResourceId
from landline.services.events import lanes, worker
from landline.services.events.model import Event, Schema, Secrets, Settings, State
from landline.services.events.service import SUBJECT, Events
from landline.services.events.subscriptions import Subscriptions
from landline.services.events.worker import POLL_S, EventsWorker
from landline.store.blocks import LEASE
from landline.store.sealing import Sealer

T = TypeVar("T")
RESOURCE = ResourceId(UUID(int=8))
KINDS = ("Sim.Report", "Sim.Text")
SUBJECTS = ("/one/a", "/one/b", "/two")
MOST_PROCESSES = 3
_HARD = bool(os.environ.get("FAULTS"))
"""Whether processes also stand still, end in order, are deaf, and wait for the answers to commits (`make sim`)."""
_LAST = (150.0, 8), (1_800.0, 12)
"""Seconds between two looks, and how many of them, while everything comes to its end."""


@dataclass(eq=False)
class Machine:
    """A process and what runs in it."""

    process: Process
    events: Events
    subscriptions: Subscriptions
    worker: EventsWorker
    changes: SimChanges
    running: "asyncio.Task[None]"
    ending: bool = False


@dataclass(eq=False)
class Told:
    """What one transaction told of, in one process or, told again, in several."""

    events: list[Event]
    at: float
    times: int = 0
    wanted: set[tuple[UUID, UUID]] = field(default_factory=set[tuple[UUID, UUID]])
    """(event, subscription) that are surely written."""


@contextmanager
def limits(dice: random.Random) -> Generator[None]:
    """How much fits in the memory of all processes of a run."""
    with ExitStack() as stack:
        for module, name, values in (
            (lanes, "LANE_LIMIT", (3, 4096, 4096)),
            (lanes, "TOTAL_LIMIT", (5, 20_000, 20_000)),
            (lanes, "IN_FLIGHT_LIMIT", (2, 8, 512, 512)),
            (lanes, "_FIRST", (4, 16)),
            (worker, "_ROWS_PER_LANE", (2, 256, 256)),
            (worker, "_BLOCKS_AT_ONCE", (1, 8)),
        ):
            stack.enter_context(patch.object(module, name, dice.choice(values)))
        yield


class EventsRun:
    """See the module."""

    def __init__(self, seed: int, arena: Arena, loop: SimLoop, _callout: Any) -> None:
        self.dice = random.Random(seed)
        self.arena = arena
        self.loop = loop
        self.turns = arena.turns = Turns(loop, random.Random(seed ^ 1))
        self.turns.fate = self.fate
        self.turns.blocked_by_locks = arena.blocked
        self.clock = SimClock(datetime(2026, 3, 31, 12, tzinfo=UTC), loop, self.turns)
        self.clock.before_jump = self.keep_leases
        self.bus = Bus()
        self.machines: list[Machine] = []
        self.born = 0
        self.trouble = self.dice.choice([0.0, 0.0, 0.01, 0.03, 0.08])
        """How often, of 1, a statement meets a broken connection or a dying process."""
        self.peaceful = self.dice.random() < 0.2
        """Nothing goes wrong but with the webhooks."""
        self.answers_s = self.dice.choice([0.0, 0.0, 0.5, 6.0]) if _HARD else 0.0
        self.poll_s = self.dice.choice([POLL_S, 20.0])
        self.hooks = {f"https://hook{n}.example/": Hook(self.dice.choice(TEMPERS), self.dice) for n in range(2)}
        self.names = 0
        self.told: list[Told] = []
        self.changes = 0
        """How often a subscription was about to change, or was changed."""
        self.history: dict[str, list[Settings]] = {}
        """All settings that a subscription was to have, by its name."""
        self.troubles: list[tuple[Process | None, float]] = []
        """Whom something happened to, and when; None: to all."""
        self.statements: Counter[tuple[str, int]] = Counter()
        self.replayed = False
        self.outage = False
        self.kept_at = 0.0
        self.faults = True
        self.wrong: list[str] = []

    # Processes

    def spawn(self, process: Process, work: Awaitable[T]) -> "asyncio.Task[T]":
        with self.inside(process):
            return asyncio.ensure_future(work)

    @contextmanager
    def inside(self, process: Process) -> Generator[None]:
        token = CURRENT.set(process)
        try:
            yield
        finally:
            CURRENT.reset(token)

    async def boot(self) -> Machine:
        self.born += 1
        process = Process(f"p{self.born}")
        process.answers_s = 0.0 if self.peaceful else self.answers_s
        with self.inside(process):
            changes = SimChanges(self.bus, process)
            events = Events(
                SimDatabase(self.arena, self.turns, process),
                self.clock,
                changes,
                SimCallout(self.hooks, process),
                Sealer(b"s" * 32),
                uuid4(),
                public_base_url="https://localhost",
                resource_name=_name,
                resource_named=_resource,
            )
            await changes.start()
            sender = EventsWorker(events)
            sender.poll_s = self.poll_s
        running = self.spawn(process, self._work(sender))
        machine = Machine(process, events, Subscriptions(events), sender, changes, running)
        self.machines.append(machine)
        return machine

    async def _work(self, sender: EventsWorker) -> None:
        try:
            await sender.run()
        except Exception as error:
            self.wrong.append(f"a worker ended: {error!r} {getattr(error, 'exceptions', '')}")

    def bury(self) -> None:
        for machine in [machine for machine in self.machines if machine.process.dead]:
            self.machines.remove(machine)
            self.bus.ears.remove(machine.changes)

    def fate(self, process: Process) -> Fate:
        if self.outage:
            self.statements[process.name, int(self.loop.seconds)] += 1
            return Fate.LOST_BEFORE
        if process.lag_s:
            self.hurt(process)
        if not self.faults or self.peaceful or self.dice.random() >= self.trouble:
            return Fate.DONE
        self.hurt(process)
        fates = [Fate.LOST_BEFORE, Fate.LOST_AFTER, Fate.LOST_AFTER, Fate.KILLED_BEFORE, Fate.KILLED_AFTER]
        return self.dice.choice(fates)

    def hurt(self, process: Process | None) -> None:
        self.troubles.append((process, self.loop.seconds))

    async def keep_leases(self, seconds: float) -> None:
        """The healthy have renewed their leases all the while that is jumped over."""
        if seconds - self.kept_at < LEASE.total_seconds() / 3 or self.outage:
            return
        if self.faults and self.poll_s == POLL_S and not self.answers_s:
            return  # they do so themselves
        self.kept_at = seconds
        owners = [machine.events.owner for machine in self.machines if not machine.process.ill]
        until = self.clock.at(seconds) + LEASE
        for table in ("events_batches", "events_blocks"):
            await self.arena.look(f"UPDATE {table} SET due_at = $2 WHERE owner = ANY($1)", owners, until)

    def later(self, seconds: float, callback: Callable[[], object]) -> None:
        token = CURRENT.set(None)
        try:
            self.loop.call_later(seconds, callback)
        finally:
            CURRENT.reset(token)

    # What happens

    async def live(self, steps: int) -> None:
        """Do `steps` things, and give each some time, or none, to have its effect."""
        await self.arena.look("DELETE FROM events_subscriptions WHERE resource_id = $1", RESOURCE)
        # Rows that are due at once come in the order in which they lie there.
        await self.arena.look("TRUNCATE events_deliveries, events_batches, events_blocks")
        for _ in range(self.dice.choice([1, 2, 2, 3])):
            await self.boot()
        for _ in range(self.dice.choice([1, 2, 3])):
            await self.subscribe()
            await self.turns.rest()
        for _ in range(steps):
            self.bury()
            while len(self.machines) < 1 or (len(self.machines) < MOST_PROCESSES and self.dice.random() < 0.1):
                await self.boot()
            await self._something()
            wait = self.dice.random()
            if wait < 0.5:
                await self.turns.rest()
            elif wait < 0.9:
                await self.turns.rest(self.dice.randint(1, 30))
            await self.look_at_blocks()

    async def _something(self) -> None:
        things = PEACEFUL if self.peaceful else THINGS
        doing, _ = self.dice.choices(things, [weight for _, weight in things])[0]
        await doing(self)

    async def look_at_blocks(self) -> None:
        """No block is closed while deliveries are to be made in it."""
        rows = await self.arena.look(
            "SELECT event_id, block_id FROM events_deliveries d WHERE block_id IS NOT NULL AND delivered_at IS NULL"
            " AND NOT EXISTS (SELECT FROM events_blocks b WHERE b.block_id = d.block_id)"
        )
        self.wrong += [f"{row['event_id']} is to be delivered in {row['block_id']}, which is closed" for row in rows]

    def do(self, machine: Machine, work: Awaitable[object]) -> "asyncio.Task[object]":
        """Have `machine` do something that may be refused, or come to nothing."""

        def ended(task: "asyncio.Task[object]") -> None:
            if not task.cancelled() and not isinstance(task.exception(), Unavailable | Refusal):
                task.result()

        task = self.spawn(machine.process, work)
        task.add_done_callback(ended)
        return task

    async def emit(self) -> None:
        events = [self._event() for _ in range(self.dice.choice([1, 1, 2, 5, 12]))]
        told = Told(events, self.loop.seconds)
        self.told.append(told)
        self._tell(told)

    def _event(self) -> Event:
        event_id, about = (UUID(int=self.dice.getrandbits(128)) for _ in range(2))
        kind, subject = self.dice.choice(KINDS), self.dice.choice(SUBJECTS)
        return Event(event_id, RESOURCE, kind, subject, b'{"n":1}', self.clock.now(), about)

    def _tell(self, told: Told) -> None:
        told.times += 1
        machine = self.dice.choice(self.machines)
        self.do(machine, self._commit(machine.events, told))

    async def _commit(self, events: Events, told: Told) -> None:
        before, changes = await self._subscribed(), self.changes
        async with events.database.transaction() as connection:
            emitted = await events.emit(connection, told.events)
        events.committed(emitted)
        if changes == self.changes and before == await self._subscribed():
            told.wanted |= {
                (event.event_id, subscription)
                for event in told.events
                for subscription, settings in before.items()
                if _lets_through(settings, event)
            }

    async def _subscribed(self) -> dict[UUID, Settings]:
        token = CURRENT.set(None)  # it is not the process that looks
        try:
            look = asyncio.ensure_future(
                self.arena.look(
                    "SELECT subscription_id, settings FROM events_subscriptions"
                    " WHERE resource_id = $1 AND state = 'enabled'",
                    RESOURCE,
                )
            )
        finally:
            CURRENT.reset(token)
        rows = await look
        return {row["subscription_id"]: msgspec.json.decode(row["settings"], type=Settings) for row in rows}

    async def repeat(self) -> None:
        """A transaction whose answer may have been lost is made again."""
        if self.told:
            self._tell(self.dice.choice(self.told[-5:]))

    def _settings(self) -> Settings:
        dice = self.dice
        return Settings(
            dice.choice(list(self.hooks)),
            dice.choice(list(Schema)),
            types=dice.choice([None, None, KINDS[:1]]),
            subject_begins=dice.choice(["", "", "/ONE"]),
            max_attempts=dice.choice([1, 2, 3, 30, 30]),
            ttl_minutes=dice.choice([1, 5, 1440, 1440]),
            batch_events=dice.choice([1, 1, 3, 10]),
            rate_per_minute=dice.choice([None, None, None, 20]),
        )

    async def subscribe(self) -> None:
        if self.names < 6:
            self.names += 1
            name = f"s{self.names}"
            self._change(name, lambda m, edit: m.subscriptions.add("events", name, edit, validation=False))

    async def change(self) -> None:
        """Change, switch off or switch on a subscription."""
        if self.history:
            name, on = self.dice.choice(list(self.history)), self.dice.choice([None, None, True, False])
            self._change(
                name, lambda m, edit: m.subscriptions.change("events", name, edit, enabled=on, validation=False)
            )

    def _change(self, name: str, change: Callable[[Machine, Any], Awaitable[object]]) -> None:
        settings = self._settings()
        self.history.setdefault(name, []).append(settings)
        self._altering(lambda machine: change(machine, lambda _settings, _secrets: (settings, Secrets())))

    async def remove(self) -> None:
        if self.history:
            name = self.dice.choice(list(self.history))
            self._altering(lambda machine: machine.subscriptions.remove("events", name))

    def _altering(self, change: Callable[[Machine], Awaitable[object]]) -> None:
        self.changes += 1
        machine = self.dice.choice(self.machines)
        self.do(machine, change(machine)).add_done_callback(lambda _task: self._altered())

    def _altered(self) -> None:
        self.changes += 1

    async def replay(self) -> None:
        if self.history:
            self.replayed = True
            machine, name = self.dice.choice(self.machines), self.dice.choice(list(self.history))
            self.do(machine, machine.subscriptions.replay_all("events", name))

    async def turn(self) -> None:
        """An endpoint changes its temper."""
        self.dice.choice(list(self.hooks.values())).temper = self.dice.choice(TEMPERS)

    async def kill(self) -> None:
        process = self.dice.choice(self.machines).process
        self.hurt(process)
        process.kill()

    async def stall(self) -> None:
        process = self.dice.choice(self.machines).process
        self.hurt(process)
        how = self.dice.choice(["stalled", "cut_off"])
        setattr(process, how, True)
        self.later(self.dice.choice([2.0, 20.0, 60.0]), lambda: self._recover(process, how))

    def _recover(self, process: Process, how: str) -> None:
        self.hurt(process)
        setattr(process, how, False)

    async def pause(self) -> None:
        """A process stands still, timers and all, and then goes on as if nothing had been."""
        process = self.dice.choice(self.machines).process
        for _ in range(20):
            if not process.at_work:
                break
            await self.turns.rest(1)
        if not process.at_work and not process.dead:
            self.hurt(process)
            process.paused = True
            self.later(self.dice.choice([5.0, 14.0, 16.0, 60.0]), lambda: self._go_on(process))

    def _go_on(self, process: Process) -> None:
        if process.paused:
            self.hurt(process)
            process.go_on()

    async def lag(self) -> None:
        """The database is slow for one process."""
        process = self.dice.choice(self.machines).process
        self.hurt(process)
        process.lag_s = self.dice.choice([0.1, 0.7, 4.0])
        process.answers_s = self.dice.choice([0.0, 4.0, 12.0])
        self.later(self.dice.choice([5.0, 30.0, 90.0]), lambda: self._hasten(process))

    def _hasten(self, process: Process) -> None:
        self.hurt(process)
        process.lag_s, process.answers_s = 0.0, self.answers_s

    async def deafen(self) -> None:
        changes = self.dice.choice(self.machines).changes
        changes.deafen(True)
        self.later(self.dice.choice([1.0, 20.0]), lambda: None if self.outage else changes.deafen(False))

    async def end(self) -> None:
        """SIGTERM: a process gives back what it has, and is gone."""
        machine = self.dice.choice(self.machines)
        if not machine.ending:
            machine.ending = True
            self.hurt(machine.process)
            self.spawn(machine.process, self._end(machine))

    async def _end(self, machine: Machine) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(10):
                await machine.worker.close()
        self.hurt(machine.process)
        machine.process.kill()

    async def lose_database(self) -> None:
        self.outage = True
        self.hurt(None)
        for machine in self.machines:
            machine.changes.deafen(True)
        self.later(self.dice.choice([1.0, 20.0, 40.0]), self._find_database)

    def _find_database(self) -> None:
        self.outage = False
        self.hurt(None)
        for machine in self.machines:
            machine.changes.deafen(False)

    async def pass_time(self) -> None:
        await self.clock.advance(timedelta(seconds=self.dice.choice([0.01, 1.0, 3.0, 8.0, 20.0, 45.0, 300.0])))

    # The end

    async def finish(self) -> None:
        """All faults end, and all processes but one; every timer there is runs out."""
        self.faults = self.outage = False
        for machine in self.machines:
            machine.process.stalled = machine.process.cut_off = False
            machine.process.lag_s = machine.process.answers_s = 0.0
            self._go_on(machine.process)
            if not machine.changes.trusted:
                machine.changes.deafen(False)
        await self.clock.advance(timedelta(seconds=15))  # who dies with an answer on its way does so yet
        for hook in self.hooks.values():
            hook.temper = CALM
        staying = [machine for machine in self.machines if not machine.ending and not machine.process.dead]
        for machine in self.machines:
            if machine not in staying[:1] and not self.peaceful:
                self.hurt(machine.process)
                machine.process.kill()
        self.bury()
        last = self.machines[0] if self.machines else await self.boot()
        await self.arena.look("UPDATE events_subscriptions SET state = $1", State.ENABLED.value)
        self.bus.post(SUBJECT, str(RESOURCE))
        last.worker.wake()
        for poll_s, times in _LAST:
            for machine in self.machines:
                machine.worker.poll_s = poll_s
            for _ in range(times):
                if not await self.left():
                    return
                await self.clock.advance(timedelta(seconds=poll_s))

    async def left(self) -> list[str]:
        """What still waits for something."""
        rows = await self.arena.look(
            "SELECT 'delivery ' || event_id || ' to ' || subscription_id || CASE WHEN EXISTS (SELECT FROM"
            " events_subscriptions s WHERE s.subscription_id = d.subscription_id) THEN '' ELSE ' (gone)' END AS what"
            " FROM events_deliveries d WHERE delivered_at IS NULL AND dead_at IS NULL"
            " UNION ALL SELECT 'batch ' || block_id FROM events_batches"
            " UNION ALL SELECT 'block ' || block_id FROM events_blocks"
        )
        return [row["what"] for row in rows]

    async def close(self) -> None:
        for machine in self.machines:
            machine.process.kill()
        await self.turns.rest()


def _lets_through(settings: Settings, event: Event) -> bool:
    """Whether an event of this simulation is wanted, told apart from the product's way of saying so."""
    return (settings.types is None or event.type == KINDS[0]) and (
        not settings.subject_begins or event.subject != SUBJECTS[2]
    )


async def _name(_resource: ResourceId) -> str:
    return "events"


async def _resource(name: str) -> ResourceId:
    if name != "events":
        raise NotFound(name)
    return RESOURCE


Things = tuple[tuple[Callable[[EventsRun], Awaitable[None]], float], ...]
PEACEFUL: Things = (
    (EventsRun.emit, 10),
    (EventsRun.turn, 2),
    (EventsRun.pass_time, 8),
)
"""What happens in a run where only webhooks fail, and how often beside the rest."""
THINGS: Things = (
    *PEACEFUL,
    (EventsRun.repeat, 1),
    (EventsRun.subscribe, 0.4),
    (EventsRun.change, 1.2),
    (EventsRun.remove, 0.4),
    (EventsRun.replay, 0.5),
    (EventsRun.kill, 0.8),
    (EventsRun.stall, 0.7),
    (EventsRun.lose_database, 0.5),
    *(((EventsRun.pause, 0.8), (EventsRun.lag, 0.8), (EventsRun.deafen, 0.3), (EventsRun.end, 0.5)) if _HARD else ()),
)
