"""The service's side of the port `SmsCarrier`, for tests of what fills it."""

import asyncio
from collections.abc import Callable, Sequence

from tests.support.patience import PATIENCE_S

from landline.core.errors import Unavailable
from landline.ports.sms_carrier import Arrival, Receipt, Submitted


class Recorder:
    """The service's side of the port: keeps what it is told, and refuses it while `away` or holds it while shut."""

    def __init__(self) -> None:
        self.answers: list[Submitted] = []
        self.late: list[Submitted] = []
        self.receipts: list[Receipt] = []
        self.arrivals: list[Arrival] = []
        self.order: list[str] = []
        """Carrier message ids as they were first heard of: answered ones plain, reported ones with `!`."""
        self.away = False
        self.refused = 0
        self.open = asyncio.Event()
        self.open.set()
        self._news = asyncio.Condition()

    async def submitted(self, carrier: str, answers: Sequence[Submitted]) -> None:
        await self._enter()
        self.answers.extend(answers)
        self.order.extend(answer.carrier_message_id or "" for answer in answers)
        await self._tell()

    async def submitted_late(self, carrier: str, answers: Sequence[Submitted]) -> None:
        await self._enter()
        self.late.extend(answers)
        self.order.extend(f"{answer.carrier_message_id} late" for answer in answers)
        await self._tell()

    async def reported(self, carrier: str, receipts: Sequence[Receipt]) -> None:
        await self._enter()
        self.receipts.extend(receipts)
        self.order.extend(f"{receipt.carrier_message_id}!" for receipt in receipts)
        await self._tell()

    async def early(self, carrier: str, ids: Sequence[str]) -> list[Receipt]:
        return []

    async def forget_early(self, carrier: str, ids: Sequence[str]) -> None:
        pass

    async def arrived(self, carrier: str, arrivals: Sequence[Arrival]) -> None:
        await self._enter()
        self.arrivals.extend(arrivals)
        await self._tell()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S), self._news:
            await self._news.wait_for(true)

    async def _enter(self) -> None:
        await self.open.wait()
        if self.away:
            self.refused += 1
            await self._tell()
            raise Unavailable("the service is away")

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()
