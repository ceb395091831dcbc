"""What the people of a resource do in the admin API in the middle of everything: they enter opt-outs and lift them,
change a pool's senders, prices and spend caps, and erase what is stored of phones; and the texts that show whether that
was heeded. Judged by tests/chaos/judge_office.py.

What is asked for once more, because no answer came, may be done twice, the second time after something that was asked
for later: whose last change is in doubt is not looked at any more.
"""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from http.client import HTTPException
from itertools import count
from random import Random
from typing import Any
from urllib.parse import quote

from tests.chaos.ledger import Asked, Ledger
from tests.chaos.senders import Senders
from tests.chaos.stage import BINDS, Stage

from landline.testing.admin import AdminError

THRIFT, THRIFTY = "thrift", "+18665550100"
"""A resource of its own, which has a spend cap, and its number."""
FORGETFUL = "+18665550101"
"""Who writes to phones that are erased."""
TURNING = "turns"
"""A sticky pool whose senders come and go."""
FIRST_CAP = Decimal("0.4")
_PRICES = ["0.01", "0.0125", "0.02", "0.005", "0.0311"]
_TIMEOUT_S = 8.0
_TOLD_S = 150.0
"""What ended two minutes ago can be erased (docs/guides/messages.md): some of the first texts of each run."""


@dataclass
class Change:
    """Of a setting: it may be in force from `began` on, and is from `ended` on; `math.inf` when no answer came."""

    value: Any
    began: float
    ended: float = math.inf


@dataclass
class Erasure:
    """Of a phone: when it was asked for, when all of it was answered, and what that said was left."""

    phone: str
    began: float
    ended: float = math.inf
    left: set[str] = field(default_factory=set[str])


@dataclass
class Kept:
    """What was changed, for the judge."""

    pools: list[Change] = field(default_factory=list[Change])
    prices: list[Change] = field(default_factory=list[Change])
    caps: list[Change] = field(default_factory=list[Change])
    erasures: list[Erasure] = field(default_factory=list[Erasure])


