"""A carrier that does what a test says, message by message, and keeps what it was handed."""

import asyncio
from collections.abc import Callable, Sequence
from enum import Enum

from landline.core.errors import Unavailable
from landline.ports.clock import Clock
from landline.ports.sms_carrier import CarrierEvents, CrashPolicy, Receipt, Submission, Submitted


class Fate(Enum):
    """What becomes of one submission."""

    TAKEN = "taken"
    """Taken, nothing reported."""
    DELIVERED = "delivered"
    FAILED = "failed"
    """Taken, and reported as failed with `code`."""
    REFUSED = "refused"
    BUSY = "busy"
    """Refused for now."""
    SILENCE = "silence"
    """Handed over, and its answer given up on."""
    LOST = "lost"
    """Handed over, and no answer while this process lives."""


class ScriptedCarrier:
    """Fills the port `SmsCarrier`. `fate` decides; `up` and `reports` may be set at any time."""

    def __init__(
        self,
        clock: Clock,
        fate: Fate | Callable[[Submission], Fate] = Fate.DELIVERED,
        *,
        name: str = "carrier",
        policy: CrashPolicy = CrashPolicy.RESEND,
        code: int = 5000,
    ) -> None:
        self.name = name
        self.crash_policy = policy
        self.up = True
        self.at_once = 200
        self.part: float | None = None
        self.reachable = True
        self.code = code
        self.fate = fate
        self.submissions: list[Submission] = []
        self.reports: dict[str, Receipt] = {}
        """What `query` tells, by the carrier's id."""
        self._clock = clock
        self._events: CarrierEvents | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, events: CarrierEvents) -> None:
        self._events = events

    async def close(self) -> None:
        self._events = None

    async def query(self, carrier_message_id: str, sender: str) -> Receipt | None:
        return self.reports.get(carrier_message_id)

    async def room(self) -> int:
        return self.at_once

    async def submit(self, submissions: Sequence[Submission]) -> None:
        if not self.up:
            raise Unavailable("it is down")
        task = asyncio.create_task(self._work(list(submissions)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, submissions: list[Submission]) -> None:
        with self._clock.busy():
            for submission in submissions:
                await self._take(submission)

    async def _take(self, submission: Submission) -> None:
        events = self._events
        assert events is not None
        self.submissions.append(submission)
        fate = self.fate(submission) if callable(self.fate) else self.fate
        if fate is Fate.LOST:
            return
        carrier_id = f"{self.name}{len(self.submissions)}"
        if fate in (Fate.REFUSED, Fate.BUSY, Fate.SILENCE):
            answer = Submitted(
                submission.key,
                None,
                5001 if fate is Fate.SILENCE else self.code,
                temporary=fate is not Fate.REFUSED,
                reason=fate.value,
                unknown=fate is Fate.SILENCE,
            )
            await events.submitted(self.name, [answer])
            return
        await events.submitted(self.name, [Submitted(submission.key, carrier_id)])
        if fate is not Fate.TAKEN:
            delivered = fate is Fate.DELIVERED
            code = 2000 if delivered else self.code
            await events.reported(self.name, [Receipt(carrier_id, delivered, code, self._clock.now())])
