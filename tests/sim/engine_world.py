"""One seeded run of the gateway with the SMPP engine itself in each process, sharing binds by lease, over connections
in memory to SMSCs with bad habits; and what those must have been given and heard."""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any
from unittest.mock import patch
from uuid import uuid4

from structlog.testing import capture_logs
from tests.sim.arena import Simulation
from tests.sim.clock import SimClock
from tests.sim.database import SimChanges
from tests.sim.invariants import broken
from tests.sim.smscs import HABITS, WHICH, Attempt, Smsc
from tests.sim.turns import Process
from tests.sim.world import GEOGRAPHIC, HANDSETS, THINGS, TOLL_FREE, Run
from tests.support.gateway import Gateway

from landline.core.errors import Unavailable
from landline.engines.smpp import leases
from landline.engines.smpp.carrier import SmppCarrier
from landline.engines.smpp.config import Binding, MessageIds, SmppConfig
from landline.engines.smpp.leases import Leases
from landline.ports.sms_carrier import Arrival, CrashPolicy, SmsCarrier
from landline.protocols.smpp.commands import MessageState
from landline.protocols.smpp.texts import LongStyle
from landline.services.sms.model import details
from landline.services.sms.model.messages import State
from landline.services.sms.submissions import Submissions
from landline.store.database import Database, Record

_RESPONSE_S = 10.0
_AT_MOST_ONCE = (CrashPolicy.UNKNOWN, CrashPolicy.QUERY)
_FAULTS = (Run.kill, Run.stall, Run.pause, Run.lag, Run.end, Run.lose_database, Run.deafen, Run.fall, Run.leave)
_HEEDED_S = 100.0
"""Two heartbeats: one is waited for by a receipt that one process parked while another stored what it is of."""
_REPEAT_S = 100.0
"""A text that is brought again later than that may be taken for another one that says the same."""
_QUIET = ("smpp.leases_lapsed",)
"""Errors in the log that are no defects."""


def run(simulation: Simulation, seed: int) -> list[str]:
    """What is wrong after the run of `seed`."""
    with (
        patch.object(leases, "LOOK", timedelta(seconds=20)),
        patch.object(leases, "LEASE", timedelta(seconds=60)),
        capture_logs() as logs,
    ):
        wrong = simulation.run(seed, world=EngineRun, judge=kept)
    errors = [each for each in logs if each["log_level"] == "error" and each["event"] not in _QUIET]
    return wrong + [f"the log says {each}" for each in errors]


