"""What goes wrong in a run. Each fault begins, lasts, and is over; which, when and how long is drawn from the seed."""

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from random import Random
from typing import Any
from urllib.parse import quote

from tests.chaos.cables import Line
from tests.chaos.customer import ACCOUNTS, Customer
from tests.chaos.ledger import Halt, Held, Ledger
from tests.chaos.phones import Phones
from tests.chaos.senders import PACED, SLOW, SLOW_PER_S, Senders
from tests.chaos.stage import Machine, Program, SmscProgram, Stage
from tests.chaos.webhook import Webhook

from landline.protocols.smpp import status
from landline.protocols.smpp.commands import MessageState
from landline.testing.admin import AdminError

_GAP_S = 3.0
_AT_ONCE = 3


class Faults:
    """See the module. A thing that a fault has in its hands is left alone by the others."""

    def __init__(
        self,
        stage: Stage,
        ledger: Ledger,
        random: Random,
        webhooks: Sequence[Webhook],
        customers: Sequence[Customer],
        senders: Senders,
        phones: Phones,
    ) -> None:
        self.stage = stage
        self.ledger = ledger
        self.random = random
        self.webhooks = webhooks
        self.customer, self.kiosk = customers
        self.senders = senders
        self.phones = phones
        self.counts: dict[str, int] = {}
        self.busy: set[str] = set()
        self._running: set[asyncio.Task[None]] = set()

    async def run(self, seconds: float, only: list[str], kinds: "Mapping[Fault, float]") -> None:
        """Let things go wrong for so long, then until all is over that has begun."""
        chosen = {name: weight for name, weight in kinds.items() if not only or name.__name__ in only}
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            while asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(min(self.random.expovariate(1 / _GAP_S), 3 * _GAP_S))
                if len(self._running) >= _AT_ONCE:
                    continue
                (fault,) = self.random.choices(list(chosen), list(chosen.values()))
                self.counts[fault.__name__] = self.counts.get(fault.__name__, 0) + 1
                task = asyncio.create_task(fault(self), name=fault.__name__)
                self._running.add(task)
                task.add_done_callback(self._running.discard)
        finally:
            for outcome in await asyncio.gather(*self._running, return_exceptions=True):
                if isinstance(outcome, BaseException):
                    raise outcome

    def while_s(self, short: float, long: float) -> float:
        return round(self.random.uniform(short, long), 1)

    async def hold(
        self, name: str, what: str, seconds: float, begin: Callable[[], Any], end: Callable[[], Any]
    ) -> None:
        """`begin`, wait, `end`; nothing where `name` is in another's hands."""
        if name in self.busy:
            return
        self.busy.add(name)
        held = Held(what, time.time())
        self.ledger.held.append(held)
        try:
            told = begin()
            self.ledger.fault(f"{what} for {seconds} s{f' ({told})' if isinstance(told, str) else ''}")
            await asyncio.sleep(seconds)
            end()
            held.until = time.time()
            self.ledger.fault(f"over: {what}")
        finally:
            self.busy.discard(name)

    def machine(self) -> Machine:
        return self.random.choice(self.stage.machines)

    def smsc(self) -> SmscProgram:
        return self.random.choice(list(self.stage.smscs.values()))

    def line(self) -> Line:
        return self.random.choice(self.stage.lines)

    async def away(self, program: Program, number: signal.Signals, seconds: float, which: int | None = None) -> None:
        """End a program, and leave it so for a while."""

        def begin() -> str:
            program.wanted = False
            return program.tell(number, which)

        def end() -> None:
            program.wanted = True

        await self.hold(program.name, f"{number.name} of {program.name}", seconds, begin, end)


async def kill_a_process(faults: Faults) -> None:
    """One process of a machine, which starts it again by itself."""
    machine, which = faults.machine(), faults.random.randrange(4)
    await faults.hold(
        machine.name,
        f"SIGKILL of a process of {machine.name}",
        1.0,
        lambda: machine.tell(signal.SIGKILL, which),
        lambda: None,
    )


async def kill_a_machine(faults: Faults) -> None:
    await faults.away(faults.machine(), signal.SIGKILL, faults.while_s(0, 25))


async def end_a_machine(faults: Faults) -> None:
    await faults.away(faults.machine(), signal.SIGTERM, faults.while_s(0, 15), 0)


