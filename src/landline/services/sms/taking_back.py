"""Taking back messages that no carrier has yet, whichever process has them in its queue.

What is in nobody's hands any process takes back. Whoever has the others is asked over the bus; what a process has that
is not reached, or does not answer in time, stays.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from uuid import UUID

import msgspec
import structlog

from landline.core.errors import Unavailable
from landline.ports.bus import Bus
from landline.services.sms import records_progress as records
from landline.services.sms.canceling import Canceling
from landline.store.database import Database

ASKED, ANSWERED = "sms.take_back", "sms.taken_back"
ANSWER_S = 5.0
"""Within which another process answers; `Canceling` looks for 2 s at most."""

_AT_ONCE = 100
"""Messages that are taken back in one commit: none of them is handed over meanwhile."""

log = structlog.get_logger()


class _Question(msgspec.Struct, frozen=True, array_like=True):
    asker: UUID
    number: int
    resource: UUID
    held: list[tuple[UUID, UUID]]
    """Process and message."""


class _Answer(msgspec.Struct, frozen=True, array_like=True):
    asker: UUID
    number: int
    message: UUID
    taken_back: bool


@dataclass(slots=True)
class _Open:
    """A question whose answers are awaited."""

    missing: set[UUID]
    done: "asyncio.Future[None]"
    taken_back: set[UUID] = field(default_factory=set[UUID])


_QUESTION = msgspec.msgpack.Decoder(_Question)
_ANSWER = msgspec.msgpack.Decoder(_Answer)


class TakingBack:
    """One process's part in it, which is `owner`. Without a `bus` it is the only one."""

    def __init__(
        self,
        database: Database,
        canceling: Canceling,
        owner: UUID,
        bus: Bus | None = None,
        *,
        answer_s: float = ANSWER_S,
    ) -> None:
        self._database = database
        self._canceling = canceling
        self._owner = owner
        self._bus = bus
        self._answer_s = answer_s
        self._numbers = count()
        self._open: dict[int, _Open] = {}
        self._answering: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Hear what others ask."""
        if self._bus is not None:
            await self._bus.subscribe(ASKED, self._asked)
            await self._bus.subscribe(ANSWERED, self._answered)

    async def close(self) -> None:
        """Answer no more."""
        for task in self._answering:
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)

    async def cancel(self, resource: UUID, messages: Sequence[UUID]) -> set[UUID]:
        """Those of `messages` that were taken back: they have ended as failed (5000). What had ended, is with a carrier
        or may be, or is held by a process that does not answer, stays as it is."""
        canceled: set[UUID] = set()
        for some in _portions(messages):
            canceled |= await self._canceling.cancel(resource, some)
        left = [message for message in messages if message not in canceled]
        if left and self._bus is not None and self._bus.together:
            canceled |= await self._ask(self._bus, resource, left)
        return canceled

    async def _ask(self, bus: Bus, resource: UUID, messages: Sequence[UUID]) -> set[UUID]:
        async with self._database.connection() as connection:
            holders = await records.holders(connection, resource, messages)
        held = [(owner, message) for message, owner in holders.items() if owner != self._owner]
        if not held:
            return set()
        number = next(self._numbers)
        question = _Open({message for _, message in held}, asyncio.get_running_loop().create_future())
        self._open[number] = question
        try:
            bus.publish(ASKED, msgspec.msgpack.encode(_Question(self._owner, number, resource, held)))
            async with asyncio.timeout(self._answer_s):
                await question.done
        except TimeoutError:
            log.warning("sms.not_taken_back_in_time", count=len(question.missing))
        finally:
            del self._open[number]
        return question.taken_back

    def _asked(self, data: bytes) -> None:
        question = _QUESTION.decode(data)
        ours = [message for owner, message in question.held if owner == self._owner]
        if ours:
            task = asyncio.create_task(self._answer(question, ours))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    async def _answer(self, question: _Question, messages: Sequence[UUID]) -> None:
        assert self._bus is not None
        for some in _portions(messages):
            try:
                canceled = await self._canceling.cancel(question.resource, some)
            except Unavailable as error:
                log.warning("sms.not_taken_back", reason=error.message)
                return
            for message in some:
                answer = _Answer(question.asker, question.number, message, message in canceled)
                self._bus.publish(ANSWERED, msgspec.msgpack.encode(answer))

    def _answered(self, data: bytes) -> None:
        answer = _ANSWER.decode(data)
        question = self._open.get(answer.number) if answer.asker == self._owner else None
        if question is None:
            return
        question.missing.discard(answer.message)
        if answer.taken_back:
            question.taken_back.add(answer.message)
        if not question.missing and not question.done.done():
            question.done.set_result(None)


def _portions(messages: Sequence[UUID]) -> Iterator[Sequence[UUID]]:
    return (messages[first : first + _AT_ONCE] for first in range(0, len(messages), _AT_ONCE))
