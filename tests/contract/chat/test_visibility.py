"""Who sees what, against a model: any run of sending, adding, removing, sharing and deleting."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.chat import EDITED_LATER, RESOURCE, Process, process

from landline.core.errors import Forbidden, NotFound
from landline.core.ids import RawId
from landline.engines.clock import DrivenClock
from landline.services.chat.messages import Edit
from landline.services.chat.model.ids import MessageId, ThreadId
from landline.services.chat.model.values import EPOCH
from landline.services.chat.service import Patch
from landline.store.database import Database

USERS = 4
HOUR = timedelta(hours=1)
SHARE = st.sampled_from(["all", "now", "middle", "ahead"])
STEP = st.one_of(
    st.tuples(st.just("send"), st.integers(0, USERS - 1), st.none()),
    st.tuples(st.just("send"), st.integers(0, USERS - 1), st.none()),
    st.tuples(st.just("remove"), st.integers(0, USERS - 1), st.none()),
    st.tuples(st.just("add"), st.integers(0, USERS - 1), SHARE),
    st.tuples(st.just("wait"), st.integers(1, 5), st.none()),
    st.tuples(st.just("erase"), st.integers(0, 30), st.none()),
    st.tuples(st.just("edit"), st.integers(0, 30), st.none()),
)


@dataclass
class Said:
    """A message in the model."""

    sequence: int
    text: str | None
    at: datetime
    sender: int
    id: MessageId
    edited_after: int = 0
    """The thread's last sequence when it was edited."""


@dataclass
class Model:
    """What everybody should see. A user: (shared from, sees until, in it now)."""

    said: list[Said] = field(default_factory=list[Said])
    users: dict[int, tuple[datetime, int | None, bool]] = field(
        default_factory=dict[int, tuple[datetime, int | None, bool]]
    )
    sequence: int = 2

    def sees(self, user: int) -> list[tuple[int, str | None]] | None:
        """None: was never in it."""
        if user not in self.users:
            return None
        since, until, _ = self.users[user]
        return [
            (each.sequence, EDITED_LATER if until is not None and each.edited_after >= until else each.text)
            for each in self.said
            if each.at >= since and (until is None or each.sequence <= until)
        ]


