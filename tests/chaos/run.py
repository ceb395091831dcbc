"""One run: everything started, traffic and faults together, everything healed, settled and judged."""

import asyncio
import time
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import asyncpg
from tests.chaos import judge
from tests.chaos.acts import ACTS
from tests.chaos.customer import ACCOUNTS, Customer
from tests.chaos.faults import FAULTS, Faults
from tests.chaos.growth import Growth
from tests.chaos.ledger import Ledger
from tests.chaos.office import Kept, Office
from tests.chaos.phones import Phones
from tests.chaos.probes import watched
from tests.chaos.repeated import REPEATED
from tests.chaos.senders import PACED, PACED_PER_S, SLOW, SLOW_PER_S, Senders
from tests.chaos.stage import Stage
from tests.chaos.webhook import Webhook
from tests.support.signed import Raw

from landline.testing.admin import AdminError

SENDERS = ["+18005550100", "+14255550100", "+18335550100"]
NEWCOMER = "+18445550100"
"""A sender that comes to the pool in the middle of the run: who knows another one keeps it."""
WEBHOOKS = ["orders", "archive"]
POOL = "/resources/local/sms/pools/news"
WARM_S = 8.0
SETTLE_S = 600.0


class Run:
    """See the module."""

    def __init__(
        self,
        directory: Path,
        seed: int,
        pace: float,
        *,
        alone: bool,
        ahead_s: float = 0.0,
        back: bool = False,
        older: str | None = None,
    ) -> None:
        self.directory = directory
        self.seed = seed
        self.pace = pace
        self.ledger = Ledger()
        self.ahead_s = ahead_s
        self.older = older
        self.stage = Stage.of(directory, alone=alone, ahead_s=ahead_s, back=back, older=older)
        self.webhooks = [Webhook(name, self.ledger, Random(f"{seed} {name}")) for name in WEBHOOKS]
        self.sizes: dict[int, tuple[int, int]] = {}
        self.kept = Kept()
        self.passwords: dict[str, str] = {}
        self.fails_over = Random(f"{seed} settings").random() < 0.5
        """Whether what a carrier reports as failed goes to the next one."""

    async def play(self, seconds: float, only: list[str]) -> list[str]:
        """Every promise that was broken."""
        watched(self)
        for webhook in self.webhooks:
            await webhook.start()
        tasks: list[asyncio.Task[Any]] = []
        try:
            await self.stage.start()
            connection = await self.furnish()
            senders = Senders(self.stage, self.ledger, Random(f"{self.seed} senders"), connection, SENDERS)
            senders.pace = self.pace
            phones = Phones(self.stage, self.ledger, Random(f"{self.seed} phones"), senders)
            office = Office(self.stage, self.ledger, Random(f"{self.seed} office"), senders, NEWCOMER)
            self.kept = office.kept
            await office.furnish()
            serving = [machine for machine in self.stage.machines if machine.kind == "serve"]
            customers = [
                Customer(name, self.ledger, Random(f"{self.seed} {name}"), serving, SENDERS, self.stage.certificate)
                for name in ACCOUNTS
            ]
            for each in customers:
                each.password = self.passwords[each.system_id]
            random = Random(f"{self.seed} faults")
            faults = Faults(self.stage, self.ledger, random, self.webhooks, customers, senders, phones)
            loops = [*senders.loops(), *phones.loops(), *office.loops(), *(each.send for each in customers)]
            traffic = [asyncio.create_task(loop()) for loop in loops]
            tasks = [asyncio.create_task(bind.run()) for each in customers for bind in each.binds]
            tasks.append(asyncio.create_task(self.follow()))
            await asyncio.sleep(WARM_S)
            judge.measure(self)
            raging = asyncio.create_task(faults.run(seconds, only, {**FAULTS, **ACTS}))
            joining = asyncio.gather(self._join(seconds / 2), self._upgrade(seconds / 3))
            await asyncio.wait([raging, *traffic, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for each in [*traffic, *tasks]:
                if each.done():
                    each.result()
            await raging
            self.stage.heal()
            await joining
            self.ledger.fault("all is healed")
            for each in (senders, phones, office, *customers):
                each.stopping = True
            await asyncio.wait(traffic, timeout=120.0)
            for each in traffic:
                each.result()
            settled = await self._settle()
            await office.finish()
            for each in customers:
                each.ended = True
            print(f"faults: {faults.counts}", flush=True)
            return await judge.judge(self, customers, settled)
        finally:
            for task in tasks:
                task.cancel()
            await self.stage.end()
            for webhook in self.webhooks:
                await webhook.close()

    async def grow(self, only: list[str]) -> list[str]:
        """Everything that grows with the count of equal acts (tests/chaos/growth.py)."""
        watched(self)
        for webhook in self.webhooks:
            await webhook.start()
        following: asyncio.Task[None] | None = None
        try:
            await self.stage.start()
            keys = dict(part.split("=", 1) for part in (await self.furnish()).split(";") if part)
            alpha = self.stage.machines[0]
            raw = Raw(f"https://localhost:{alpha.port}/", keys["accesskey"], str(self.stage.certificate))
            following = asyncio.create_task(self.follow())
            return await Growth(self, raw).judge(
                {name: act for name, act in REPEATED.items() if name in (only or REPEATED)}
            )
        finally:
            if following is not None:
                following.cancel()
            await self.stage.end()
            for webhook in self.webhooks:
                await webhook.close()

    async def furnish(self) -> str:
        """Numbers, webhooks and the customers' accounts; the resource's connection string."""
        admin = self.stage.machines[0].admin

        def make() -> str:
            for number in (*SENDERS, NEWCOMER, PACED, *SLOW):
                admin.call("POST", "/resources/local/numbers", {"number": number})
            for number, per_s in {PACED: PACED_PER_S, **dict.fromkeys(SLOW, SLOW_PER_S)}.items():
                rate = {"messagesPerSecond": per_s}
                admin.call("PUT", f"/resources/local/numbers/{quote(number)}/rate", rate)
            admin.call("PUT", POOL, {"senders": SENDERS, "sticky": True})
            admin.call("PATCH", "/resources/local/sms/settings", {"failoverOnReceipt": self.fails_over})
            for webhook in self.webhooks:
                endpoint = f"http://127.0.0.1:{webhook.port}/events"
                asked = {"name": webhook.name, "endpoint": endpoint, "maxEventsPerBatch": 20}
                admin.call("POST", "/resources/local/subscriptions", asked)
            for name, account in ACCOUNTS.items():
                made = admin.call("POST", "/resources/local/smpp-accounts", {"systemId": name, **account})
                self.passwords[name] = made["password"]
            return admin.call("GET", "/resources/local/keys")["primaryConnectionString"]

        return await asyncio.to_thread(make)

    async def _join(self, seconds: float) -> None:
        """Give the pool another sender after so long."""
        await asyncio.sleep(seconds)
        await self.stage.ask("PUT", POOL, {"senders": [NEWCOMER, *SENDERS], "sticky": True})
        self.ledger.fault("the pool has another sender")

    async def _upgrade(self, seconds: float) -> None:
        """After so long, one machine after the other, with traffic and faults in between (docs/guides/cluster.md)."""
        if self.older is None:
            return
        await asyncio.sleep(seconds)
        for machine in Random(f"{self.seed} upgrade").sample(self.stage.machines, len(self.stage.machines)):
            self.ledger.fault(f"{machine.name} is upgraded")
            await machine.upgrade()
            await asyncio.sleep(seconds / 3)

    async def follow(self) -> None:
        """Read the SMSCs' journals as they are written."""
        owed: dict[str, str] = {}
        while True:
            for name, smsc in self.stage.smscs.items():
                for line in smsc.news():
                    self.ledger.journals[name].append(line)
                    at, what, *details = line
                    if what == "owed":
                        owed[f"{name} {details[0]}"] = details[2]
                    elif what == "acked":
                        token = owed.pop(f"{name} {details[0]}", "")
                        if token in self.ledger.texted:
                            self.ledger.texted[token].acked = at
            await asyncio.sleep(0.02)

    async def _settle(self) -> bool:
        """Until nothing is left to be done, at most for a while. Whether that came."""
        deadline = time.monotonic() + SETTLE_S
        said = 0.0
        while time.monotonic() < deadline:
            try:
                left = await judge.left(self)
            except (OSError, asyncpg.PostgresError, TimeoutError, AdminError) as error:
                left = {type(error).__name__: 1}
            if not any(left.values()):
                return True
            if time.monotonic() > said + 15:
                said = time.monotonic()
                print(f"{time.strftime('%H:%M:%S')} settling: { {k: v for k, v in left.items() if v} }", flush=True)
            await asyncio.sleep(1.0)
        return False