async def replace_all(faults: Faults) -> None:
    """As a new version is brought out: one machine after the other ends in order and starts again."""
    for machine in faults.random.sample(faults.stage.machines, len(faults.stage.machines)):
        await faults.away(machine, signal.SIGTERM, 8.0, 0)


async def hang_up(faults: Faults) -> None:
    """SIGHUP: certificates are read anew."""
    machine = faults.machine()
    await faults.hold(
        machine.name, f"SIGHUP of {machine.name}", 0.1, lambda: machine.tell(signal.SIGHUP, 0), lambda: None
    )


async def stop_a_process(faults: Faults) -> None:
    machine, which = faults.machine(), faults.random.randrange(4)
    await faults.hold(
        machine.name,
        f"SIGSTOP of a process of {machine.name}",
        faults.while_s(0.2, 25),
        lambda: machine.tell(signal.SIGSTOP, which),
        machine.wake,
    )


async def stop_a_machine(faults: Faults) -> None:
    machine = faults.machine()
    await faults.hold(
        machine.name,
        f"SIGSTOP of {machine.name}",
        faults.while_s(0.2, 30),
        lambda: machine.tell(signal.SIGSTOP),
        machine.wake,
    )


async def end_postgres(faults: Faults) -> None:
    """An immediate shutdown."""
    await faults.away(faults.stage.postgres, signal.SIGQUIT, faults.while_s(0, 12), 0)


async def kill_postgres(faults: Faults) -> None:
    await faults.away(faults.stage.postgres, signal.SIGKILL, faults.while_s(0, 12))


async def kill_a_backend(faults: Faults) -> None:
    """PostgreSQL ends all connections then, and recovers."""
    which = faults.random.randrange(1, 40)
    program = faults.stage.postgres
    await faults.hold(
        program.name,
        "SIGKILL of a process of PostgreSQL",
        1.0,
        lambda: program.tell(signal.SIGKILL, which),
        lambda: None,
    )


async def stop_postgres(faults: Faults) -> None:
    program = faults.stage.postgres
    await faults.hold(
        program.name,
        "SIGSTOP of PostgreSQL",
        faults.while_s(0.3, 12),
        lambda: program.tell(signal.SIGSTOP),
        program.wake,
    )


async def stop_postgres_for_long(faults: Faults) -> None:
    """Longer than leases last, than anybody waits for an answer, and than its connections are thought to be well."""
    program = faults.stage.postgres
    await faults.hold(
        program.name,
        "a long SIGSTOP of PostgreSQL",
        faults.while_s(12, 60),
        lambda: program.tell(signal.SIGSTOP),
        program.wake,
    )


async def kill_nats(faults: Faults) -> None:
    if faults.stage.nats is not None:
        await faults.away(faults.stage.nats, signal.SIGKILL, faults.while_s(0, 10))


async def set_the_clocks_back(faults: Faults) -> None:
    """By two minutes in all at most: requests are signed by a clock that goes on."""
    seconds = faults.while_s(1, 40)
    if faults.stage.clock is not None and faults.stage.behind_s + seconds < 120:
        faults.stage.set_back(seconds)
        faults.ledger.fault(f"all clocks are set back by {seconds} s, {faults.stage.behind_s} s in all")


async def kill_an_smsc(faults: Faults) -> None:
    await faults.away(faults.smsc(), signal.SIGKILL, faults.while_s(0, 15))


async def stop_an_smsc(faults: Faults) -> None:
    smsc = faults.smsc()
    await faults.hold(
        smsc.name,
        f"SIGSTOP of {smsc.name}",
        faults.while_s(0.5, 15),
        lambda: smsc.tell(signal.SIGSTOP),
        smsc.wake,
    )


async def cut_an_smsc(faults: Faults) -> None:
    smsc = faults.smsc()
    await faults.hold(smsc.name, f"{smsc.name} cuts its connections", 0.5, lambda: smsc.say(cut=True), lambda: None)


async def misconduct(faults: Faults) -> None:
    """An SMSC that throttles, refuses, is slow, silent or odd."""
    smsc = faults.smsc()
    name = faults.random.choice(list(CONDUCTS))
    await faults.hold(
        smsc.name,
        f"{smsc.name} {name}",
        faults.while_s(2, 15),
        lambda: smsc.say(conduct=CONDUCTS[name]),
        lambda: smsc.say(conduct={}),
    )


