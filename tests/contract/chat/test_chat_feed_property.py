"""However sends, edits, joins, leaves and cuts follow each other, in whichever process: a reader that does what the
guide says ends with what REST lists, having been told each change once, in order, and nothing of where it was not."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.feed import Node, Reader, Refused, User, node

from landline.engines.clock import DrivenClock
from landline.services.chat.stream.tail import BEAT
from landline.store.database import Database

USERS = st.integers(0, 2)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), USERS, st.integers(0, 1)),
        st.tuples(st.just("edit"), USERS, st.integers(0, 9)),
        st.tuples(st.just("delete"), USERS, st.integers(0, 9)),
        st.tuples(st.just("add"), USERS, USERS, st.integers(0, 1), st.booleans()),
        st.tuples(st.just("remove"), USERS, USERS, st.integers(0, 1)),
        st.tuples(st.just("rename"), USERS, st.integers(0, 1)),
        st.tuples(st.just("cut"), USERS),
        st.tuples(st.just("come"), USERS, st.integers(0, 1)),
        st.tuples(st.just("wait")),
    ),
    min_size=5,
    max_size=40,
)


@pytest.fixture
async def nodes(database: Database, dsn: str, clock: DrivenClock) -> AsyncGenerator[list[Node]]:
    """Two processes whose bus loses all that the other one says."""
    async with node(database, dsn, clock) as one, node(database, dsn, clock) as other:
        yield [one, other]


@settings(
    max_examples=settings().max_examples // 8,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS, homes=st.lists(st.integers(0, 1), min_size=40, max_size=40))
async def test_a_reader_ends_with_what_rest_lists(nodes: list[Node], steps: list[Any], homes: list[int]) -> None:
    world = await World.made(nodes)
    try:
        for step, home in zip(steps, homes, strict=False):
            await world.do(nodes[home], *step)
        await world.end()
    finally:
        for follower in world.followers:
            await follower.cut()


class World:
    """Two threads of three users, and what each of these knows of them by its feed."""

    def __init__(self, nodes: list[Node], users: list[User], threads: list[str], common: str) -> None:
        self.nodes = nodes
        self.users = users
        self.threads = threads
        self.common = common
        self.written: list[tuple[str, str]] = []
        self.followers: list[Follower] = []
        self._numbers = count()

    @classmethod
    async def made(cls, nodes: list[Node]) -> "World":
        one = nodes[0]
        users = [await one.user() for _ in range(3)]
        followers = [Follower(one, user, await one.open(user)) for user in users]
        threads = [await one.thread(users[0], users[1]), await one.thread(*users)]
        world = cls(nodes, users, threads, await one.thread(*users, topic="the end"))
        world.followers = followers
        return world

    async def do(self, where: Node, what: str, *given: Any) -> None:
        """One step; what is refused, as to who is no participant, changes nothing."""
        await where.clock.advance(BEAT / 1000)
        if what in ("cut", "come"):
            follower = self.followers[given[0]]
            await (follower.cut() if what == "cut" else follower.come(self.nodes[given[1]]))
        elif what == "wait":
            await where.clock.advance(BEAT)
        else:
            with suppress(Refused):
                await getattr(self, what)(where, *given)

    async def send(self, where: Node, user: int, thread: int) -> None:
        text = f"message {next(self._numbers)}"
        self.written.append((self.threads[thread], await where.send(self.users[user], self.threads[thread], text)))

    async def edit(self, where: Node, user: int, which: int) -> None:
        if which < len(self.written):
            thread, message = self.written[-1 - which]
            body = {"content": f"edit {next(self._numbers)}"}
            await where.call(self.users[user], "PATCH", f"/chat/threads/{thread}/messages/{message}", body)

    async def delete(self, where: Node, user: int, which: int) -> None:
        if which < len(self.written):
            thread, message = self.written[-1 - which]
            await where.call(self.users[user], "DELETE", f"/chat/threads/{thread}/messages/{message}")

    async def add(self, where: Node, user: int, other: int, thread: int, shared: bool) -> None:
        since = None if shared else where.clock.now().isoformat(timespec="milliseconds")
        await where.add(self.users[user], self.threads[thread], self.users[other], since=since)

    async def remove(self, where: Node, user: int, other: int, thread: int) -> None:
        await where.remove(self.users[user], self.threads[thread], self.users[other])

    async def rename(self, where: Node, user: int, thread: int) -> None:
        body = {"topic": f"topic {next(self._numbers)}"}
        await where.call(self.users[user], "PATCH", f"/chat/threads/{self.threads[thread]}", body)

    async def end(self) -> None:
        last = await self.nodes[0].send(self.users[0], self.common, "the end")
        for follower in self.followers:
            await follower.come(self.nodes[1])
        await self.nodes[0].clock.advance(BEAT)
        for follower in self.followers:
            await follower.until(last)
            for thread in self.threads:
                await follower.check(thread)


class Follower:
    """One user's program: follows the feed, and does what the guide says it should."""

    def __init__(self, home: Node, user: User, reader: Reader) -> None:
        self._home = home
        self._user = user
        self._reader: Reader | None = reader
        self._at = (reader.greeting["offset"], reader.epoch)
        self._sequences: dict[str, int] = {}
        self._in: set[str] = set()
        self._topics: dict[str, str] = {}
        self._rosters: dict[str, set[str]] = {}
        self.messages: dict[str, dict[str, dict[str, Any]]] = {}

    async def cut(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.socket.transport.abort()

    async def come(self, where: Node) -> None:
        if self._reader is None:
            self._home = where
            self._reader = await where.open(self._user, self._at)
            assert self._reader.greeting["type"] == "connected"

    async def until(self, message: str) -> None:
        """Handle all events up to that of `message`."""
        assert self._reader is not None
        while True:
            event = await self._reader.event()
            assert event["offset"] > self._at[0], "told twice, or out of order"
            self._at = (event["offset"], self._at[1])
            await self._handle(event)
            if event.get("message", {}).get("id") == message:
                return

    async def check(self, thread: str) -> None:
        """What is known of `thread` is what REST says."""
        known = self.messages.get(thread, {})
        if thread not in self._topics:
            assert not known
            return
        listed = {each["id"]: each for each in await self._home.listed(self._user, thread)}
        assert known.keys() == listed.keys()
        if thread in self._in:
            assert known == listed
            properties = await self._home.call(self._user, "GET", f"/chat/threads/{thread}")
            assert self._topics[thread] == properties["topic"]
            assert self._rosters[thread] == await self._participants(thread)

    async def _handle(self, event: dict[str, Any]) -> None:
        thread, kind = event["threadId"], event["type"]
        named = {each["communicationIdentifier"]["rawId"] for each in event.get("participants", ())}
        if self._user.raw_id in named and kind in ("chatThreadCreated", "participantsAdded"):
            self._in.add(thread)
            await self._list(thread)
        assert thread in self._in, "told of a thread that it is not in"
        if kind.startswith("chatMessage"):
            self._heard(kind, thread, event["message"])
        elif kind == "chatThreadPropertiesUpdated":
            self._topics[thread] = event["topic"]
        elif kind == "participantsAdded":
            self._rosters[thread] |= named
        elif kind == "participantsRemoved":
            self._rosters[thread] -= named
            if self._user.raw_id in named:
                self._in.discard(thread)

    def _heard(self, kind: str, thread: str, message: dict[str, Any]) -> None:
        if kind == "chatMessageReceived":
            assert int(message["sequenceId"]) > self._sequences.get(thread, 0)
            self._sequences[thread] = int(message["sequenceId"])
        known = self.messages.setdefault(thread, {}).get(message["id"])
        if known is None or int(known["version"]) <= int(message["version"]):
            self.messages[thread][message["id"]] = message

    async def _list(self, thread: str) -> None:
        self.messages[thread] = {each["id"]: each for each in await self._home.listed(self._user, thread)}
        self._topics.setdefault(thread, "")
        self._rosters.setdefault(thread, set())
        with suppress(Refused):  # removed again by now
            self._topics[thread] = (await self._home.call(self._user, "GET", f"/chat/threads/{thread}"))["topic"]
            self._rosters[thread] = await self._participants(thread)

    async def _participants(self, thread: str) -> set[str]:
        found = await self._home.call(self._user, "GET", f"/chat/threads/{thread}/participants")
        return {each["communicationIdentifier"]["rawId"] for each in found["value"]}


async def test_writers_of_many_threads_and_processes_leave_nobody_out(nodes: list[Node]) -> None:
    one = nodes[0]
    users = [await one.user() for _ in range(3)]
    threads = [await one.thread(*users) for _ in range(5)]
    reader = await one.open(users[0])

    async def write(where: Node, lane: int) -> list[str]:
        return [await where.send(users[lane % 3], threads[(lane + n) % 5], f"{lane}.{n}") for n in range(8)]

    sending = [asyncio.create_task(write(nodes[lane % 2], lane)) for lane in range(12)]
    sent = [each for ids in await asyncio.gather(*sending) for each in ids]
    await one.clock.advance(BEAT)
    events = [await reader.event() for _ in sent]
    for thread in threads:
        told = [event["message"] for event in events if event["threadId"] == thread]
        assert told == await one.listed(users[0], thread)