@pytest.mark.parametrize("batch", range(3))
async def test_everybody_sees_what_they_should(database: Database, dsn: str, batch: int) -> None:
    clock = DrivenClock()
    one = process(database, dsn, clock=clock)
    users = [await one.user() for _ in range(USERS)]
    loop = asyncio.get_running_loop()

    @settings(max_examples=settings().max_examples // 8, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(STEP, max_size=25))
    def check(steps: list[tuple[str, int, str | None]]) -> None:
        asyncio.run_coroutine_threadsafe(run(one, clock, users, steps), loop).result(60)

    await asyncio.to_thread(check)


async def run(one: Process, clock: DrivenClock, users: list[RawId], steps: list[tuple[str, int, str | None]]) -> None:
    thread = await one.thread(users[0])
    model = Model(users={0: (EPOCH, None, True)})
    await settle(one, model, thread, users)
    for what, number, how in steps:
        if what == "wait":
            await clock.advance(timedelta(seconds=number))
        else:
            await STEPS[what](one, model, thread, users, number, how, clock)
    for number, user in enumerate(users):
        expected = model.sees(number)
        if expected is None:
            with pytest.raises(Forbidden):
                await one.listed(thread, user)
        else:
            assert await one.listed(thread, user, page=3) == expected


async def settle(one: Process, model: Model, thread: ThreadId, users: list[RawId]) -> None:
    """Take what the system has said over into the model."""
    rows = await one.messages.listed(RESOURCE, users[0], thread, None, None, 200)
    model.said = [Said(row["sequence"], row["kind"], row["created_at"], -1, row["message_id"]) for row in rows[::-1]]


async def said_last(one: Process, model: Model, thread: ThreadId, users: list[RawId], text: str, who: int) -> None:
    """Take the newest message over into the model. The first user is in the thread all the time."""
    (row,) = await one.messages.listed(RESOURCE, users[0], thread, None, None, 1)
    model.sequence += 1
    model.said.append(Said(model.sequence, text, row["created_at"], who, row["message_id"]))


async def send(one: Process, model: Model, thread: ThreadId, users: list[RawId], who: int, *_: object) -> None:
    text = f"{who} at {model.sequence}"
    if who not in model.users or not model.users[who][2]:
        with pytest.raises(Forbidden):
            await one.send(thread, users[who], text)
        return
    await one.send(thread, users[who], text)
    await said_last(one, model, thread, users, text, who)


async def remove(one: Process, model: Model, thread: ThreadId, users: list[RawId], who: int, *_: object) -> None:
    if who == 0:
        return  # somebody has to be there for the others to be added
    if who not in model.users or not model.users[who][2]:
        with pytest.raises(NotFound):
            await one.chat.remove(RESOURCE, users[0], thread, users[who])
        return
    await one.chat.remove(RESOURCE, users[0], thread, users[who])
    await said_last(one, model, thread, users, "participantRemoved", -1)
    model.users[who] = (model.users[who][0], model.sequence, False)


async def add(
    one: Process, model: Model, thread: ThreadId, users: list[RawId], who: int, how: str | None, clock: DrivenClock
) -> None:
    now = clock.now()
    instants = {"all": EPOCH, "now": now, "middle": model.said[len(model.said) // 2].at, "ahead": now + HOUR}
    given = whole_milliseconds(instants[how or "all"])
    await one.add(thread, users[0], users[who], given)
    since = min(given, whole_milliseconds(now))
    if who in model.users and model.users[who][2]:
        return
    await said_last(one, model, thread, users, "participantAdded", -1)
    model.users[who] = (since, None, True)


async def erase(one: Process, model: Model, thread: ThreadId, users: list[RawId], number: int, *_: object) -> None:
    written = [each for each in model.said if each.sender >= 0]
    if not written:
        return
    said = written[number % len(written)]
    if not model.users[said.sender][2]:
        with pytest.raises(Forbidden):
            await one.messages.delete(RESOURCE, users[said.sender], thread, said.id)
        return
    if (said.sequence, said.text) not in (model.sees(said.sender) or ()):
        with pytest.raises(NotFound):
            await one.messages.delete(RESOURCE, users[said.sender], thread, said.id)
        return
    await one.messages.delete(RESOURCE, users[said.sender], thread, said.id)
    said.text, said.edited_after = None, 0
    again = Edit("again")
    with pytest.raises(NotFound):
        await one.messages.edit(RESOURCE, users[said.sender], thread, said.id, again)


async def edit(one: Process, model: Model, thread: ThreadId, users: list[RawId], number: int, *_: object) -> None:
    own = [each for each in model.said if each.sender >= 0 and each.text and model.users[each.sender][2]]
    if not own:
        return
    said = own[number % len(own)]
    if (said.sequence, said.text) not in (model.sees(said.sender) or ()):
        return  # from before what its sender, who came back, is shown
    said.text, said.edited_after = f"{said.sender} again at {model.sequence}", model.sequence
    await one.messages.edit(RESOURCE, users[said.sender], thread, said.id, Edit(said.text))


STEPS = {"send": send, "remove": remove, "add": add, "erase": erase, "edit": edit}


def whole_milliseconds(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


async def test_nobody_is_told_of_changes_to_what_they_may_not_see(one: Process, clock: DrivenClock) -> None:
    ann, bob, cem = [await one.user() for _ in range(3)]
    thread = await one.thread(ann, bob)
    old = await one.send(thread, ann, "old")
    await clock.advance(timedelta(seconds=1))
    await one.add(thread, ann, cem, clock.now())
    new = await one.send(thread, ann, "new")
    heard = await one.hears()
    for message in (old, new):
        await one.messages.edit(RESOURCE, ann, thread, message, Edit("edited"))
        await one.messages.delete(RESOURCE, ann, thread, message)
    await clock.advance(timedelta(seconds=1))
    told = [set(each.recipients) for each in heard]
    assert told == [{ann, bob}, {ann, bob}, {ann, bob, cem}, {ann, bob, cem}]


async def test_threads_left_and_threads_stayed_in_are_listed_in_one_order_over_pages(
    one: Process, clock: DrivenClock, database: Database
) -> None:
    ann, bob = await one.user(), await one.user()
    threads: list[ThreadId] = []
    for number in range(9):
        threads.append(await one.thread(ann, bob))
        await clock.advance(timedelta(seconds=1))
        if number % 3:
            await one.chat.remove(RESOURCE, ann, threads[-1], bob)
        await one.chat.update(RESOURCE, ann, threads[-1], Patch(topic=f"Later {number}"))
    left_at = clock.now() - timedelta(seconds=1)
    for page in (1, 2, 4, 9, 10):
        found = await pages(one, bob, None, page)
        assert [thread for thread, _ in found] == threads[::-1]
        assert [topic for _, topic in found] == ["Lunch" if number % 3 else f"Later {number}" for number in range(9)][
            ::-1
        ]
    await clock.advance(HOUR)
    await one.send(threads[0], ann)
    await one.send(threads[1], ann)  # which bob has left, and hears nothing of
    assert [thread for thread, _ in await pages(one, bob, left_at, 2)] == [threads[8], threads[0]]
    # A process of an earlier version, beside this one, keeps no topic.
    await database.execute("UPDATE chat_participants SET last_topic = NULL")
    assert dict(await pages(one, bob, None, 4))[threads[7]] == "Lunch"


async def pages(one: Process, user: RawId, since: datetime | None, page: int) -> list[tuple[ThreadId, str]]:
    """All threads of a user with their topics, read page by page."""
    found: list[tuple[ThreadId, str]] = []
    before: ThreadId | None = None
    while True:
        rows = await one.chat.threads(RESOURCE, user, since, before, page)
        found += [(row["thread_id"], row["topic"]) for row in rows]
        if len(rows) < page:
            return found
        before = rows[-1]["thread_id"]