async def cut_a_line(faults: Faults) -> None:
    line = faults.line()
    await faults.hold(line.name, f"the line {line.name} is cut", 0.1, line.cut, lambda: None)


async def close_a_line(faults: Faults) -> None:
    line = faults.line()
    await faults.hold(line.name, f"the line {line.name} refuses", faults.while_s(1, 20), line.close, line.heal)


async def silence_a_line(faults: Faults) -> None:
    line, cut = faults.line(), faults.random.random() < 0.5
    await faults.hold(
        line.name,
        f"the line {line.name} is silent",
        faults.while_s(1, 25),
        line.silence,
        lambda: line.heal(cut=cut),
    )


async def cut_a_machine_off(faults: Faults) -> None:
    """From everything at once."""
    machine, cut = faults.machine(), faults.random.random() < 0.5
    assert machine.lines is not None
    lines = machine.lines.every()
    await faults.hold(
        f"lines of {machine.name}",
        f"{machine.name} is cut off",
        faults.while_s(1, 25),
        lambda: [line.silence() for line in lines] and None,
        lambda: [line.heal(cut=cut) for line in lines] and None,
    )


async def moody_webhook(faults: Faults) -> None:
    """One of them; the others' events come all the same."""
    mood = faults.random.choice(["errors", "hangs", "cuts", "amnesia", "slow"])
    webhook = faults.random.choice(faults.webhooks)

    def turn(to: str) -> None:
        webhook.mood = to

    seconds = faults.while_s(1, faults.random.choice([9, 40]))
    await faults.hold(webhook.name, f"{webhook.name} {mood}", seconds, lambda: turn(mood), lambda: turn("well"))


async def moody_customer(faults: Faults) -> None:
    mood = faults.random.choice(["deaf", "busy", "late", "paused"])
    bind = faults.random.choice(faults.customer.binds)
    await faults.hold(
        f"customer {id(bind)}",
        f"a bind of the customer at {bind.machine.name} is {mood}",
        faults.while_s(1, 20),
        lambda: bind.turn(mood),
        lambda: bind.turn("well"),
    )


async def cut_the_customer(faults: Faults) -> None:
    binds = faults.random.sample(faults.customer.binds, faults.random.randrange(1, len(faults.customer.binds) + 1))
    await faults.hold(
        "customer",
        f"{len(binds)} binds of the customer are cut",
        0.1,
        lambda: [each.cut() for each in binds] and None,
        lambda: None,
    )


async def remake_the_kiosk(faults: Faults) -> None:
    """Its account is deleted, and another one made under its system id, while it submits and waits for receipts."""
    path, kiosk = "/resources/local/smpp-accounts", faults.kiosk
    if kiosk.system_id in faults.busy:
        return
    faults.busy.add(kiosk.system_id)
    while True:
        try:
            await faults.stage.ask("DELETE", f"{path}/{kiosk.system_id}")
        except AdminError as error:
            if error.status != 404:
                raise
        deleted_at = time.time()
        await asyncio.sleep(faults.while_s(0, 2))
        try:
            made = await faults.stage.ask("POST", path, {"systemId": kiosk.system_id, **ACCOUNTS[kiosk.system_id]})
            break
        except AdminError as error:  # made already, in an answer that was lost
            if error.status != 409:
                raise
    kiosk.remade(made["password"], deleted_at)
    faults.ledger.fault("the account of the kiosk is another one")
    faults.busy.discard(kiosk.system_id)


async def burst(faults: Faults) -> None:
    count = faults.random.choice([200, 400, 800])
    faults.ledger.fault(f"{count} texts at once")
    await faults.senders.burst(count)


async def campaign(faults: Faults) -> None:
    """A crowd, behind which nobody is to wait."""
    count = faults.random.choice([1500, 2500])
    faults.ledger.fault(f"{count} texts of a paced number")
    await faults.senders.burst(count, PACED)


async def crowds(faults: Faults) -> None:
    """Many at once."""
    faults.ledger.fault(f"100 texts of each of {len(SLOW)} slow numbers")
    for number in SLOW:
        await faults.senders.burst(100, number)


async def leave_a_campaign(faults: Faults) -> None:
    """A crowd, some of whom say STOP while their texts wait."""
    faults.ledger.fault("1500 texts of a paced number, and some leave")
    made = await faults.senders.burst(1500, PACED)
    await faults.phones.leave([asked.to for asked in faults.random.sample(made, 60)], PACED)


