"""The gateway over a faulty carrier, from a seed: whatever happens, every accepted message ends once, and only once.

`LANDLINE_SIM_SEEDS=n` runs n seeds (`make sim`); a failing seed is printed and can be run alone with
`LANDLINE_SIM_SEED=seed`.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from tests.support.gateway import Gateway

from landline.core.errors import Unavailable
from landline.core.ids import ResourceId
from landline.engines.clock import DrivenClock
from landline.ports.clock import Clock
from landline.ports.sms_carrier import Arrival, CarrierEvents, CrashPolicy, Receipt, Submission, Submitted
from landline.services.sms.model import messages
from landline.services.sms.service import Options, To
from landline.store.database import Database

TOLL_FREE = "+18005550100"
HANDSETS = [f"+1425555{number:04}" for number in range(12)]


def seeds() -> list[int]:
    """One seed from the environment, or as many as it asks for."""
    if "LANDLINE_SIM_SEED" in os.environ:
        return [int(os.environ["LANDLINE_SIM_SEED"])]
    return list(range(int(os.environ.get("LANDLINE_SIM_SEEDS", "12"))))


class FaultyCarrier:
    """Takes what it likes, answers late, twice or never, reports before it answers. What it took, it keeps over our
    crashes, as a real SMSC would."""

    name = "carrier"
    crash_policy = CrashPolicy.RESEND
    at_once = 200
    reachable = True

    def __init__(self, dice: random.Random, clock: Clock) -> None:
        self.dice = dice
        self.clock = clock
        self.submissions: list[Submission] = []
        self.receipts: list[Receipt] = []
        self.answers: list[Submitted] = []
        self._events: CarrierEvents | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def up(self) -> bool:
        return self._events is not None

    async def start(self, events: CarrierEvents) -> None:
        self._events = events

    async def close(self) -> None:
        self.down()

    def down(self) -> None:
        """The connection is lost with our process."""
        self._events = None
        self.answers.clear()
        for task in self._tasks:
            task.cancel()

    async def query(self, carrier_message_id: str, sender: str) -> Receipt | None:
        return None

    async def submit(self, submissions: Sequence[Submission]) -> None:
        if self.dice.random() < 0.1:
            raise Unavailable("the carrier is not in the mood")
        task = asyncio.create_task(self._work(list(submissions)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, submissions: list[Submission]) -> None:
        with self.clock.busy():
            for submission in submissions:
                await self._take(submission)
                await asyncio.sleep(0)

    async def _take(self, submission: Submission) -> None:
        events = self._events
        if events is None:
            return
        fate = self.dice.random()
        if fate < 0.1:
            await events.submitted(self.name, [Submitted(submission.key, None, 5001, temporary=True, reason="full")])
            return
        if fate < 0.15:
            await events.submitted(self.name, [Submitted(submission.key, None, 4005, reason="blocked")])
            return
        self.submissions.append(submission)
        carrier_id = f"c{len(self.submissions)}"
        delivered = self.dice.random() < 0.8
        receipt = Receipt(carrier_id, delivered, 2000 if delivered else 4006, self.clock.now())
        order = self.dice.choice(["answer first", "receipt first", "no receipt", "receipt later", "late answer"])
        if order == "receipt first":
            await events.reported(self.name, [receipt])
        if order == "late answer":
            self.answers.append(Submitted(submission.key, carrier_id))
        else:
            await events.submitted(self.name, [Submitted(submission.key, carrier_id)])
        if order == "answer first":
            await events.reported(self.name, [receipt])
        if order in ("receipt later", "late answer"):
            self.receipts.append(receipt)

    async def catch_up(self) -> None:
        """Bring answers and receipts that were held back, receipts again and again and in any order."""
        assert self._events is not None
        answers, self.answers = self.answers, []
        if answers and self.dice.random() < 0.5:
            await self._events.submitted(self.name, answers)
            answers = []
        brought = [receipt for receipt in self.receipts for _ in range(self.dice.randint(1, 3))]
        self.dice.shuffle(brought)
        self.receipts.clear()
        if brought:
            await self._events.reported(self.name, brought)
        if answers:
            await self._events.submitted(self.name, answers)


class Run:
    """One seeded run and what it promises."""

    def __init__(self, seed: int, dsn: str, database: Database) -> None:
        self.dice = random.Random(seed)
        self.dsn = dsn
        self.database = database
        self.clock = DrivenClock()
        self.carrier = FaultyCarrier(self.dice, self.clock)
        self.accepted: dict[UUID, tuple[str, bool]] = {}
        """Message: its recipient, and whether the recipient had opted out when it was accepted."""
        self.sent: list[tuple[list[To], str, list[str | None]]] = []
        self.opted_out: set[str] = set()
        self.texts = 0

    async def boot(self) -> None:
        self.gateway = await Gateway(self.dsn, self.database, self.clock, self.carrier).start()

    async def step(self, resource: ResourceId) -> None:
        doing = self.dice.choices(
            [self.send, self.repeat, self.keyword, self.pass_time, self.receipts, self.crash], [8, 2, 2, 2, 3, 1]
        )[0]
        await doing(resource)

    async def send(self, resource: ResourceId) -> None:
        recipients = [To(number, str(uuid4())) for number in self.dice.sample(HANDSETS, self.dice.randint(1, 6))]
        text = f"text {len(self.sent)}"
        out = set(self.opted_out)
        outcomes = await self.gateway.sms.send(resource, TOLL_FREE, recipients, text, Options(report_wanted=True))
        for to, outcome in zip(recipients, outcomes, strict=True):
            assert outcome.status == 202
            message_id = messages.parse_public_id(outcome.message_id or "")
            assert message_id is not None
            self.accepted[message_id] = (to.number, to.number in out)
        self.sent.append((recipients, text, [outcome.message_id for outcome in outcomes]))

    async def repeat(self, resource: ResourceId) -> None:
        if self.sent:
            recipients, text, ids = self.dice.choice(self.sent)
            again = await self.gateway.sms.send(resource, TOLL_FREE, recipients, text, Options(report_wanted=True))
            assert [outcome.message_id for outcome in again] == ids

    async def keyword(self, _resource: ResourceId) -> None:
        number = self.dice.choice(HANDSETS)
        word = self.dice.choice(["STOP", " stop. ", "START", "unstop", "hello"])
        self.texts += 1
        arrival = Arrival(f"mo{self.texts}", number, TOLL_FREE, word, 1, self.clock.now())
        for _ in range(self.dice.randint(1, 2)):
            await self.gateway.news.arrived(self.carrier.name, [arrival])
        if "stop" in word.lower() and "un" not in word:
            self.opted_out.add(number)
        elif word != "hello":
            self.opted_out.discard(number)

    async def pass_time(self, _resource: ResourceId) -> None:
        await self.clock.advance(timedelta(seconds=self.dice.choice([1, 30, 3600])))

    async def receipts(self, _resource: ResourceId) -> None:
        await self.carrier.catch_up()

    async def crash(self, _resource: ResourceId | None) -> None:
        self.carrier.down()
        await self.gateway.crash()
        await self.boot()

    async def finish(self) -> None:
        """Let everything end: the carrier catches up, then all report timeouts pass."""
        await self.clock.advance(timedelta(hours=1))
        await self.carrier.catch_up()
        await self.clock.advance(timedelta(hours=14))
        await self.crash(None)  # what this process had not tidied up yet, the next one does
        await self.clock.advance(timedelta(seconds=1))

    async def check(self) -> None:
        rows = await self.database.fetch("SELECT message_id, state, code, recipient FROM sms_messages")
        found = {row["message_id"]: row for row in rows}
        assert self.accepted.keys() <= found.keys()
        unfinished = [row["message_id"] for row in rows if row["state"] not in messages.FINAL]
        assert not unfinished, f"{len(unfinished)} messages never ended"
        carried = Counter(submission.key for submission in self.carrier.submissions)
        for message_id, (_, was_out) in self.accepted.items():
            assert (found[message_id]["code"] == 4007) == was_out
            assert not (was_out and carried[message_id]), "a text went to somebody who had said STOP"
        assert await self.database.fetchval("SELECT count(*) FROM sms_blocks") == 0


@pytest.mark.parametrize("seed", seeds())
async def test_every_accepted_message_ends_exactly_once(seed: int, dsn: str, database: Database):
    run = Run(seed, dsn, database)
    await run.boot()
    resource = await run.gateway.own()
    try:
        for _ in range(40):
            await run.step(resource)
        await run.finish()
        await run.check()
    finally:
        await run.gateway.crash()
