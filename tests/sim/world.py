"""One seeded run of the gateway: several processes on one database, several carriers, and everything that goes wrong.

What a run does is drawn from its seed alone: which carriers with which tempers, what clients ask for, what fails when.
"""

import asyncio
import json
import os
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from unittest.mock import patch
from uuid import UUID

from tests.sim.carriers import SILENT, TEMPERS, HandOver, SimCarrier, Smsc
from tests.sim.clock import SimClock
from tests.sim.database import CURRENT, Arena, Bus, SimChanges, SimDatabase
from tests.sim.loop import SimLoop
from tests.sim.turns import Fate, Process, Turns
from tests.support.gateway import Gateway

from landline.core.errors import Invalid, Refusal, Unavailable
from landline.core.ids import ResourceId
from landline.core.phone import SenderKind
from landline.ports.sms_carrier import Arrival, CrashPolicy, SmsCarrier
from landline.services.sms.model import messages
from landline.services.sms.model.routing import Choice, Rule
from landline.services.sms.service import Options, To
from landline.store.blocks import LEASE
from landline.store.database import Database

T = TypeVar("T")
RESOURCE = ResourceId(UUID(int=7))
TOLL_FREE, GEOGRAPHIC, NAME = "+18005550100", "+14255550100", "LANDLINE"
SENDERS = (TOLL_FREE, TOLL_FREE, GEOGRAPHIC, "pool:team", NAME)
HANDSETS = [f"+1425555{number:04}" for number in range(10)]
JUST_SENT = "Tue, 31 Dec 2999 23:59:59 GMT"
"""Of every repeatability id: however long a run is, it has not lain too far back."""
WORDS = ("STOP", " stop. ", "START", "unstop", "hello", "HELP", "yes please")
TAGS = (None, None, "spring", "autumn")
MOST_PROCESSES = 3
_HARD = bool(os.environ.get("FAULTS"))
"""Whether processes also stall, end in order, are deaf, and have slow databases and clocks apart (`make sim`). How
such a seed runs depends on PYTHONHASHSEED still."""
_BEAT_S = 45.0
"""Statements are what a run costs, and heartbeats would be most of them: the leases are kept for the healthy."""
_LAST = (150.0, 8), (7_200.0, 8)
"""Heartbeats and how many of them, while everything comes to its end: first the messages, then, after half a day, the
replies to keywords that nobody reported."""


@dataclass(eq=False)
class Machine:
    """A process and what runs in it."""

    process: Process
    gateway: Gateway
    changes: SimChanges
    running: "asyncio.Task[None]"
    ending: bool = False


@dataclass(eq=False)
class Asked:
    """One request of a client, which may be made again under the same repeatability ids."""

    sender: str
    recipients: list[To]
    text: str
    options: Options