async def halt_a_campaign(faults: Faults) -> None:
    """Behind which others wait as well; it goes on later."""
    if "halted" in faults.busy:
        return
    faults.busy.add("halted")
    told = faults.random.choice(["autumn", "spring"])
    faults.ledger.fault(f"{told} is halted, with 400 texts")
    await faults.senders.burst(400)
    path = "/resources/local/sms/settings"
    await faults.stage.ask("PATCH", path, {"haltedTags": {told: True}})
    halt = Halt(told, time.time())
    faults.ledger.halts.append(halt)
    await asyncio.sleep(faults.while_s(8, 20))
    halt.until = time.time()
    await faults.stage.ask("PATCH", path, {"haltedTags": {told: None}})
    halt.over = time.time()
    faults.ledger.fault(f"{told} goes on")
    faults.busy.discard("halted")


async def release_a_number(faults: Faults) -> None:
    """A new one, while most of what it is to send waits for its rate."""
    number = f"+1844777{faults.random.randrange(10_000):04d}"
    path = f"/resources/local/numbers/{quote(number)}"
    with suppress(AdminError):  # there already, by an answer that was lost
        await faults.stage.ask("POST", "/resources/local/numbers", {"number": number})
    await faults.stage.ask("PUT", f"{path}/rate", {"messagesPerSecond": SLOW_PER_S})
    faults.ledger.fault(f"{number} is new, and has 200 texts to send")
    await faults.senders.burst(200, number)
    await asyncio.sleep(faults.while_s(0, 10))
    with suppress(AdminError):  # as before
        await faults.stage.ask("DELETE", path)
    faults.ledger.halts.append(Halt(number, time.time()))
    faults.ledger.fault(f"{number} is released")


CONDUCTS: dict[str, dict[str, Any]] = {
    "throttles": {"rate_per_s": 2},
    "is full": {"rate_per_s": 2, "throttle_status": status.ESME_RMSGQFUL},
    "refuses some for now": {"rules": [{"every": 3, "status": status.ESME_RSYSERR}]},
    "refuses some for good": {"rules": [{"every": 5, "status": status.ESME_RINVDSTADR}]},
    "refuses what another may take": {"rules": [{"every": 3, "status": status.ESME_RX_P_APPN}]},
    "is silent to some": {"rules": [{"every": 4, "silent": True}]},
    "is slow": {"response_delay_s": 1.0},
    "answers some too late": {"rules": [{"every": 3, "response_delay_s": 7.0}]},
    "fails some": {"rules": [{"every": 3, "state": MessageState.UNDELIVERABLE}]},
    "reports twice": {"receipt_copies": 2},
    "reports late": {"receipt_delay_s": 5.0},
    "reports very late, backwards and thrice": {
        "receipt_delay_s": 20.0,
        "receipts_backwards": True,
        "receipt_copies": 3,
    },
    "reports before it answers": {"receipts": "before", "response_delay_s": 0.5},
    "unbinds often": {"unbind_after": 5},
    "binds nobody": {"bind_status": status.ESME_RBINDFAIL},
}

Fault = Callable[[Faults], Coroutine[Any, Any, None]]
FAULTS: dict[Fault, float] = {
    kill_a_process: 3,
    kill_a_machine: 2,
    end_a_machine: 2,
    replace_all: 1,
    hang_up: 0.5,
    stop_a_process: 3,
    stop_a_machine: 2,
    end_postgres: 1,
    kill_postgres: 1,
    kill_a_backend: 1,
    stop_postgres: 1.5,
    stop_postgres_for_long: 0.4,
    kill_nats: 1,
    set_the_clocks_back: 2,
    kill_an_smsc: 2,
    stop_an_smsc: 2,
    cut_an_smsc: 1,
    misconduct: 6,
    cut_a_line: 3,
    close_a_line: 2,
    silence_a_line: 3,
    cut_a_machine_off: 1.5,
    moody_webhook: 3,
    moody_customer: 1.5,
    cut_the_customer: 1,
    remake_the_kiosk: 1.5,
    burst: 2,
    campaign: 0.7,
    crowds: 0.5,
    leave_a_campaign: 0.7,
    halt_a_campaign: 1,
    release_a_number: 0.7,
}
