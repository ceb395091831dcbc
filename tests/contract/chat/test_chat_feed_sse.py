"""The chat feed as server-sent events, with an HTTP client that is not ours."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import pytest
from tests.support.feed import Node, User, node
from tests.support.patience import PATIENCE_S

from landline.edge import answers, server
from landline.edge.http import Caller
from landline.engines.clock import DrivenClock
from landline.services.chat.stream import readers
from landline.store.database import Database


@pytest.fixture
async def one(database: Database, dsn: str, clock: DrivenClock) -> AsyncGenerator[Node]:
    async with node(database, dsn, clock) as running:
        yield running


class Source:
    """What a browser's EventSource does."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer
        self.last_id = ""

    @classmethod
    async def open(cls, one: Node, user: User, last_id: str = "", **query: str) -> "Source":
        headers = {"authorization": f"Bearer {user.token}", "accept": "text/event-stream"}
        headers |= {"last-event-id": last_id} if last_id else {}
        url = f"http://127.0.0.1:{one.listener.port}/chat/feed"
        return cls(await one.http.get(url, headers=headers, params=query))

    async def event(self) -> dict[str, Any] | None:
        """The next event; None at the end."""
        data = None
        async with asyncio.timeout(PATIENCE_S):
            async for line in self.answer.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "id":
                    self.last_id = value
                elif name == "data":
                    data = json.loads(value)
                elif not name and data is not None:
                    return data
        return None


async def gone(one: Node) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while one.audience.size:
            await asyncio.sleep(0)


async def test_what_happens_is_told_and_what_was_missed_is_told_later(one: Node) -> None:
    ann, bob = await one.user(), await one.user()
    thread = await one.thread(ann, bob)
    source = await Source.open(one, bob)
    assert source.answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert source.answer.headers["cache-control"] == "no-store"
    assert (await source.event() or {})["type"] == "connected"
    await one.send(ann, thread, "two\nlines")
    event = await source.event()
    assert event is not None
    assert event["message"]["content"]["message"] == "two\nlines"
    source.answer.close()
    await gone(one)
    for number in range(3):
        await one.send(ann, thread, f"{number}")
    again = await Source.open(one, bob, source.last_id)
    assert (await again.event() or {})["offset"] == event["offset"]
    told = [await again.event() or {} for _ in range(3)]
    assert [each["message"]["content"]["message"] for each in told] == ["0", "1", "2"]
    again.answer.close()


async def test_it_goes_by_the_same_rules(one: Node) -> None:
    ann, caller = await one.user(), await one.user("voip")
    assert (await Source.open(one, caller)).answer.status == 403
    assert (await Source.open(one, User(ann.raw_id, "x"))).answer.status == 401
    bad = await Source.open(one, ann, "seven")
    assert (bad.answer.status, (await bad.answer.json())["error"]["target"]) == (400, "offset")
    unknown = await Source.open(one, ann, "1.abc")
    assert (await unknown.event() or {})["type"] == "reset"
    unknown.answer.close()
    await gone(one)


async def test_a_page_of_another_origin_may_read_it(one: Node) -> None:
    ann = await one.user()
    url = f"http://127.0.0.1:{one.listener.port}/chat/feed"
    headers = {"origin": "https://here.example"}
    async with one.http.get(url, headers=headers, params={"access_token": ann.token}) as answer:
        assert answer.headers["access-control-allow-origin"] == "*"
    asked = headers | {"access-control-request-method": "GET", "access-control-request-headers": "last-event-id"}
    async with one.http.options(url, headers=asked) as answer:
        assert "last-event-id" in answer.headers["access-control-allow-headers"]


async def test_it_ends_with_its_token(one: Node) -> None:
    ann = await one.user()
    source = await Source.open(one, ann)
    await source.event()
    await one.identity.revoke(Caller(one.resource), ann.raw_id)
    assert await source.event() == {"type": "ended", "reason": "unauthorized"}
    assert await source.event() is None
    await gone(one)


async def test_a_process_that_stops_sends_its_readers_elsewhere(one: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "DRAIN_S", 3600.0)
    source = await Source.open(one, await one.user())
    await source.event()
    closing = asyncio.create_task(one.listener.close())
    assert await source.event() == {"type": "reconnect"}
    assert await source.event() is None
    async with asyncio.timeout(PATIENCE_S):  # and is not held up by streams without an end
        await closing


async def test_a_slow_reader_is_cut(one: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "PIECE_TIMEOUT_S", 3600.0)
    monkeypatch.setattr(readers, "_TAKES_S", 3600.0)
    ann, bob = await one.user(), await one.user()
    thread = await one.thread(ann, bob)
    quick, stuck = await one.open(ann), await Source.open(one, bob)
    sent = 0
    while one.audience.size == 2:
        assert sent < 3000, "the slow reader was never cut"
        await one.send(ann, thread, f"{sent}".ljust(20_000))
        assert await quick.texts(1) == [f"{sent}".ljust(20_000)]
        sent += 1
    with pytest.raises(aiohttp.ClientError):  # at once, not when it has not read for long: what it holds is nobody's
        await asyncio.wait_for(stuck.answer.content.read(), PATIENCE_S)
    stuck.answer.close()