class Run:
    """See the module."""

    report_timeout_s = 43_200
    """Of messages whose sender says nothing about it."""

    def __init__(self, seed: int, arena: Arena, loop: SimLoop, callout: Any) -> None:
        self.dice = random.Random(seed)
        self.arena = arena
        self.loop = loop
        self.callout = callout
        start = datetime(2026, 3, 31, 12, tzinfo=UTC) + timedelta(seconds=self.dice.choice([0, 42_900, 43_150, 3_500]))
        self.turns = arena.turns = Turns(loop, random.Random(seed ^ 1))
        self.turns.fate = self.fate
        self.turns.blocked_by_locks = arena.blocked
        self.clock = SimClock(start, loop, self.turns)
        self.clock.before_jump = self.keep_leases
        self.bus = Bus()
        self.machines: list[Machine] = []
        self.born = 0
        self.fails_over = self.dice.random() < 0.5
        self.cap = self.dice.choice([None, None, 12, 30])
        self.rates = {SenderKind.TOLL_FREE: self.dice.choice([0.2, 1.0])} if self.dice.random() < 0.3 else {}
        self.in_hand = self.dice.choice([2, 20_000, 20_000])
        self.trouble = self.dice.choice([0.0, 0.002, 0.01, 0.03])
        """How often, of 1, a statement meets a broken connection or a dying process."""
        self.skew_s = self.dice.choice([0.0, 0.0, 0.5, 0.9]) if _HARD else 0.0
        """How far the clocks of its machines are from ours at most."""
        self.lag_s = self.dice.choice([0.7, 1.5]) if _HARD and self.dice.random() < 0.15 else 0.0
        """How slow the database is for all, so that what comes late comes in the middle of what others do about it."""
        self.hand_overs: dict[UUID, list[HandOver]] = {}
        self.smscs = [self._smsc(number) for number in range(self.dice.choice([1, 2, 2, 3]))]
        self.rules = self._rules()
        self.asked: list[Asked] = []
        self.acknowledged: dict[UUID, tuple[Asked, str]] = {}
        self.texts = 0
        self.outage = False
        self.kept_at = 0.0
        self.faults = True
        self.wrong: list[str] = []

    def _smsc(self, number: int) -> Smsc:
        smsc = Smsc(
            "abc"[number],
            self.dice.choice([CrashPolicy.RESEND, CrashPolicy.RESEND, *CrashPolicy]),
            SILENT if self.lag_s else self.dice.choice(TEMPERS),
            self.dice.choice([1, 3, 200]),
            dice=self.dice,
            clock=self.clock,
            arena=self.arena,
            fails_over=lambda: self.fails_over,
        )
        smsc.hand_overs = self.hand_overs
        return smsc

    def _rules(self) -> list[Rule]:
        names = [smsc.name for smsc in self.smscs]
        if len(names) == 1 or self.dice.random() < 0.4:
            return []
        first = Rule(name="spring", tags=("spring",), carriers=tuple(Choice(name) for name in reversed(names)))
        rest = Rule(name="rest", carriers=tuple(Choice(name, 1) for name in names), failover=self.dice.random() < 0.7)
        return [first, rest]

    # Processes

    @contextmanager
    def inside(self, process: Process) -> Any:
        token = CURRENT.set(process)
        try:
            yield
        finally:
            CURRENT.reset(token)

    def spawn(self, process: Process, work: Awaitable[T]) -> "asyncio.Task[T]":
        with self.inside(process):
            return asyncio.ensure_future(work)

    async def boot(self) -> Machine:
        self.born += 1
        process = Process(f"p{self.born}")
        process.lag_s = self.lag_s
        skew = timedelta(seconds=self.dice.uniform(-self.skew_s, self.skew_s))
        clock = SimClock(self.clock.at(0) + skew, self.loop, self.turns)
        with self.inside(process):
            changes = SimChanges(self.bus, process)
            database = SimDatabase(self.arena, self.turns, process)
            gateway = Gateway(
                "",
                database,
                clock,  # type: ignore[arg-type]
                *self.carriers(process, database, clock, changes),
                changes=changes,
                callout=self.callout,
                sender_rates=self.rates,
                share=lambda: max(1, len(self.machines)),
                in_hand=self.in_hand,
                report_timeout_s=self.report_timeout_s,
            )
            gateway.rules = self.rules
            gateway.worker.beat_s = _BEAT_S
            gateway.fails_over_on_receipts = self.fails_over
            await changes.start()
            await self.start_carriers(process, gateway)
        machine = Machine(process, gateway, changes, self.spawn(process, self._work(gateway)))
        self.machines.append(machine)
        return machine

    def carriers(
        self, process: Process, _database: Database, _clock: SimClock, _changes: SimChanges
    ) -> Sequence[SmsCarrier]:
        """The engines of a process."""
        return [SimCarrier(smsc, process) for smsc in self.smscs]

    async def start_carriers(self, _process: Process, gateway: Gateway) -> None:
        """Have the engines of a process begin."""
        for carrier in gateway.carriers.values():
            await carrier.start(gateway.news)
            assert isinstance(carrier, SimCarrier)
            carrier.on_reachable = gateway.worker.reached

    async def leave_carriers(self, gateway: Gateway, patience_s: float) -> None:
        """Have the engines of a process end."""
        for carrier in gateway.carriers.values():
            assert isinstance(carrier, SimCarrier)
            carrier.reachable = False
            carrier.broke()
        await asyncio.sleep(patience_s)

    async def _work(self, gateway: Gateway) -> None:
        try:
            await asyncio.gather(gateway.worker.run(), gateway.guard.run())
        except Exception as error:
            self.wrong.append(f"a worker ended: {error!r} {error.__cause__!r} {getattr(error, 'exceptions', '')}")

    def bury(self) -> None:
        """Forget the dead: their connections are gone, their leases are not."""
        for machine in [machine for machine in self.machines if machine.process.dead]:
            self.machines.remove(machine)
            self.bus.ears.remove(machine.changes)
            for smsc in self.smscs:
                smsc.links = [link for link in smsc.links if link.process is not machine.process]

    def fate(self, _process: Process) -> Fate:
        if self.outage:
            return Fate.LOST_BEFORE
        if not self.faults or self.dice.random() >= self.trouble:
            return Fate.DONE
        fates = [Fate.LOST_BEFORE, Fate.LOST_AFTER, Fate.LOST_AFTER, Fate.KILLED_BEFORE, Fate.KILLED_AFTER]
        return self.dice.choice(fates)

    async def keep_leases(self, seconds: float) -> None:
        """The healthy have renewed their leases all the while that is jumped over."""
        if seconds - self.kept_at < LEASE.total_seconds() / 3:
            return
        self.kept_at = seconds
        owners = [
            machine.gateway.owner
            for machine in self.machines
            if machine.gateway.handover.known() and not self._is_ill(machine.process)
        ]
        if owners:
            until = self.clock.at(seconds) + LEASE
            await self.arena.look("UPDATE sms_blocks SET due_at = $2 WHERE owner = ANY($1)", owners, until)

    def _is_ill(self, process: Process) -> bool:
        return self.outage or process.ill

    # What happens

    async def live(self, steps: int) -> None:
        """Do `steps` things, and give each some time, or none, to have its effect."""
        await self.prepare()
        for _ in range(self.dice.choice([1, 2, 2, 3])):
            await self.boot()
        for _ in range(steps):
            self.bury()
            while len(self.machines) < 1 or (len(self.machines) < MOST_PROCESSES and self.dice.random() < 0.1):
                await self.boot()
            doing, _ = self.dice.choices(self.things(), [weight for _, weight in self.things()])[0]
            await doing(self)
            wait = self.dice.random()
            if wait < 0.5:
                await self.turns.rest()
            elif wait < 0.9:
                await self.turns.rest(self.dice.randint(1, 30))

    def things(self) -> Sequence[tuple[Callable[[Any], Awaitable[None]], float]]:
        """What happens, and how often beside the rest."""
        return THINGS

    async def prepare(self) -> None:
        settings = json.dumps({"caps": {"perDay": self.cap}} if self.cap else {})
        await self.arena.look("INSERT INTO sms_settings VALUES ($1, $2::text::jsonb)", RESOURCE, settings)
        await self.arena.look(
            "INSERT INTO sms_pools VALUES ($1, 'team', $2, $3)",
            RESOURCE,
            [TOLL_FREE, GEOGRAPHIC],
            self.dice.random() < 0.5,
        )

    async def send(self) -> None:
        count = self.dice.choice([1, 1, 2, 5])
        ids = self.dice.random() < 0.7
        numbers = self.dice.sample(HANDSETS, count)
        recipients = [To(number, self._id(), JUST_SENT) if ids else To(number) for number in numbers]
        asked = Asked(self.dice.choice(SENDERS), recipients, self.words(len(self.asked)), self._options())
        self.asked.append(asked)
        self.ask(asked)

    def words(self, number: int) -> str:
        """What the text with this number says."""
        return f"text {number}"

    def _id(self) -> str:
        return str(UUID(int=self.dice.getrandbits(128)))

    def _options(self) -> Options:
        later = self.dice.choice([5, 60, 200]) if self.dice.random() < 0.15 else None
        return Options(
            report_wanted=self.dice.random() < 0.85,
            tag=self.dice.choice(TAGS),
            report_timeout_s=self.dice.choice([60, 120, 400]),
            send_at=self.clock.now() + timedelta(seconds=later) if later else None,
            valid_for_s=self.dice.choice([60, 120]) if self.dice.random() < 0.2 else None,
        )

    def ask(self, asked: Asked) -> None:
        machine = self.dice.choice(self.machines)
        sms = machine.gateway.sms
        work = self.spawn(
            machine.process, sms.send(RESOURCE, asked.sender, asked.recipients, asked.text, asked.options)
        )
        work.add_done_callback(lambda task: self._answered(asked, task))

    def _answered(self, asked: Asked, task: "asyncio.Task[Any]") -> None:
        if task.cancelled() or isinstance(task.exception(), Unavailable | Invalid):
            return  # Invalid: it was paused until its time had passed
        for to, outcome in zip(asked.recipients, task.result(), strict=True):
            if outcome.status == 503 and not to.repeatability_id:
                continue  # the database was away for its part of the request (docs/design/gateway.md)
            assert outcome.status == 202, outcome
            message_id = messages.parse_public_id(outcome.message_id)
            assert message_id is not None
            self.acknowledged[message_id] = (asked, to.number)

    async def repeat(self) -> None:
        again = [asked for asked in self.asked if asked.recipients[0].repeatability_id and asked.sender != "pool:team"]
        if again:
            asked = self.dice.choice(again)
            if asked.options.send_at is None or asked.options.send_at > self.clock.now():
                self.ask(asked)

    async def text(self) -> None:
        self.texts += 1
        arrival = Arrival(
            f"mo{self.texts}",
            self.dice.choice(HANDSETS),
            self.dice.choice([TOLL_FREE, GEOGRAPHIC]),
            self.dice.choice(WORDS),
            1,
            self.clock.now(),
        )
        smsc = self.dice.choice(self.smscs)
        for _ in range(self.dice.choice([1, 1, 2])):
            smsc.owed += 1
            smsc.text(arrival, smsc.acknowledged)

    async def opt(self) -> None:
        machine = self.dice.choice(self.machines)
        opt_outs, numbers = machine.gateway.opt_outs, self.dice.sample(HANDSETS, 2)
        change = self.dice.choice([opt_outs.opt_out, opt_outs.opt_in])
        self.do(machine, change(RESOURCE, TOLL_FREE, numbers))

    async def cancel(self) -> None:
        """Take back a message that waits, if it still does."""
        waiting = [key for key, (asked, _) in self.acknowledged.items() if asked.options.send_at is not None]
        if waiting:
            machine = self.dice.choice(self.machines)
            public_id = messages.outgoing_id(self.dice.choice(waiting), self.clock.now())
            self.do(machine, machine.gateway.outgoing.cancel([RESOURCE], public_id))

    def do(self, machine: Machine, work: Awaitable[object]) -> None:
        """Have `machine` do something that may be refused, or come to nothing."""

        def ended(task: "asyncio.Task[object]") -> None:
            if not task.cancelled() and not isinstance(task.exception(), Unavailable | Refusal):
                task.result()

        self.spawn(machine.process, work).add_done_callback(ended)

    async def stray(self) -> None:
        """A receipt for a message that nobody knows."""
        smsc = self.dice.choice(self.smscs)
        smsc.stray()

    async def fall(self) -> None:
        smsc = self.dice.choice(self.smscs)
        smsc.fall()
        smsc.later(self.dice.choice([0.5, 20.0, 70.0]), smsc.rise)

    async def leave(self) -> None:
        links = self.dice.choice(self.smscs).links
        if links:
            self.dice.choice(links).leave(self.dice.choice([5.0, 40.0]))

    async def kill(self) -> None:
        self.dice.choice(self.machines).process.kill()

    async def stall(self) -> None:
        process = self.dice.choice(self.machines).process
        how = self.dice.choice(["stalled", "cut_off"])
        setattr(process, how, True)
        self.smscs[0].later(self.dice.choice([2.0, 20.0, 60.0]), lambda: self._recover(process, how))

    def _recover(self, process: Process, how: str) -> None:
        setattr(process, how, False)
        process.well_since = self.loop.seconds

    async def pause(self) -> None:
        """A process stands still, timers and all, and then goes on as if nothing had been."""
        process = self.dice.choice(self.machines).process
        for _ in range(20):
            if not process.at_work:
                break
            await self.turns.rest(1)
        if not process.at_work and not process.dead:
            process.paused = True
            self.smscs[0].later(self.dice.choice([5.0, 14.0, 16.0, 60.0]), lambda: self._go_on(process))

    def _go_on(self, process: Process) -> None:
        if process.paused:
            process.well_since = self.loop.seconds
            process.go_on()

    async def lag(self) -> None:
        """The database is slow for one process."""
        process = self.dice.choice(self.machines).process
        process.lag_s = self.dice.choice([0.1, 0.7, 1.5, 4.0])
        self.smscs[0].later(self.dice.choice([5.0, 30.0, 90.0]), lambda: setattr(process, "lag_s", self.lag_s))

    async def deafen(self) -> None:
        """One process hears of no changes for a while."""
        changes = self.dice.choice(self.machines).changes
        changes.deafen(True)
        self.smscs[0].later(self.dice.choice([1.0, 20.0]), lambda: None if self.outage else changes.deafen(False))

    async def end(self) -> None:
        """SIGTERM: a process gives back what it has, and is gone."""
        machine = self.dice.choice(self.machines)
        machine.ending = True
        self.spawn(machine.process, self._end(machine, self.dice.choice([0.0, 0.3, 1.0])))

    async def _end(self, machine: Machine, patience_s: float) -> None:
        gateway = machine.gateway
        await self.leave_carriers(gateway, patience_s)
        machine.running.cancel()
        await asyncio.wait([machine.running])
        with suppress(Unavailable):
            for blocks in (gateway.blocks, gateway.events.blocks):
                await blocks.end(gateway.clock.now())
        machine.process.kill()

    async def lose_database(self) -> None:
        self.outage = True
        for machine in self.machines:
            machine.changes.deafen(True)
        self.smscs[0].later(self.dice.choice([1.0, 20.0, 40.0]), self._find_database)

    def _find_database(self) -> None:
        self.outage = False
        for machine in self.machines:
            machine.changes.deafen(False)
            machine.process.well_since = self.loop.seconds

    async def fold(self) -> None:
        machine = self.dice.choice(self.machines)
        self.do(machine, machine.gateway.insights.fold())

    async def pass_time(self) -> None:
        await self.clock.advance(timedelta(seconds=self.dice.choice([0.01, 1.0, 3.0, 8.0, 20.0, 45.0])))

    # The end

    async def finish(self) -> None:
        """All faults end, but for all processes but one; every timer there is runs out."""
        self.faults = False
        self.outage = False
        await self.turns.rest()
        for smsc in self.smscs:
            smsc.heal()
        for machine in self.machines:
            machine.process.stalled = machine.process.cut_off = False
            machine.process.lag_s = 0.0
            self._go_on(machine.process)
            if not machine.changes.trusted:
                machine.changes.deafen(False)
        staying = [machine for machine in self.machines if not machine.ending and not machine.process.dead]
        for machine in self.machines:
            if machine not in staying[:1]:
                machine.process.kill()
        self.bury()
        last = self.machines[0] if self.machines else await self.boot()
        for beat_s, times in _LAST:
            last.gateway.worker.beat_s = beat_s
            for _ in range(times):
                if not await self.left():
                    return
                await self.clock.advance(timedelta(seconds=beat_s))

    async def left(self) -> list[str]:
        """What still waits for something."""
        rows = await self.arena.look(
            "SELECT 'message ' || message_id AS what FROM sms_messages WHERE state < 8 OR due_at IS NOT NULL"
            " UNION ALL SELECT 'block ' || block_id FROM sms_blocks"
        )
        owed = [f"{smsc.owed} receipts or texts of {smsc.name}" for smsc in self.smscs if smsc.owed]
        return [row["what"] for row in rows] + owed

    async def close(self) -> None:
        for machine in self.machines:
            machine.process.kill()
        await self.turns.rest()


def entropy(dice: random.Random) -> Any:
    """Every id of the product comes from the seed, too."""
    return patch.object(os, "urandom", dice.randbytes)


THINGS: tuple[tuple[Callable[[Run], Awaitable[None]], float], ...] = (
    (Run.send, 10),
    (Run.repeat, 2),
    (Run.text, 3),
    (Run.opt, 1),
    (Run.cancel, 0.6),
    (Run.stray, 0.3),
    (Run.fall, 0.7),
    (Run.leave, 0.3),
    (Run.kill, 0.7),
    (Run.stall, 0.5),
    *(((Run.pause, 0.7), (Run.lag, 0.8), (Run.deafen, 0.2), (Run.end, 0.4)) if _HARD else ()),
    (Run.lose_database, 0.4),
    (Run.fold, 0.5),
    (Run.pass_time, 6),
)
"""What happens in a run, and how often beside the rest."""
