"""The simulated carrier's desk: the one place that writes its messages, and keeps behaviours, rules and seed."""

import asyncio
import secrets
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from landline.core.errors import Conflict, NotFound, Unavailable
from landline.engines.simulated import records
from landline.engines.simulated.model import DELIVERED, Behaviour, Conduct, Handset, Rule, Script
from landline.engines.simulated.plan import Plan, Reply, answer_back, plan
from landline.engines.simulated.records import InboxItem
from landline.ports.clock import Clock
from landline.ports.sms_carrier import Submission
from landline.store.database import Connection, Database

log = structlog.get_logger()

INBOX_LIMIT = 1_000
"""Texts a handset keeps, give or take a quarter."""
MESSAGES_LIMIT = 500_000
"""Messages kept in all, give or take a tenth."""
RULES_LIMIT = 1_000
PAGE_LIMIT = 1_000
GROWN_LIMIT = 20_000
"""Handsets whose growth is watched; beyond, only `MESSAGES_LIMIT` bounds them."""


@dataclass(frozen=True, slots=True)
class HandsetSummary:
    """A handset that has a behaviour of its own or texts on it."""

    handset: Handset
    texts: int


class Desk:
    """Serialises every write with one lock, so that places grow in the order of commits and counts are exact.

    One process runs it on one database.
    """

    def __init__(self, database: Database, clock: Clock, seed: int | None) -> None:
        self._database = database
        self._clock = clock
        self._first_seed = self._seed = seed
        self._lock = asyncio.Lock()
        self._script: Script | None = None
        """None when it has to be read again: it was changed, or a write failed and may have committed or not."""
        self._ordinals: OrderedDict[str, int] = OrderedDict()
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self._grown: Counter[str] = Counter()
        self._trimmed_at = 0

    async def load(self) -> int:
        """Read behaviours, rules and seed; the last place given so far. Raises `Unavailable`."""
        async with self._database.connection() as connection:
            if self._seed is None:
                self._seed = await records.seed(connection)
            if self._seed is None:
                self._seed = secrets.randbits(31)
            handsets, rules = await records.handsets(connection), await records.rules(connection)
            self._script = Script(self._seed, handsets, rules, self._ordinals)
            return await records.last_position(connection)

    # Messages

    async def take(self, batch: Sequence[Submission]) -> tuple[Plan, int]:
        """Decide and write `batch` in one transaction; its plan and its last place. Raises `Unavailable`."""
        async with self._lock:
            script = await self._loaded()
            async with self._transaction() as connection:
                first, before = await records.begin(connection, [submission.key for submission in batch])
                turn = script.turn()
                planned = plan(batch, before, first, turn, self._clock.now())
                await records.insert_messages(connection, planned.rows)
                await records.insert_receipts(connection, first, planned.receipts)
                await records.insert_replies(connection, planned.replies)
                await records.save_counts(connection, turn.rules.values(), turn.handsets.values())
            turn.keep()
            last = first + len(batch) - 1
            await self._trim(planned.shown, last)
        self._tell(planned.shown)
        return planned, last

    async def inbox(self, number: str, after: int, wait_s: float) -> list[InboxItem]:
        """The texts on a handset after place `after`; when there are none, the first to come within `wait_s`.

        The wait is by the machine's time: it is the asker's patience, and an asker cannot be driven.
        """
        with self._watching(number) as arrived:
            async with self._database.connection() as connection:
                items = await records.inbox(connection, number, after, PAGE_LIMIT)
            if items or wait_s <= 0:
                return items
            try:
                async with asyncio.timeout(wait_s):
                    await arrived.wait()
            except TimeoutError:
                return []
        async with self._database.connection() as connection:
            return await records.inbox(connection, number, after, PAGE_LIMIT)

    def end_waits(self) -> None:
        """Everyone who waits for a text gets an empty answer now, because the server is stopping."""
        self._tell(list(self._watchers))

    async def clear_inbox(self, number: str) -> None:
        """Delete the texts on a handset."""
        async with self._database.connection() as connection:
            await records.clear_inbox(connection, number)

    # Behaviours

    async def handsets(self) -> list[HandsetSummary]:
        """Handsets with a behaviour of their own, and those that got texts last."""
        async with self._database.connection() as connection:
            sizes = dict(await records.inbox_sizes(connection, PAGE_LIMIT))
            handsets = {handset.number: handset for handset in await records.handsets(connection)}
        numbers = dict.fromkeys([*handsets, *sizes])
        plain = Behaviour()
        return [
            HandsetSummary(handsets.get(number, Handset(number, plain)), sizes.get(number, 0)) for number in numbers
        ]

    async def behaviour(self, number: str) -> Behaviour:
        """What the handset does; that of all others when it was given none."""
        async with self._lock:
            handset = (await self._loaded()).handsets.get(number)
        return handset.behaviour if handset else Behaviour()

    async def behave(self, number: str, behaviour: Behaviour | None) -> None:
        """Give the handset a behaviour, or none of its own. One that roams no more gets what waited for it."""
        back: list[str] = []
        async with self._changing() as (connection, script):
            before = script.handsets.get(number)
            roamed = before is not None and before.behaviour.conduct is Conduct.ROAMING
            if behaviour is None:
                await records.delete_handset(connection, number)
            else:
                await records.put_handset(connection, Handset(number, behaviour))
            if roamed and (behaviour is None or behaviour.conduct is not Conduct.ROAMING):
                back = await self._bring_back(connection, Handset(number, behaviour or Behaviour()))
        self._tell(back)

    async def _bring_back(self, connection: Connection, handset: Handset) -> list[str]:
        now = self._clock.now()
        slow = handset.behaviour.conduct is Conduct.SLOW
        report_at = now + timedelta(seconds=handset.behaviour.after_s if slow else 0.0)
        messages = await records.bring_back(connection, handset.number, now, report_at, DELIVERED)
        replies: list[Reply] = []
        turn = Script(0, [handset]).turn()
        for key, sender in messages:
            answer_back(replies, turn, key, handset.number, sender, now)
        await records.insert_replies(connection, replies)
        await records.save_counts(connection, (), turn.handsets.values())
        return [handset.number] if messages else []

    # Rules and seed

    async def rules(self) -> list[Rule]:
        """All rules with their counts, in the order in which they are asked."""
        async with self._lock:
            return list((await self._loaded()).rules)

    async def add_rule(self, rule: Rule) -> Rule:
        """The rule with its id, asked after those that are there. Raises `Conflict` when there are too many."""
        async with self._changing() as (connection, script):
            if len(script.rules) >= RULES_LIMIT:
                raise Conflict(f"There are {RULES_LIMIT} rules already.")
            return replace(rule, rule_id=await records.insert_rule(connection, rule), seen=0, fired=0)

    async def delete_rules(self, rule_id: int | None = None) -> None:
        """Delete one rule, or all. Raises `NotFound` when there is no such rule."""
        async with self._changing() as (connection, _):
            if not await records.delete_rules(connection, rule_id) and rule_id is not None:
                raise NotFound("There is no such rule.")

    async def seed(self) -> int:
        """What all that looks random follows from."""
        async with self._lock:
            return (await self._loaded()).seed

    async def put_seed(self, seed: int) -> None:
        """Begin a run anew that another run with this seed repeats."""
        async with self._changing() as (connection, _):
            await records.put_seed(connection, seed)
            self._begin_run(seed)

    async def reset(self) -> None:
        """Forget messages, receipts, behaviours, rules, and the seed that was put."""
        async with self._changing() as (connection, _):
            await records.reset(connection)
            self._begin_run(self._first_seed)

    # Helpers

    @asynccontextmanager
    async def _changing(self) -> AsyncGenerator[tuple[Connection, Script]]:
        """The lock, a transaction, and the script in force, which is read again afterwards."""
        async with self._lock:
            script = await self._loaded()
            async with self._transaction() as connection:
                yield connection, script
            self._script = None

    @asynccontextmanager
    async def _transaction(self) -> AsyncGenerator[Connection]:
        try:
            async with self._database.transaction() as connection:
                yield connection
        except Unavailable:  # it may have committed all the same
            self._script = None
            raise

    def _begin_run(self, seed: int | None) -> None:
        self._seed = seed
        self._ordinals = OrderedDict()

    async def _loaded(self) -> Script:
        if self._script is None:
            await self.load()
        assert self._script is not None
        return self._script

    @contextmanager
    def _watching(self, number: str) -> Generator[asyncio.Event]:
        event = asyncio.Event()
        watchers = self._watchers.setdefault(number, set())
        watchers.add(event)
        try:
            yield event
        finally:
            watchers.discard(event)
            if not watchers:
                self._watchers.pop(number, None)

    def _tell(self, numbers: Sequence[str]) -> None:
        if self._watchers:
            for number in numbers:
                for event in self._watchers.get(number, ()):
                    event.set()

    async def _trim(self, shown: Sequence[str], last: int) -> None:
        """Keep the tables bounded. What fails here is done after a later batch."""
        self._grown.update(shown)
        full = {number for number in shown if self._grown[number] > INBOX_LIMIT // 4}
        old = last - self._trimmed_at > MESSAGES_LIMIT * 1.1
        if len(self._grown) > GROWN_LIMIT:
            self._grown.clear()
        if not full and not old:
            return
        try:
            async with self._database.connection() as connection:
                for number in full:
                    await records.trim_inbox(connection, number, INBOX_LIMIT)
                    self._grown.pop(number, None)
                if old:
                    await records.trim_all(connection, last - MESSAGES_LIMIT, self._clock.now())
                    self._trimmed_at = last - MESSAGES_LIMIT
        except Unavailable as error:
            log.warning("carrier.not_trimmed", error=error.message)
