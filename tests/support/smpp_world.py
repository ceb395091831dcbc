"""An SMSC, a network before it, and SMPP carriers on one database, with time driven."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

from tests.support.carrier_events import Recorder
from tests.support.patience import PATIENCE_S
from tests.support.smpp import Network

from landline.engines.clock import DrivenClock
from landline.engines.smpp.carrier import SmppCarrier
from landline.engines.smpp.config import SmppConfig
from landline.engines.smpp.slots import Slots
from landline.ports.clock import Clock
from landline.ports.sms_carrier import Submission
from landline.store.database import Database
from landline.testing.smsc import Smsc

OURS = "+18005550100"
PHONE = "+14255550199"


class World:
    """See the module."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = DrivenClock()
        self.smsc = Smsc({"landline": "secret"})
        self.network = Network()
        self.events = Recorder()
        self.carriers: list[SmppCarrier] = []

    async def start(self, *, slots: Slots | None = None, line: Clock | None = None, **options: Any) -> SmppCarrier:
        if not self.network.port:
            await self.smsc.start()
            await self.network.start(self.smsc.port)
        given = {"port": self.network.port, "backoff_first_s": 0.01, "throttle_pause_s": 0.01, **options}
        config = SmppConfig("smpp", "127.0.0.1", system_id="landline", password="secret", **given)
        known = None if slots is None else self._known
        carrier = SmppCarrier(config, self.database, self.clock, slots=slots, known=known, line=line)
        self.carriers.append(carrier)
        await carrier.start(self.events)
        return carrier

    async def send(self, carrier: SmppCarrier, *texts: str, report: bool = True, sender: str = OURS) -> None:
        await carrier.submit([Submission(uuid4(), sender, PHONE, text, 1, report) for text in texts])

    async def _known(self, _carrier: str, ids: Sequence[str]) -> set[str]:
        return {answer.carrier_message_id or "" for answer in self.events.answers} & set(ids)

    async def answered(self, count: int) -> None:
        await self.events.until(lambda: len(self.events.answers) >= count)

    async def reported(self, count: int) -> None:
        await self.events.until(lambda: len(self.events.receipts) >= count)

    async def arrived(self, count: int) -> None:
        await self.events.until(lambda: len(self.events.arrivals) >= count)

    async def close(self) -> None:
        for carrier in self.carriers:
            await carrier.close()
        await self.network.close()
        await self.smsc.close()


async def until(true: Callable[[], bool]) -> None:
    """Let the loop run until `true`."""
    async with asyncio.timeout(PATIENCE_S):
        while not true():
            await asyncio.sleep(0.001)


async def until_bound(carrier: SmppCarrier, count: int = 1) -> None:
    await until(lambda: carrier.bound == count)
