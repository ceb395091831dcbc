"""What stands behind the SMPP listener in its tests: it takes all it is given, and remembers it."""

import asyncio
from collections.abc import Sequence
from uuid import UUID, uuid4

from landline.core.errors import Refusal, Unavailable
from landline.core.ids import ResourceId
from landline.ports.esme_gateway import Account, Cancellation, CustomerSubmission, MessageStatus, ReportOut
from landline.protocols.smpp.commands import MessageState


class Product:
    """See the module."""

    def __init__(self) -> None:
        self.account = Account("customer", ResourceId(uuid4()))
        self.taken: list[CustomerSubmission] = []
        self.failure: Exception | None = None
        self.status_of_all = MessageStatus(MessageState.ENROUTE)
        self.binds = 0
        self.expiries: list[ReportOut] = []
        self.cancellations: list[Cancellation] = []
        self.open = asyncio.Event()
        self.open.set()
        self.asked = 0

    async def authenticate(self, system_id: str, password: str, address: str) -> Account | None:
        if self.failure is not None:
            raise self.failure
        return self.account if (system_id, password) == ("customer", "secret") else None

    def new_ids(self, count: int) -> list[UUID]:
        return [uuid4() for _ in range(count)]

    async def submit(
        self, account: Account, submissions: Sequence[CustomerSubmission]
    ) -> list[Refusal | Unavailable | None]:
        self.asked += 1
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        self.taken += [given for given in submissions if "refuse me" not in given.text]
        return [Refusal("no") if "refuse me" in given.text else None for given in submissions]

    async def unsubmitted(self, system_id: str, reports: Sequence[ReportOut]) -> None:
        if self.failure is not None:
            raise self.failure
        self.expiries += reports

    async def accepted(self, system_id: str, messages: Sequence[UUID]) -> list[UUID]:
        return [given.message_id for given in self.taken if given.message_id in messages]

    async def status(self, account: Account, message_id: UUID) -> MessageStatus | None:
        return self.status_of_all if any(given.message_id == message_id for given in self.taken) else None

    async def cancel(self, account: Account, named: Cancellation) -> int:
        if self.failure is not None:
            raise self.failure
        self.cancellations.append(named)
        return len(self.taken)

    def bound(self, account: Account) -> None:
        self.binds += 1
