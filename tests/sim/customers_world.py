"""One seeded run of the gateway with customers who speak SMPP: as `world`, with a listener and a worker for customers
in each process, and what must be true of what they were told, brought and promised."""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from tests.sim.arena import Simulation
from tests.sim.customers import GOOD, MANNERS, Customer, Front, Text, message_of
from tests.sim.database import Arena
from tests.sim.invariants import broken
from tests.sim.loop import SimLoop
from tests.sim.world import GEOGRAPHIC, HANDSETS, NAME, RESOURCE, THINGS, TOLL_FREE, Machine, Run

from landline.engines.bus import MemoryBus
from landline.engines.smpp.listener import ListenerConfig, SmppListener, server, shares
from landline.engines.smpp.listener.shares import Together
from landline.ports.esme_gateway import Account, ReportWish
from landline.ports.sms_carrier import Arrival
from landline.protocols.smpp import texts
from landline.protocols.smpp.commands import MessageState
from landline.protocols.smpp.pdu import ShortMessage
from landline.protocols.smpp.texts import Alphabet, LongStyle
from landline.services.sms import records_accounts, records_esme
from landline.services.sms.esme import Esme, PlannedSends
from landline.services.sms.esme_worker import EsmeWorker
from landline.services.sms.model import details, esme
from landline.services.sms.model.esme import EsmeAccount
from landline.services.sms.model.messages import State
from landline.store.database import Record

_STYLES = (LongStyle.UDH8, LongStyle.UDH16, LongStyle.SAR)
_FAULTS = (Run.kill, Run.stall, Run.pause, Run.lag, Run.end, Run.lose_database, Run.deafen)


def run(simulation: Simulation, seed: int) -> list[str]:
    """What is wrong after the run of `seed`. What only renews and sweeps does so seldom: statements are what a run
    costs."""
    with (
        patch.object(server, "_SWEEP_S", 1200.0),
        patch.object(shares, "LOOK", timedelta(seconds=400)),
        patch.object(shares, "LEASE", timedelta(seconds=1200)),
    ):
        return simulation.run(seed, world=CustomersRun, judge=kept)


class Trusting(Esme):
    """Lets in whoever has an account: passwords are hashed in threads, which no seed rules."""

    async def authenticate(self, system_id: str, password: str, address: str) -> Account | None:
        found = await self._accounts.find(system_id)
        return found.right if found is not None and found.enabled else None


@dataclass(eq=False)
class Door(Front):
    """What a process has for customers."""

    process: Any
    machine: Machine
    listener: SmppListener
    worker: EsmeWorker
    running: "asyncio.Task[None]"


