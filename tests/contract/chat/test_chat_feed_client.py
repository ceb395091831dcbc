"""The package's own client of the chat feed, against a real server behind a cable that is cut."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta

import pytest
from tests.support.cable import Cable, cable
from tests.support.feed import Node, User, node
from tests.support.patience import PATIENCE_S

from landline.client import ChatFeed, FeedRefused, MessageReceived, Position, ReadReceiptReceived, Reset
from landline.client.chat_feed import Event
from landline.edge.http import Caller
from landline.engines.clock import DrivenClock
from landline.store.database import Database


@pytest.fixture
async def one(database: Database, dsn: str, clock: DrivenClock) -> AsyncGenerator[Node]:
    async with node(database, dsn, clock) as running:
        yield running


@pytest.fixture
async def line(one: Node) -> AsyncGenerator[Cable]:
    async with cable(one.listener.port) as laid:
        yield laid


def endpoint(line: Cable) -> str:
    return f"http://127.0.0.1:{line.port}/"


async def texts(feed: ChatFeed, count: int) -> list[str]:
    """What the next messages say."""
    found: list[str] = []
    async with asyncio.timeout(PATIENCE_S):
        async for event in feed:
            assert isinstance(event, MessageReceived)
            assert event.message.content is not None
            found.append(event.message.content.message or "")
            if len(found) == count:
                break
    return found


async def first(feed: ChatFeed) -> Event:
    async with asyncio.timeout(PATIENCE_S):
        async for event in feed:
            return event
    raise AssertionError("it ended")


async def test_cuts_do_not_show(one: Node, line: Cable) -> None:
    ann, bob = await one.user(), await one.user()
    thread = await one.thread(ann, bob)

    async def write() -> None:
        for number in range(60):
            await one.send(ann, thread, f"{number}")
            if number % 20 == 10:
                line.cut()

    async with ChatFeed(endpoint(line), bob.token) as feed:
        writing = asyncio.create_task(write())
        assert await texts(feed, 60) == [f"{number}" for number in range(60)]
        await writing
    assert line.cuts >= 2


async def test_a_program_that_starts_again_goes_on_after_what_it_handled(one: Node, line: Cable) -> None:
    ann, bob = await one.user(), await one.user()
    thread = await one.thread(ann, bob)
    async with ChatFeed(endpoint(line), bob.token) as feed:
        for number in range(4):
            await one.send(ann, thread, f"{number}")
        assert await texts(feed, 2) == ["0", "1"], "the body was left while at 1: it is not handled"
        kept = feed.position
    assert isinstance(kept, Position)
    async with ChatFeed(endpoint(line), bob.token, position=kept) as feed:
        assert await texts(feed, 3) == ["1", "2", "3"]


async def test_a_token_that_ends_is_renewed(one: Node, line: Cable) -> None:
    ann = await one.user(minutes=60)
    thread = await one.thread(ann)
    asked = 0

    async def refresher() -> str:
        nonlocal asked
        asked += 1
        token = await one.identity.issue(Caller(one.resource), ann.raw_id, ["chat"], 60)
        return token.text

    async with ChatFeed(endpoint(line), ann.token, refresher=refresher) as feed:
        await one.clock.advance(timedelta(minutes=61))
        later = User(ann.raw_id, await refresher())
        await one.send(later, thread, "still there")
        assert await texts(feed, 1) == ["still there"]
    assert asked == 2
    async with ChatFeed(endpoint(line), refresher=refresher) as feed:
        await one.send(later, thread, "from the start")
        assert await texts(feed, 1) == ["from the start"]


async def test_who_is_not_let_in_is_told_so(one: Node, line: Cable) -> None:
    ann, caller = await one.user(), await one.user("voip")

    async def stale() -> str:
        return "x.y.z"

    for token, refresher, status in ((caller.token, None, 403), ("x", None, 401), (None, stale, 401)):
        with pytest.raises(FeedRefused) as refused:
            async with ChatFeed(endpoint(line), token, refresher=refresher):
                pass
        assert refused.value.status == status
    async with ChatFeed(endpoint(line), ann.token) as feed:
        await one.identity.revoke(Caller(one.resource), ann.raw_id)
        with pytest.raises(FeedRefused):
            await first(feed)
    for wrong in ("localhost", "ftp://localhost/"):
        with pytest.raises(ValueError, match="endpoint"):
            ChatFeed(wrong, "x")
    with pytest.raises(ValueError, match="token"):
        ChatFeed(endpoint(line))


async def test_it_waits_for_a_server_that_is_away(one: Node, line: Cable) -> None:
    ann = await one.user()
    thread = await one.thread(ann)
    line.open = False
    opening = asyncio.create_task(ChatFeed(endpoint(line), ann.token).__aenter__())
    await asyncio.sleep(0)
    line.open = True
    feed = await opening
    line.open = False
    line.cut()
    await one.send(ann, thread, "missed")
    line.open = True
    assert await texts(feed, 1) == ["missed"]
    await feed.close()
    assert [event async for event in feed] == []


async def test_what_cannot_be_brought_is_said(one: Node, line: Cable) -> None:
    ann, bob = await one.user(), await one.user()
    thread = await one.thread(ann, bob)
    message = await one.send(ann, thread, "hi")
    async with ChatFeed(endpoint(line), bob.token, position=Position(1, "abc")) as feed:
        reset = await first(feed)
        assert isinstance(reset, Reset)
        assert reset.reason == "epochChanged"
        await one.call(ann, "POST", f"/chat/threads/{thread}/readReceipts", {"chatMessageId": message})
        assert isinstance(await first(feed), ReadReceiptReceived)
        await one.send(ann, thread, "on")
        assert await texts(feed, 1) == ["on"]


async def test_a_server_that_stops_hands_its_readers_on(one: Node, line: Cable, database: Database, dsn: str) -> None:
    ann = await one.user()
    thread = await one.thread(ann)
    async with ChatFeed(endpoint(line), ann.token) as feed, node(database, dsn, one.clock) as other:
        reading = asyncio.create_task(texts(feed, 1))
        await asyncio.sleep(0)
        line.to = other.listener.port
        await one.listener.close()
        await other.send(ann, thread, "from the other")
        assert await reading == ["from the other"]