class EngineRun(Run):
    """See the module."""

    smscs: list[Smsc]

    def __init__(self, seed: int, arena: Any, loop: Any, callout: Any) -> None:
        self.attempts: dict[tuple[str, str], list[Attempt]] = {}
        self.calm = random.Random(seed ^ 3).random() < 0.3 or not os.environ.get("FAULTS")
        """Nothing goes wrong but what SMSCs answer. All else in `make sim` alone: it depends on PYTHONHASHSEED."""
        super().__init__(seed, arena, loop, callout)
        if self.calm:
            self.trouble, self.skew_s, self.lag_s = 0.0, 0.0, 0.0
        for smsc in self.smscs:
            loop.hosts[smsc.config.host] = smsc.connect
        self.brought: dict[str, Arrival] = {}

    def _smsc(self, number: int) -> Any:
        dice, name = self.dice, "abc"[number]
        config = SmppConfig(
            name,
            f"192.0.2.{number}",  # no name: those are looked up in threads, beside the loop
            2775,
            "landline",
            "secret",
            binding=dice.choice(list(Binding)),
            binds=dice.choice([1, 2, 3]),
            window=dice.choice([1, 3, 50]),
            enquire_link_s=50.0,
            response_s=_RESPONSE_S,
            connect_s=5.0,
            backoff_limit_s=dice.choice([5.0, 60.0]),
            long_style=dice.choice(list(LongStyle)),
            message_ids=dice.choice([MessageIds.AS_IS, MessageIds.DEC_HEX]),
            rate_per_s=dice.choice([None, None, 2.0]),
            throttle_patience_s=dice.choice([10.0, 60.0]),
            crash_policy=dice.choice([CrashPolicy.RESEND, CrashPolicy.RESEND, *_AT_MOST_ONCE]),
        )
        smsc = Smsc(config, dice.choice(HABITS), dice=dice, clock=self.clock)
        smsc.attempts = self.attempts
        return smsc

    def things(self) -> Sequence[tuple[Callable[[Any], Awaitable[None]], float]]:
        left_out = {Run.opt} | set(_FAULTS if self.calm else ())
        mine: list[tuple[Callable[[Any], Awaitable[None]], float]] = []
        if not self.calm:
            mine = [(EngineRun.cut, 0.8), (EngineRun.blacken, 0.5), (EngineRun.unbind, 0.5)]
        kept = [(getattr(type(self), each.__name__), weight) for each, weight in THINGS if each not in left_out]
        return [*mine, *kept]

    # Processes

    def carriers(
        self, process: Process, database: Database, clock: SimClock, changes: SimChanges
    ) -> Sequence[SmsCarrier]:
        owner = uuid4()
        known = Submissions(database).known
        return [
            SmppCarrier(
                smsc.config,
                database,
                clock,
                random.Random(self.dice.random()),
                Leases(database, changes, clock, owner, smsc.name, smsc.config.binds),
                known,
            )
            for smsc in self.smscs
        ]

    async def start_carriers(self, process: Process, gateway: Gateway) -> None:
        for carrier in gateway.carriers.values():
            assert isinstance(carrier, SmppCarrier)
            carrier.on_reachable = gateway.worker.reached
            self.spawn(process, self._start(process, carrier, gateway))

    async def _start(self, process: Process, carrier: SmppCarrier, gateway: Gateway) -> None:
        try:
            await carrier.start(gateway.news)
        except Unavailable:  # a process ends then, and its supervisor starts another
            process.kill()

    async def leave_carriers(self, gateway: Gateway, patience_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await asyncio.gather(*(carrier.close() for carrier in gateway.carriers.values()))

    def bury(self) -> None:
        dead = [machine.process for machine in self.machines if machine.process.dead]
        for smsc in self.smscs:
            for link in [link for link in smsc.links if link.process in dead]:
                link.lost()
        super().bury()

    # What happens

    def words(self, number: int) -> str:
        which = f"<{number:04}>"
        return which if self.dice.random() < 0.7 else " and so on ".join([which] * self.dice.choice([15, 25]))

    async def text(self) -> None:
        self.texts += 1
        which = f"<{self.texts:04}>"
        body = which if self.dice.random() < 0.6 else " and so on ".join([which] * self.dice.choice([15, 25]))
        to = self.dice.choice([TOLL_FREE, GEOGRAPHIC])
        self.brought[which] = Arrival("", self.dice.choice(HANDSETS), to, body, 1, self.clock.now())
        self.dice.choice(self.smscs).text(self.brought[which])

    def _links(self) -> list[Any]:
        return [link for smsc in self.smscs for link in smsc.links]

    async def cut(self) -> None:
        links = self._links()
        if links:
            self.dice.choice(links).lost()

    async def blacken(self) -> None:
        """One connection swallows all."""
        links = self._links()
        if links:
            self.dice.choice(links).black = True

    async def unbind(self) -> None:
        links = self._links()
        if links:
            self.dice.choice(links).unbind()

    # The end

    async def left(self) -> list[str]:
        found = await super().left()
        rows = await self.arena.look("SELECT 'part ' || reference AS what FROM smpp_inbound_parts WHERE NOT done")
        return found + [row["what"] for row in rows]


async def kept(run: EngineRun) -> list[str]:
    """Every promise that the run broke."""
    wrong = await broken(run)
    rows = await run.arena.look("SELECT * FROM sms_messages")
    by_text = {(found[1], row["recipient"]): row for row in rows if (found := WHICH.search(row["body"]))}
    for key, attempts in run.attempts.items():
        row = by_text.get(key)
        if row is None:
            wrong.append(f"{key} was handed over and never accepted")
        else:
            wrong += [f"{row['message_id']} ({key[0]}) {each}" for each in _handed(run, attempts)]
            wrong += [f"{row['message_id']} ({key[0]}) {each}" for each in _ended(run, attempts, row)]
    return wrong + await _texts(run)


def _handed(run: EngineRun, attempts: Sequence[Attempt]) -> list[str]:
    """What was wrong about how often a text was handed over (docs/design/gateway.md, "Doubt")."""
    wrong: list[str] = []
    again = [each for each in attempts if not each.refused and not (each.failed and run.fails_over)]
    told = [(each.carrier, each.began, [(copy.number, copy.status) for copy in each.copies]) for each in attempts]
    if len(again) > 2:
        wrong.append(f"was handed over again though two carriers may have it: {told}")
    if run.calm and len(again) > 1 and all(each.taken and each.in_time(_RESPONSE_S) for each in again[:-1]):
        wrong.append(f"was handed over again though a carrier has it: {told}")
    return wrong + [
        f"was handed over again though {each.carrier} ({each.policy}) may have it: {told}"
        for each in again
        if each.policy in _AT_MOST_ONCE and any(other.began > each.began + 0.001 for other in attempts)
    ]


def _ended(run: EngineRun, attempts: Sequence[Attempt], row: Record) -> list[str]:
    """What was wrong about its end, where that is known: it was handed over once, taken, and reported in time."""
    if len(attempts) != 1 or not attempts[0].taken or not attempts[0].in_time(_RESPONSE_S):
        return []
    if row["code"] == details.UNKNOWN and attempts[0].policy in _AT_MOST_ONCE and not run.calm:
        return []  # its process died, stalled or lost the database before it had stored the answer
    copies = [copy for copy in attempts[0].copies if copy.status == 0]
    report_by = (row["report_by"] - run.clock.at(0)).total_seconds()
    if len(copies) != copies[0].of or not all(copy.receipts for copy in copies):
        return []
    if max(at for copy in copies for _, at in copy.receipts[:1]) > report_by - _HEEDED_S * (2 if run.lag_s else 1):
        return []
    delivered = all(copy.receipts[0][0] is MessageState.DELIVERED for copy in copies)
    if delivered != (row["state"] == State.DELIVERED) or (row["code"] == 5002):
        told = [(copy.number, copy.receipts) for copy in copies]
        return [f"ended with {row['code']} after receipts {told}, to be reported by {report_by}"]
    return []


async def _texts(run: EngineRun) -> list[str]:
    wrong: list[str] = []
    found: dict[str, list[str]] = {}
    for row in await run.arena.look("SELECT body FROM sms_inbound"):
        which = WHICH.search(row["body"])
        found.setdefault(which[0] if which else "", []).append(row["body"])
    late = {
        which[0]
        for smsc in run.smscs
        for each in smsc.deliveries
        if len(each.times) > 1 and each.times[-1] - each.times[0] > _REPEAT_S and (which := _which(each.message))
    }
    for which, arrival in run.brought.items():
        bodies = found.pop(which, [])
        if any(body != arrival.text for body in bodies) or not bodies or (len(bodies) > 1 and which not in late):
            wrong.append(f"the text {which} is there {len(bodies)} times: {[len(body) for body in bodies]}")
    return wrong + [f"{which} is no text of a phone" for which in found]


def _which(message: Any) -> Any:
    return WHICH.search(message.short_message.decode("latin-1"))