class CustomersRun(Run):
    """See the module."""

    report_timeout_s = 120

    def __init__(self, seed: int, arena: Arena, loop: SimLoop, callout: Any) -> None:
        super().__init__(seed, arena, loop, callout)
        self.calm = self.dice.random() < 0.25 or not os.environ.get("FAULTS")
        """Nothing goes wrong but carriers. All else in `make sim` alone: such runs depend on PYTHONHASHSEED still."""
        if self.calm:
            self.trouble, self.skew_s, self.lag_s = 0.0, 0.0, 0.0
        self.doors: list[Door] = []
        self.numbered = 0
        self.arrived: dict[str, str] = {}
        """Which number each phone's text was for."""
        self.customers = [self._customer(name) for name in ("shop", "bank")[: self.dice.choice([1, 2])]]

    def _customer(self, name: str) -> Customer:
        manners = GOOD if self.calm else self.dice.choice(MANNERS)
        return Customer(name, manners, random.Random(self.dice.random()), self.open_doors)

    def open_doors(self) -> list[Front]:
        return [door for door in self.doors if not door.process.dead and not door.machine.ending]

    def things(self) -> Sequence[tuple[Callable[[Any], Awaitable[None]], float]]:
        left_out = {Run.send, Run.repeat, Run.cancel, Run.fold} | set(_FAULTS if self.calm else ())
        mine: list[tuple[Callable[[Any], Awaitable[None]], float]] = [
            (CustomersRun.submit, 10),
            (CustomersRun.take_back, 0.7),
            (CustomersRun.unbind, 0.7),
        ]
        if not self.calm:
            mine += [(CustomersRun.drop, 0.8), (CustomersRun.vanish, 0.5)]
        if not self.calm:
            mine.append((CustomersRun.sulk, 0.4))
        kept = [(getattr(type(self), each.__name__), weight) for each, weight in THINGS if each not in left_out]
        return [*mine, *kept]

    # Processes

    async def boot(self) -> Machine:
        machine = await super().boot()
        gateway = machine.gateway
        with self.inside(machine.process):
            accounts, out, clock, database = gateway.accounts, gateway.customers, gateway.clock, gateway.database
            sends = PlannedSends(gateway.sms, clock)
            front = Trusting(database, clock, accounts, out, sends, gateway.taking_back.cancel)
            binds = Together(database, machine.changes, MemoryBus(), clock, gateway.owner)
            listener = SmppListener(
                ListenerConfig(port=None, enquire_link_s=600.0), front, database, clock, shares=binds
            )
            worker = EsmeWorker(database, clock, machine.changes, accounts, front, out, listener, gateway.owner)
            await listener.start()
        running = self.spawn(machine.process, self._serve(worker))
        self.doors.append(Door(machine.process, machine, listener, worker, running))
        return machine

    async def _serve(self, worker: EsmeWorker) -> None:
        try:
            await worker.run()
        except Exception as error:
            self.wrong.append(f"a worker ended: {error!r} {error.__cause__!r} {getattr(error, 'exceptions', '')}")

    def bury(self) -> None:
        dead = [door for door in self.doors if door.process.dead]
        self.doors = [door for door in self.doors if not door.process.dead]
        super().bury()
        for door in dead:
            for customer in self.customers:
                for link in [link for link in customer.links if link.process is door.process]:
                    link.lost()
        if dead and self.open_doors() and self.dice.random() < 0.5:
            heir = self.dice.choice(self.doors)
            self.do(heir.machine, heir.worker.succeed([door.machine.gateway.owner for door in dead]))

    async def _end(self, machine: Machine, patience_s: float) -> None:
        door = next(door for door in self.doors if door.machine is machine)
        await door.listener.close(patience_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await door.worker.finish()
        door.running.cancel()
        await super()._end(machine, patience_s)

    # What happens

    async def prepare(self) -> None:
        await super().prepare()
        for customer in self.customers:
            account = EsmeAccount(
                RESOURCE,
                customer.system_id,
                1,
                True,
                (),
                self.dice.choice([5, 50]),
                100,
                None,
                True,
                ("*",),
                self.clock.now(),
                Alphabet.GSM,
            )
            stored = records_accounts.Stored(account, b"")
            assert await self.arena.act(lambda side, stored=stored: records_accounts.insert_account(side, stored))
            customer.come()

    async def submit(self) -> None:
        customer = self.dice.choice(self.customers)
        self.numbered += 1
        long = self.dice.random() < 0.35
        body = f"{customer.system_id} {self.numbered}" + (" and on" * self.dice.choice([30, 50]) if long else "")
        wish = self.dice.choice([ReportWish.ALWAYS, ReportWish.ALWAYS, *ReportWish])
        sender = self.dice.choice([TOLL_FREE, GEOGRAPHIC, NAME])
        at = self.dice.choice(["000000000040000R", "000000000300000R"]) if self.dice.random() < 0.1 else ""
        parts = texts.write(body, self.dice.choice(_STYLES), Alphabet.GSM, self.numbered % 256)
        to = self.dice.choice(HANDSETS)
        messages = [
            ShortMessage(
                source_addr_ton=5 if sender == NAME else 1,
                source_addr=sender.removeprefix("+"),
                dest_addr_ton=1,
                destination_addr=to.removeprefix("+"),
                schedule_delivery_time=at,
                registered_delivery=int(wish),
                esm_class=part.esm_class,
                data_coding=part.data_coding,
                short_message=part.short_message,
                tlvs=part.tlvs,
            )
            for part in parts
        ]
        customer.send(Text(body, wish, messages))

    async def text(self) -> None:
        self.texts += 1
        to = self.dice.choice([TOLL_FREE, GEOGRAPHIC])
        arrival = Arrival(f"mo{self.texts}", self.dice.choice(HANDSETS), to, f"hello {self.texts}", 1, self.clock.now())
        self.arrived[arrival.text] = to
        smsc = self.dice.choice(self.smscs)
        for _ in range(self.dice.choice([1, 1, 2])):
            smsc.owed += 1
            smsc.text(arrival, smsc.acknowledged)

    async def take_back(self) -> None:
        customer = self.dice.choice(self.customers)
        waiting = [text for text in customer.texts if text.parts[0].schedule_delivery_time]
        if waiting:
            customer.cancel(self.dice.choice(waiting))

    async def unbind(self) -> None:
        self.dice.choice(self.customers).unbind()

    async def drop(self) -> None:
        customer = self.dice.choice(self.customers)
        if customer.links:
            self.dice.choice(customer.links).drop()

    async def vanish(self) -> None:
        self.dice.choice(self.customers).vanish(self.dice.choice([10.0, 100.0, 1000.0]))

    async def sulk(self) -> None:
        """A customer takes nothing for a while."""
        customer = self.dice.choice(self.customers)
        customer.sulks = True
        self.smscs[0].later(self.dice.choice([5.0, 40.0]), lambda: setattr(customer, "sulks", False))

    # The end

    async def finish(self) -> None:
        if not self.calm and self.dice.random() < 0.1:
            self.customers[0].vanish(1e9)
            await self.clock.advance(timedelta(hours=3))
        for customer in self.customers:
            customer.manners, customer.sulks = GOOD, False
            if customer.away:
                customer.come_back()
        await super().finish()

    async def left(self) -> list[str]:
        found = await super().left()
        rows = await self.arena.look(
            "SELECT 'receipt or text ' || out_id AS what FROM sms_esme_out"
            " UNION ALL SELECT 'part ' || reference FROM smpp_inbound_parts WHERE NOT done"
        )
        pending = [f"{len(each.pending)} submissions" for each in self.customers if each.pending]
        return found + [row["what"] for row in rows] + pending


async def kept(run: CustomersRun) -> list[str]:
    """Every promise to customers, and to all others, that the run broke."""
    wrong = await broken(run)
    rows = await run.arena.look(
        f"SELECT m.*, {records_esme._CANCELED.format(message='m')} AS canceled FROM sms_messages m"
    )
    by_body: dict[str, list[Record]] = {}
    for row in rows:
        by_body.setdefault(row["body"], []).append(row)
    for customer in run.customers:
        wrong += [f"{customer.system_id}: {each}" for each in _promises(run, customer, by_body)]
        if run.calm and customer.refused:
            wrong.append(f"{customer.system_id} was refused with {customer.refused}")
    wrong += [f"binds are kept: {dict(row)}" for row in await _binds(run)]
    return wrong


_SAID_AGAIN = timedelta(seconds=10)
"""By then who could not reach the database has said what is bound."""


async def _binds(run: CustomersRun) -> Sequence[Record]:
    """What the database says is bound and is not, of processes that are there, once they could say so again."""
    await run.clock.advance(_SAID_AGAIN)
    found = await run.arena.look("SELECT system_id, owner, binds FROM smpp_customer_binds WHERE binds > 0")
    bound = {
        (customer.system_id, machine.gateway.owner): sum(
            link.bound and link.process is machine.process for link in customer.links
        )
        for customer in run.customers
        for machine in run.machines
    }
    return [row for row in found if row["binds"] != bound.get((row["system_id"], row["owner"]), row["binds"])]


def _promises(run: CustomersRun, customer: Customer, by_body: dict[str, list[Record]]) -> list[str]:
    wrong: list[str] = []
    known: set[str] = set()
    for text in customer.texts:
        rows = {row["message_id"]: row for row in by_body.get(text.body, ())}
        wrong += _one(run, customer, text, rows)
        known |= {told for each in text.told for told in each}
        if not text.heard_all:  # of an answer that was lost
            known |= {told for told in customer.receipts if message_of(told) in rows or "-" in told}
    wrong += [f"a receipt names {told}, which it was never told" for told in customer.receipts if told not in known]
    for body in run.arrived:
        times = customer.received.get(body, 0)
        if times == 0 or (run.calm and times > 1):
            wrong.append(f"the text {body} was brought {times} times")
    return wrong + [f"{each} is no text of a phone" for each in customer.received if each not in run.arrived]


def _one(run: CustomersRun, customer: Customer, text: Text, rows: dict[Any, Record]) -> list[str]:
    wrong: list[str] = []
    told = [(each, message_of(each)) for ids in text.told for each in ids]
    if len(rows) > 1 + max(text.unsure):
        wrong.append(f"{text.body[:12]} was submitted {text.attempts} times and is there {len(rows)} times")
    whole = set.intersection(*({message_of(each) for each in ids} for ids in text.told))
    wrong += [f"{each} of {text.body[:12]} was accepted and is lost" for each in whole if each not in rows]
    for each, message_id in told:
        states = customer.receipts.get(each, [])
        expected = _expected(text, rows.get(message_id))
        if expected is None and states:
            wrong.append(f"{each} of {text.body[:12]} was reported {states}, which it did not ask for")
        elif expected is not None and set(states) != {expected}:
            wrong.append(f"{each} of {text.body[:12]} was reported {states}, not {expected}")
        elif run.calm and len(states) > 1:
            wrong.append(f"{each} of {text.body[:12]} was reported {len(states)} times")
    if text.canceled and not any(row["code"] == details.CANCELED for row in rows.values()):
        wrong.append(f"{text.body[:12]} was taken back and went out")
    return wrong


def _expected(text: Text, row: Record | None) -> int | None:
    """The state that a receipt says, if there is to be one."""
    delivered = row is not None and row["state"] == State.DELIVERED
    if text.wish not in (ReportWish.ALWAYS, ReportWish.ON_SUCCESS if delivered else ReportWish.ON_FAILURE):
        return None
    return int(MessageState.EXPIRED if row is None else esme.receipt_state(delivered, row["code"], row["canceled"]))
