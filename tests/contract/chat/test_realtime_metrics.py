"""What `/metrics` says of chat's real-time connections."""

import asyncio
from collections.abc import AsyncGenerator

import aiohttp
import pytest
from tests.support import feed
from tests.support.patience import PATIENCE_S
from tests.support.realtime import Browser, Node, message, node

from landline.engines.clock import DrivenClock
from landline.protocols.trouter.client import Pushed
from landline.store.database import Database

POLL = "/socket.io/1/xhr-polling/abc"


@pytest.fixture
async def one(database: Database, dsn: str) -> AsyncGenerator[Node]:
    async with node(database, dsn, DrivenClock()) as running:
        yield running


def value(where: Node | feed.Node, name: str, **labels: str) -> float | None:
    return where.registry.get_sample_value(f"landline_chat_{name}", labels)


async def test_connections_are_counted_by_kind_and_frames_by_connection(one: Node) -> None:
    user, token = await one.user()
    async with aiohttp.ClientSession() as http:
        browser = Browser(http)
        params = await browser.allocate(one, token)
        pages = [await browser.open(one, params) for _ in range(2)]
        await browser.request(one, "GET", POLL, params=params)
        poll = asyncio.create_task(browser.request(one, "GET", POLL, params=params))
        assert (value(one, "connections", kind="websocket"), value(one, "connections", kind="polling")) == (2, 1)
        assert (value(one, "frames_total"), value(one, "frame_bytes_total")) == (0, 0)
        for text in ("one", "two"):
            one.feed.tell(one.resource, message(user, text=text))
        for page in pages:
            heard = [await page.heard() for _ in range(2)]
            assert all(isinstance(each, Pushed) for each in heard)
        await poll
        assert value(one, "frames_total") == 6
        per_frame = (value(one, "frame_bytes_total") or 0) / 6
        assert 300 < per_frame < 3000
        await browser.request(one, "POST", POLL, params=params, data="0::")
        await pages[0].socket.close()
        await pages[1].socket.send_str("2::")
    assert value(one, "connections", kind="polling") == 0
    assert (value(one, "slow_readers_total"), value(one, "reconnects_total")) == (0, 0)


async def test_readers_of_the_feed_are_counted_too(database: Database, dsn: str) -> None:
    async with feed.node(database, dsn, DrivenClock()) as one:
        ann, bob = await one.user(), await one.user()
        thread = await one.thread(ann, bob)
        early = await one.open(bob)
        headers = {"authorization": f"Bearer {bob.token}"}
        stream = await one.http.get(f"http://127.0.0.1:{one.listener.port}/chat/feed", headers=headers)
        kinds = ("feed_websocket", "feed_events")
        assert [value(one, "connections", kind=kind) for kind in kinds] == [1, 1]
        assert value(one, "frames_total") == 0
        await one.send(ann, thread, "hello")
        assert await early.texts(1) == ["hello"]
        async for line in stream.content:
            if b"hello" in line:
                break
        assert value(one, "frames_total") == 2
        late = await one.open(bob, (early.offset - 1, early.epoch))
        assert await late.texts(1) == ["hello"]
        assert value(one, "frames_total") == 3
        assert (value(one, "frame_bytes_total") or 0) > 600
        stream.close()
        closing = asyncio.create_task(one.listener.close())
        assert await early.frame() == {"type": "reconnect"}
        assert (value(one, "reconnects_total") or 0) >= 2
        for each in (early, late):
            await each.closed()
        await closing
        async with asyncio.timeout(PATIENCE_S):
            while any(value(one, "connections", kind=kind) for kind in kinds):
                await asyncio.sleep(0)
