"""The simulated SMS carrier: a product of its own for developers and CI, with a handset at every number."""

import asyncio
import os
from collections.abc import Sequence

import structlog

from landline.core.errors import Conflict, Unavailable
from landline.core.ids import time_ordered
from landline.engines.simulated.desk import Desk
from landline.engines.simulated.intake import Intake
from landline.engines.simulated.model import Behaviour, Conduct
from landline.engines.simulated.reporter import Reporter
from landline.ports.clock import Clock
from landline.ports.sms_carrier import Arrival, CarrierEvents, CrashPolicy, Receipt, Submission
from landline.protocols import smstext
from landline.store.database import Database
from landline.store.watched import watched

log = structlog.get_logger()

_DRAIN_S = 3.0


class SimulatedCarrier:
    """Fills the port `SmsCarrier`. What it took, shows and has still to report is in the database and survives a crash;
    a message handed over again is shown once, answered with the same id and reported again."""

    def __init__(self, database: Database, clock: Clock, seed: int | None, name: str = "simulated") -> None:
        self._database = database
        self._clock = clock
        self._name = name
        self._events: CarrierEvents | None = None
        self._intake: Intake | None = None
        self._reporter: Reporter | None = None
        self._workers: list[asyncio.Task[None]] = []
        self.desk = Desk(database, clock, seed)
        """Inboxes, rules and the seed."""

    @property
    def name(self) -> str:
        return self._name

    @property
    def at_once(self) -> int:
        """See the port."""
        return 200

    @property
    def up(self) -> bool:
        """See the port: from its start to its close."""
        return self._intake is not None and self._intake.open

    @property
    def reachable(self) -> bool:
        """See the port: only the process that has it has it at all."""
        return True

    @property
    def part(self) -> float | None:
        """See the port."""
        return None

    @property
    def crash_policy(self) -> CrashPolicy:
        """See the port: what was handed over before is recognised by its key."""
        return CrashPolicy.REPEATABLE

    async def query(self, carrier_message_id: str, sender: str) -> Receipt | None:
        """See the port. It reports everything by itself, so that there is nothing to ask for."""
        return None

    async def start(self, events: CarrierEvents) -> None:
        """See the port. Raises `Unavailable` when the database is away."""
        last = await self.desk.load()
        self._events = events
        self._reporter = Reporter(self._name, self._database, self._clock, events, last)
        self._intake = Intake(self._name, self.desk, self._clock, events, self._reporter.answered)
        self._workers = [watched(self._intake.run(), "carrier"), watched(self._reporter.run(), "carrier reports")]
        log.info("carrier.started", carrier=self._name, seed=await self.desk.seed())

    async def room(self) -> int:
        """See the port."""
        await self._started().room()
        return self.at_once

    async def submit(self, submissions: Sequence[Submission]) -> None:
        """See the port."""
        await self._started().submit(submissions)

    async def close(self) -> None:
        """See the port: what was taken is answered, for at most 3 s; receipts wait for the next start."""
        self.desk.end_waits()
        if self._intake is not None:
            self._intake.close()
            await asyncio.wait(self._workers[:1], timeout=_DRAIN_S)
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def behave(self, number: str, behaviour: Behaviour | None) -> None:
        """Give the handset a behaviour, or none of its own. One that roams no more gets what waited for it."""
        await self.desk.behave(number, behaviour)
        self._ring()

    async def reset(self) -> None:
        """As on the first start: no messages, receipts, behaviours or rules, and the seed it was made with."""
        await self.desk.reset()
        self._ring()

    async def text(self, handset: str, to: str, text: str) -> Arrival:
        """The handset texts one of our numbers; durable when it returns.

        Raises `Conflict` when the handset cannot text (a landline, or out of reach), `Unavailable`.
        """
        if self._events is None:
            raise Unavailable("the carrier has not started")
        conduct = (await self.desk.behaviour(handset)).conduct
        if conduct in (Conduct.LANDLINE, Conduct.ROAMING):
            raise Conflict("A landline cannot text." if conduct is Conduct.LANDLINE else "The handset is out of reach.")
        now = self._clock.now()
        key = str(time_ordered(now, os.urandom(10)))
        arrival = Arrival(key, handset, to, text, smstext.segments(text).count, now)
        await self._events.arrived(self._name, [arrival])
        return arrival

    def _started(self) -> Intake:
        if self._intake is None:
            raise Unavailable("the carrier has not started")
        return self._intake

    def _ring(self) -> None:
        if self._reporter is not None:
            self._reporter.ring()