class Office:
    """See the module."""

    def __init__(self, stage: Stage, ledger: Ledger, random: Random, senders: Senders, newcomer: str) -> None:
        self.stage = stage
        self.ledger = ledger
        self.random = random
        self.senders = senders
        self.stopping = False
        self.kept = Kept()
        self._pool = [*senders.senders, newcomer]
        self._phones = count()
        self._written: list[str] = []
        """Phones that were written to, to be erased."""
        self._began = time.monotonic()

    def loops(self) -> list[Callable[[], Any]]:
        return [self._list, self._list, self._turn, self._spend, self._spend, self._save, self._forget]

    async def furnish(self) -> None:
        """Before the traffic begins, while nothing goes wrong."""
        for name in (FORGETFUL,):
            await self.stage.ask("POST", "/resources/local/numbers", {"number": name})
        await self.stage.ask("POST", "/resources", {"name": THRIFT})
        await self.stage.ask("POST", f"/resources/{THRIFT}/numbers", {"number": THRIFTY})
        now = time.time()
        await self.stage.ask("PATCH", f"/resources/{THRIFT}/sms/settings", _cap(FIRST_CAP))
        self.kept.caps.append(Change(FIRST_CAP, now, now))
        for carrier in BINDS:
            await self.stage.ask("PUT", f"/sms/prices/{carrier}/{quote('+')}", {"price": _PRICES[0]})
            self.kept.prices.append(Change((carrier, _PRICES[0]), now, now))
        await self.stage.ask("PUT", _pool_path(), {"senders": self._pool[:2], "sticky": True})
        self.kept.pools.append(Change(self._pool[:2], now, now))

    async def finish(self) -> None:
        """When all has settled: erase those phones whose texts ended long enough ago."""
        await asyncio.sleep(max(0.0, self._began + _TOLD_S - time.monotonic()))
        for phone in self._written:
            await self._erase(phone)

    async def _rest(self, mean_s: float) -> None:
        await asyncio.sleep(min(self.random.expovariate(1 / mean_s), 4 * mean_s))

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer of one machine, or None: nobody knows whether it was done, or ever will be."""
        machine = self.random.choice(self.stage.machines)
        try:
            answer = await asyncio.to_thread(machine.admin.call, method, path, body, timeout_s=_TIMEOUT_S)
        except AdminError as error:
            self.ledger.refusals[f"office {method} {error.status}"] += 1
            missed = any(f"There is no carrier '{name}'" in str(error) for name in self.stage.plan.missed)
            if error.status not in (0, 503) and not missed:
                self.ledger.troubles.append(f"office: {error}")
            return None
        except HTTPException:
            return None
        return answer if answer is not None else {}

    async def _list(self) -> None:
        """Opt-outs entered and lifted, with texts that must not arrive, and that must not be blocked."""
        while not self.stopping:
            phone, ours = f"+1425666{1000 + next(self._phones):04d}", self.random.choice(self.senders.senders)
            pair = {"value": [{"from": ours, "to": phone}]}
            sure = True
            while sure and not self.stopping:
                sure = await self._ask("POST", "/resources/local/opt-outs", pair) is not None
                for _ in range(2 if sure else 0):
                    await self._expect(phone, ours, blocked=True)
                    await self._rest(1.0)
                sure = sure and await self._ask("POST", "/resources/local/opt-outs:remove", pair) is not None
                if sure:
                    await self._expect(phone, ours, blocked=False)
                await self._rest(2.0)
            await self._rest(2.0)

    async def _expect(self, phone: str, ours: str, *, blocked: bool) -> None:
        token = self.ledger.token("o")
        await self.senders.send(token, [phone], f"{token} still there?", kind="optout", sender=ours, blocked=blocked)

    async def _turn(self) -> None:
        """A pool whose senders come and go; one of its readers has opted out from whoever wrote to him, for good."""
        readers = [f"+1425889{number:04d}" for number in range(12)]
        gone: set[str] = set()
        while not self.stopping:
            token = self.ledger.token("q")
            some = self.random.sample(readers, 4)
            await self.senders.send(token, some, f"{token} in turn", kind="turns", sender=f"pool:{TURNING}")
            for phone in gone:
                await self._expect(phone, f"pool:{TURNING}", blocked=True)
            if len(gone) < 4 and (phone := await self._leaves(readers[0])):
                gone.add(phone)
                readers = [f"+1425889{100 + next(self._phones):04d}", *readers[1:]]
            await self._rest(1.0)
            senders = self.random.sample(self._pool, self.random.choice([1, 2, 3]))
            change = Change(senders, time.time())
            self.kept.pools.append(change)
            if await self._ask("PUT", _pool_path(), {"senders": senders, "sticky": True}) is None:
                return  # which of the pool's states comes last is in doubt from here on
            change.ended = time.time()
            await self._rest(1.5)

    async def _leaves(self, phone: str) -> str | None:
        """That phone, when it was written to from the pool and has opted out from the sender it knows."""
        token = self.ledger.token("q")
        made = await self.senders.send(token, [phone], f"{token} hello", kind="turns", sender=f"pool:{TURNING}")
        found = await self._ask("GET", f"/resources/local/messages?to={quote(phone)}")
        if made[0].acked is None or not found or not found["value"]:
            return None
        known = {"from": found["value"][0]["from"], "to": phone}
        return phone if await self._ask("POST", "/resources/local/opt-outs", {"value": [known]}) is not None else None

    async def _spend(self) -> None:
        """Texts of the resource that has a spend cap, some of two segments."""
        while not self.stopping:
            token, recipients = self.ledger.token("t"), self.random.sample(range(2000), self.random.choice([1, 1, 4]))
            words = " ".join([token] * self.random.choice([2, 2, 30]))
            body = {"from": THRIFTY, "to": [f"+1425556{number:04d}" for number in recipients], "message": words}
            for phone in body["to"]:
                self.ledger.asked[token, phone] = Asked(token, phone, "thrift", time.time(), THRIFTY)
            answer = await self._ask("POST", f"/resources/{THRIFT}/messages", {**body, "enableDeliveryReport": False})
            for item in answer["value"] if answer else ():
                asked = self.ledger.asked[token, item["to"]]
                asked.acked, asked.message_id = time.time(), item["messageId"]
            await self._rest(0.7)

    async def _save(self) -> None:
        """Other prices, and caps that grow."""
        cap = FIRST_CAP
        while not self.stopping:
            if self.random.random() < 0.2:
                cap += Decimal(self.random.choice([1, 2])) / 10
                self.kept.caps.append(change := Change(cap, time.time()))
                answer = await self._ask("PATCH", f"/resources/{THRIFT}/sms/settings", _cap(cap))
            else:
                carrier, price = self.random.choice(list(BINDS)), self.random.choice(_PRICES)
                self.kept.prices.append(change := Change((carrier, price), time.time()))
                answer = await self._ask("PUT", f"/sms/prices/{carrier}/{quote('+')}", {"price": price})
            if answer is not None:
                change.ended = time.time()
            await self._rest(2.0)

    async def _forget(self) -> None:
        """Phones that are written to, now and later, and then erased."""
        while not self.stopping:
            phone = f"+1425667{next(self._phones):04d}"
            for _ in range(2):
                token = self.ledger.token("e")
                asked = self.ledger.asked[token, phone] = Asked(token, phone, "erased", time.time(), FORGETFUL)
                body = {
                    "from": FORGETFUL,
                    "to": [phone],
                    "message": f"{token} forget me",
                    "enableDeliveryReport": False,
                }
                answer = await self._ask("POST", "/resources/local/messages", body)
                if answer:
                    asked.acked, asked.message_id = time.time(), answer["value"][0]["messageId"]
            await self._rest(3.0)
            self._written.append(phone)
            for each in (phone, self.random.choice(self._written), phone):
                await self._erase(each)
                await self._rest(1.0)

    async def _erase(self, phone: str) -> None:
        self.kept.erasures.append(erasure := Erasure(phone, time.time()))
        asked: dict[str, Any] = {"number": phone}
        while True:
            answer = await self._ask("POST", "/resources/local/messages:erase", asked)
            if answer is None:
                return
            erasure.left |= {each["messageId"] for each in answer["left"]}
            if answer.get("after") is None:
                erasure.ended = time.time()
                return
            asked["after"] = answer["after"]


def _cap(cap: Decimal) -> dict[str, Any]:
    return {"caps": {"spendPerDay": f"{cap}"}}


def _pool_path() -> str:
    return f"/resources/local/sms/pools/{TURNING}"
