"""Real-time chat over real sockets: tickets, who is told what, slow readers, tokens that end, the drain, long polls."""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import aiohttp
import pytest
from tests.support.bus import nats_server, processes
from tests.support.realtime import SECRET, Browser, Node, Page, message, node, typing

from landline.core.errors import Refusal, TooMany, Unauthorized
from landline.core.ids import RawId, ResourceId
from landline.edge.gate import Gate
from landline.edge.http import Caller, Request
from landline.edge.websockets import FEW_BYTES
from landline.engines.bus import Ear, MemoryBus
from landline.engines.clock import DrivenClock
from landline.protocols.trouter import packets
from landline.protocols.trouter.client import Draining, Ended, Pushed
from landline.services.chat.feed import Feed
from landline.services.chat.realtime.api import RealTime
from landline.services.chat.realtime.hub import AT_ONCE, Hub
from landline.services.chat.realtime.sockets import UNREAD_BYTES
from landline.services.chat.realtime.tickets import Holder, Tickets
from landline.services.chat.realtime.watch import RECHECK, Watch
from landline.store.database import Database
from landline.store.sealing import Sealer


@pytest.fixture
async def one(database: Database, dsn: str, clock: DrivenClock) -> AsyncGenerator[Node]:
    async with node(database, dsn, clock) as running:
        yield running


@pytest.fixture
async def browser() -> AsyncGenerator[Browser]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=40)) as http:
        browser = Browser(http)
        yield browser
        await browser.close()


async def text(page: Page) -> str:
    heard = await page.heard()
    assert isinstance(heard, Pushed)
    assert heard.event == "chatMessageReceived"
    return json.loads(heard.body)["messageBody"]


async def refusal(browser: Browser, where: Node, params: dict[str, str]) -> int:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await browser.open(where, params)
    return refused.value.status


async def test_any_process_takes_any_ticket(one: Node, database: Database, dsn: str, browser: Browser) -> None:
    user, token = await one.user()
    async with node(database, dsn, one.clock) as other:
        page = await browser.open(other, await browser.allocate(one, token))
        other.feed.tell(other.resource, message(user, text="over there"))
        assert await text(page) == "over there"


async def test_a_ticket_of_nobody_opens_nothing(one: Node, database: Database, dsn: str, browser: Browser) -> None:
    _, token = await one.user()
    params = await browser.allocate(one, token)
    assert await refusal(browser, one, {}) == 401
    assert await refusal(browser, one, {"sig": token}) == 401
    assert await refusal(browser, one, params | {"sig": params["sig"][:-3] + "AAA"}) == 401
    async with node(database, dsn, one.clock, secret=b"x" * 32) as stranger:
        assert await refusal(browser, stranger, params) == 401
    assert (await browser.request(one, "GET", "/socket.io/1/"))[0] == 401
    assert (await browser.request(one, "GET", "/socket.io/1/", params=params))[0] == 200


async def test_a_ticket_ends_with_its_token(one: Node, browser: Browser) -> None:
    _, token = await one.user(minutes=60)
    params = await browser.allocate(one, token)
    await one.clock.advance(timedelta(minutes=61))
    assert await refusal(browser, one, params) == 401


async def test_a_client_whose_clock_is_behind_is_to_ask_again_until_it_has_another_token(
    one: Node, browser: Browser
) -> None:
    """The official client never asks again after a few 401; it gets a token when its own clock says so."""
    (user, token), (_, revoked) = await one.user(minutes=60), await one.user(minutes=60)

    async def status(token: str) -> int:
        return (await browser.request(one, "POST", "/v4/a", headers={"X-Skypetoken": token}))[0]

    await one.identity.revoke(Caller(one.resource), (await one.identity.check(revoked)).user or "")
    assert await status(revoked) == 401
    await one.clock.advance(timedelta(minutes=60))
    assert await status(token) == 503
    fresh = await one.identity.issue(Caller(one.resource), user, ["chat"], None)
    assert await status(fresh.text) == 200
    assert await status(token[:-1]) == 401
    await one.clock.advance(timedelta(minutes=15, seconds=1))
    assert await status(token) == 401


async def test_the_token_needs_a_scope_of_chat(one: Node, browser: Browser) -> None:
    _, token = await one.user("voip")
    assert (await browser.request(one, "POST", "/v4/a", headers={"X-Skypetoken": token}))[0] == 403


async def test_each_recipient_is_told_at_each_socket(one: Node, browser: Browser) -> None:
    (ann, ann_token), (bob, bob_token), (_, cem_token) = [await one.user() for _ in range(3)]
    pages = [await browser.connect(one, token) for token in (ann_token, bob_token, bob_token, cem_token)]
    one.feed.tell(one.resource, message(ann, bob, text='"8:acs:recipient" é'))
    for page, user in zip(pages[:3], (ann, bob, bob), strict=True):
        heard = await page.heard()
        assert isinstance(heard, Pushed)
        body = json.loads(heard.body)
        assert (body["recipientMri"], body["messageBody"]) == (user, '"8:acs:recipient" é')
    one.feed.tell(one.resource, message(*[(await one.user())[0]]))
    one.feed.tell(one.resource, typing(ann, bob))
    one.feed.tell(one.resource, message(ann, bob, text="done"))
    for page in pages[:2]:  # who types as well: the JavaScript SDK's live tests wait for their own
        typed = await page.heard()
        assert isinstance(typed, Pushed)
        assert typed.event == "typingIndicatorReceived"
        assert await text(page) == "done"


async def test_a_user_of_another_resource_is_told_nothing(one: Node, browser: Browser) -> None:
    user, token = await one.user()
    page = await browser.connect(one, token)
    one.feed.tell(ResourceId(UUID(int=1)), message(user, text="not yours"))
    one.feed.tell(one.resource, message(user, text="yours"))
    assert await text(page) == "yours"


@pytest.mark.parametrize("tls", [False, True])
async def test_a_slow_reader_is_cut_and_others_hear_all(database: Database, dsn: str, tls: bool) -> None:
    connector = aiohttp.TCPConnector(ssl=False)
    async with (
        aiohttp.ClientSession(connector=connector) as http,
        node(database, dsn, DrivenClock(), tls=tls) as one,
    ):
        await cut_off(one, Browser(http))


async def cut_off(one: Node, browser: Browser) -> None:
    (slow, slow_token), (quick, quick_token) = await one.user(), await one.user()
    await browser.connect(one, slow_token)
    page = await browser.connect(one, quick_token)
    sent = 0
    while one.hub.size == 2:
        assert sent < 4000, "the slow reader was never cut"
        one.feed.tell(one.resource, message(quick, slow, text=f"{sent}".ljust(28_000)))
        assert await text(page) == f"{sent}".ljust(28_000)
        sent += 1
    one.feed.tell(one.resource, message(quick, slow, text="still here"))
    assert await text(page) == "still here"
    assert sent * 28_000 > UNREAD_BYTES
    assert one.hub.figures.slow_readers == 1
    await browser.close()


async def test_a_token_that_ends_closes_its_socket(one: Node, browser: Browser) -> None:
    (_, short), (other, long) = await one.user(minutes=60), await one.user()
    page, stays = await browser.connect(one, short), await browser.connect(one, long)
    await one.clock.advance(timedelta(minutes=61))
    assert await page.heard() == Ended()
    assert await page.heard() == 1008
    one.feed.tell(one.resource, message(other))
    assert await text(stays) == "hi"


@pytest.mark.parametrize("how", ["revoke", "delete"])
async def test_a_token_that_is_revoked_closes_its_socket_at_once(one: Node, browser: Browser, how: str) -> None:
    user, token = await one.user()
    page = await browser.connect(one, token)
    await getattr(one.identity, how)(Caller(one.resource), user)
    assert await page.heard() == Ended()
    assert await page.heard() == 1008
    assert await page.heard() == 1008


async def test_a_user_has_a_bounded_number_of_sockets(
    database: Database, dsn: str, clock: DrivenClock, browser: Browser
) -> None:
    async with node(database, dsn, clock, most_of_a_user=2) as strict:
        _, token = await strict.user()
        params = await browser.allocate(strict, token)
        pages = [await browser.open(strict, params) for _ in range(2)]
        assert await refusal(browser, strict, params) == TooMany.status
        await pages[0].socket.send_str("0::")
        assert await pages[0].heard() == 1000
        while strict.hub.size == 2:
            await asyncio.sleep(0)
        await browser.open(strict, params)


async def test_what_is_no_packet_ends_the_socket(one: Node, browser: Browser) -> None:
    page = await browser.connect(one, (await one.user())[1])
    await page.socket.send_str("hello")
    assert await page.heard() == 1002


async def test_a_process_that_stops_sends_its_clients_elsewhere_first(
    one: Node, database: Database, dsn: str, browser: Browser
) -> None:
    user, token = await one.user()
    params = await browser.allocate(one, token)
    page = await browser.open(one, params)
    async with node(database, dsn, one.clock) as other:
        closing = asyncio.create_task(one.listener.close())
        assert await page.heard() == Draining()
        assert one.hub.figures.reconnects == 1
        again = await browser.open(other, params)
        one.feed.tell(one.resource, message(user, text="last words"))
        assert await text(page) == "last words"
        assert await page.heard() == 1012
        other.feed.tell(other.resource, message(user, text="here"))
        assert await text(again) == "here"
        await closing


async def test_polls_bring_what_sockets_would(one: Node, browser: Browser) -> None:
    user, token = await one.user()
    params = await browser.allocate(one, token)
    path = "/socket.io/1/xhr-polling/abc"
    first = packets.split((await browser.request(one, "GET", path, params=params))[1])
    assert [packets.read(each).kind for each in first] == [packets.Kind.CONNECT, packets.Kind.EVENT]
    poll = asyncio.create_task(browser.request(one, "GET", path, params=params))
    for each in ("1", "2 😀"):
        one.feed.tell(one.resource, message(user, text=each))
    status, body = await poll
    found = [json.loads(json.loads(packets.read(each).data)["body"]) for each in packets.split(body)]
    assert (status, [each["messageBody"] for each in found]) == (200, ["1", "2 😀"])
    assert await browser.request(one, "POST", path, params=params, data='5:1+::{"name":"ping"}') == (200, "1")
    assert (await browser.request(one, "GET", path, params=params))[1] == '6:::1+["pong"]'


@asynccontextmanager
async def two_processes(one: Node, database: Database, dsn: str) -> AsyncGenerator[tuple[Node, Node]]:
    """Two that hear one another."""
    async with (
        nats_server() as server,
        processes(server.url) as (here, there),
        node(database, dsn, one.clock, bus=here) as first,
        node(database, dsn, one.clock, bus=there) as second,
    ):
        yield first, second


async def begun(browser: Browser, where: Node, params: dict[str, str]) -> str:
    """The path of a session that begins, where `where` answers."""
    sid = (await browser.request(where, "GET", "/socket.io/1/", params=params))[1].partition(":")[0]
    return f"/socket.io/1/xhr-polling/{sid}"


async def test_polls_may_reach_any_process(one: Node, database: Database, dsn: str, browser: Browser) -> None:
    async with two_processes(one, database, dsn) as (first, second):
        user, token = await first.user()
        params = await browser.allocate(first, token)
        path = await begun(browser, first, params)
        greeting = (await browser.request(second, "GET", path, params=params))[1]
        assert [packets.read(each).kind for each in packets.split(greeting)] == [
            packets.Kind.CONNECT,
            packets.Kind.EVENT,
        ]
        assert (first.hub.size, second.hub.size) == (1, 0)
        for where in (first, second, first, second):
            poll = asyncio.create_task(browser.request(where, "GET", path, params=params))
            said = await browser.request(second, "POST", path, params=params, data='5:1+::{"name":"ping"}')
            assert said == (200, "1")
            assert await poll == (200, '6:::1+["pong"]')
            first.feed.tell(first.resource, message(user, text="hi"))
            body = (await browser.request(where, "GET", path, params=params))[1]
            assert json.loads(json.loads(packets.read(body).data)["body"])["messageBody"] == "hi"
        theirs = await browser.allocate(first, (await first.user())[1])
        assert (await browser.request(second, "GET", path, params=theirs))[0] == 404
        assert (await browser.request(second, "POST", path, params=params, data="?"))[0] == 409
        large = "3:::" + "x" * (1 << 18)
        assert (await browser.request(second, "POST", path, params=params, data=large))[0] == 413
        assert (await browser.request(second, "POST", path, params=params, data="0::"))[0] == 200
        assert first.hub.size == 0


async def test_a_poll_ends_with_the_process_that_has_its_session(
    one: Node, database: Database, dsn: str, browser: Browser
) -> None:
    async with (
        nats_server() as server,
        processes(server.url) as (here, there),
        node(database, dsn, one.clock, bus=there) as second,
    ):
        async with node(database, dsn, one.clock, bus=here) as first:
            params = await browser.allocate(first, (await first.user())[1])
            path = await begun(browser, first, params)
            await browser.request(second, "GET", path, params=params)
            poll = asyncio.create_task(browser.request(second, "GET", path, params=params))
            assert (await browser.request(second, "POST", path, params=params, data="8::"))[0] == 200
        assert (await poll)[0] == 404


async def test_a_session_whose_process_is_gone_is_none(
    one: Node, database: Database, dsn: str, browser: Browser
) -> None:
    async with two_processes(one, database, dsn) as (first, second):
        params = await browser.allocate(first, (await first.user())[1])
        gone = "/socket.io/1/xhr-polling/" + "0" * 16 + "-" + "0" * 32
        assert (await browser.request(second, "GET", gone, params=params))[0] == 404


async def test_who_says_much_and_never_asks_what_there_is_is_gone(one: Node, browser: Browser) -> None:
    params = await browser.allocate(one, (await one.user())[1])
    path = "/socket.io/1/xhr-polling/abc"
    await browser.request(one, "GET", path, params=params)
    pings = packets.body(['5:1+::{"name":"ping"}'] * packets.MOST)
    said = 0
    while (await browser.request(one, "POST", path, params=params, data=pings))[0] == 200:
        said += packets.MOST
        assert said * len('6:::1+["pong"]') < 2 * UNREAD_BYTES
    assert one.hub.size == 0


async def test_a_poll_belongs_to_its_user(one: Node, browser: Browser) -> None:
    path = "/socket.io/1/xhr-polling/abc"
    mine, theirs = [await browser.allocate(one, (await one.user())[1]) for _ in range(2)]
    await browser.request(one, "GET", path, params=mine)
    assert (await browser.request(one, "GET", path, params=theirs))[0] == 404
    assert (await browser.request(one, "POST", path, params=theirs, data="0::"))[0] == 404
    assert (await browser.request(one, "POST", path, params=mine, data="?"))[0] == 409
    assert (await browser.request(one, "POST", path, params=mine, data="0::"))[0] == 200
    assert one.hub.size == 0


async def test_a_revoked_token_ends_its_poll(one: Node, browser: Browser) -> None:
    user, token = await one.user()
    params = await browser.allocate(one, token)
    path = "/socket.io/1/xhr-polling/abc"
    await browser.request(one, "GET", path, params=params)
    poll = asyncio.create_task(browser.request(one, "GET", path, params=params))
    await one.identity.revoke(Caller(one.resource), user)
    status, body = await poll
    # The poll may reach the server on either side of the revocation.
    assert (status, body[:4]) == (200, "0:::") or status == 401
    assert (await browser.request(one, "GET", path, params=params))[0] == 401


async def test_the_probe_is_answered(one: Node, browser: Browser) -> None:
    assert await browser.request(one, "GET", "/?check=1") == (200, "Trouter")
    assert (await browser.request(one, "GET", "/"))[0] == 404


class Counted:
    """A member that counts."""

    def __init__(self, holder: Holder) -> None:
        self.holder = holder
        self.pushed: list[bytes] = []
        self.flushed = 0
        self.unsent = 0
        self.cuts = 0

    def push(self, frame: bytes) -> bool:
        self.pushed.append(frame)
        return len(self.pushed) == 1

    def flush(self) -> None:
        self.flushed += 1

    def cut(self) -> None:
        self.cuts += 1

    def end(self) -> None:
        raise AssertionError


async def test_what_is_due_in_one_turn_goes_out_together_and_is_made_once(one: Node) -> None:
    feed = Feed(MemoryBus())
    hub = Hub(feed)
    user, token = await one.user()
    members = [Counted(Holder(one.resource, user, token, one.clock.now())) for _ in range(3)]
    for member in members:
        await hub.join(member)
    for _ in range(10):
        feed.tell(one.resource, message(user))
    while not members[-1].flushed:
        await asyncio.sleep(0)
    assert [(len(member.pushed), member.flushed) for member in members] == [(10, 1)] * 3
    assert all(first is second for first, second in zip(members[0].pushed, members[1].pushed, strict=True))
    for member in members:
        hub.leave(member)
    assert hub.size == 0


class SlowBus(MemoryBus):
    """One that takes its time to hear."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.let_go = asyncio.Event(), asyncio.Event()
        self.ears: list[Ear] = []

    async def subscribe(self, subject: str, heard: Callable[[bytes], None]) -> Ear:
        self.asked.set()
        await self.let_go.wait()
        self.ears.append(await super().subscribe(subject, heard))
        return self.ears[-1]


async def test_who_leaves_while_the_process_begins_to_listen_leaves_nothing(one: Node) -> None:
    bus = SlowBus()
    hub = Hub(Feed(bus))
    user, token = await one.user()
    tickets = Tickets(Sealer(SECRET), one.identity)
    watch = Watch(hub, tickets, one.clock)
    real_time = RealTime(hub, tickets, watch, one.clock, bus)
    sig = tickets.issue(Holder(one.resource, user, token, one.clock.now()))

    async def ask(method: str, body: bytes = b"") -> int:
        path = f"/socket.io/1/xhr-polling/abc?sig={sig}"
        request = Request(method, path, {}, body, "1", params={"sid": "abc"})
        route = next(
            each for each in real_time.routes(Gate()) if (each.method, "{sid}" in each.template) == (method, True)
        )
        try:
            return (await route.handler(request)).status
        except Refusal as refused:
            return refused.status

    poll = asyncio.create_task(ask("GET"))
    await bus.asked.wait()
    assert await ask("POST", b"0::") == 200
    bus.let_go.set()
    assert await poll == 404
    assert (hub.size, watch.held) == (0, 0)
    other = Counted(Holder(one.resource, user, token, one.clock.now()))
    await hub.join(other)  # nobody was left to listen for, so it begins anew
    assert len(bus.ears) == 2
    hub.leave(other)


async def test_a_thousand_connections_do_not_hold_up_the_loop(one: Node) -> None:
    feed, user = Feed(MemoryBus()), (await one.user())[0]
    hub = Hub(feed, most_of_a_user=3 * AT_ONCE)
    members = [Counted(Holder(one.resource, user, "", one.clock.now())) for _ in range(3 * AT_ONCE)]
    for member in members:
        await hub.join(member)
    feed.tell(one.resource, message(user))
    seen: set[int] = set()
    while (done := sum(member.flushed for member in members)) < len(members):
        seen.add(done)
        await asyncio.sleep(0)
    assert seen == {0, AT_ONCE, 2 * AT_ONCE}
    assert [member.flushed for member in members] == [1] * len(members)


async def test_readers_that_are_slow_together_are_cut_before_they_take_the_process_down(one: Node) -> None:
    feed, user = Feed(MemoryBus()), (await one.user())[0]
    hub = Hub(feed, most_behind=2)
    members = [Counted(Holder(one.resource, user, str(number), one.clock.now())) for number in range(5)]
    for member in members:
        await hub.join(member)

    async def told() -> list[int]:
        for member in members:
            member.pushed.clear()
        flushed = members[-1].flushed
        feed.tell(one.resource, message(user))
        while members[-1].flushed == flushed:
            await asyncio.sleep(0)
        return [member.cuts for member in members]

    for member in members[:2]:
        member.unsent = FEW_BYTES + 1
    assert await told() == [0] * 5
    members[0].unsent = 0
    members[2].unsent = FEW_BYTES + 1
    assert await told() == [0] * 5
    members[3].unsent = members[4].unsent = FEW_BYTES + 1
    assert await told() == [0, 1, 1, 0, 0], "those behind for longest"


class Turnstile:
    """Tokens whose check waits until it is let through."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.let = asyncio.Event()
        self.good = True
        self.checks = 0

    async def check(self, token: str) -> Caller:
        self.checks += 1
        good = self.good
        self.asked.set()
        await self.let.wait()
        if not good:
            raise Unauthorized("The token has been revoked.")
        return Caller(ResourceId(UUID(int=1)), user=USER, scopes=frozenset({"chat"}))


USER = RawId(f"8:acs:{UUID(int=1)}_{UUID(int=2)}")
TOKEN = "x." + base64.urlsafe_b64encode(b'{"exp":4000000000}').decode() + ".x"


class Ending:
    """A member that notes its end."""

    unsent = 0

    def __init__(self) -> None:
        self.holder = Holder(ResourceId(UUID(int=1)), USER, TOKEN, datetime.fromtimestamp(4_000_000_000, UTC))
        self.ended = asyncio.Event()

    def push(self, frame: bytes) -> bool:
        raise AssertionError

    def flush(self) -> None:
        raise AssertionError

    def cut(self) -> None:
        raise AssertionError

    def end(self) -> None:
        self.ended.set()


@asynccontextmanager
async def watched(tokens: Turnstile, clock: DrivenClock) -> AsyncGenerator[Watch]:
    watch = Watch(Hub(Feed(MemoryBus())), Tickets(Sealer(SECRET), tokens), clock)
    task = asyncio.create_task(watch.run())
    yield watch
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_token_revoked_while_it_is_checked_is_checked_again() -> None:
    tokens, clock, member = Turnstile(), DrivenClock(), Ending()
    async with watched(tokens, clock) as watch:
        watch.joined(member)
        watch.suspect(None)
        await tokens.asked.wait()
        tokens.good = False
        watch.suspect(USER)
        tokens.let.set()
        await member.ended.wait()
    assert tokens.checks == 2


async def test_many_connections_are_checked_again_together_and_those_that_left_are_not() -> None:
    tokens, clock = Turnstile(), DrivenClock()
    tokens.let.set()
    members = [Ending() for _ in range(120)]
    async with watched(tokens, clock) as watch:
        for member in members:
            watch.joined(member)
        for member in members[100:]:
            watch.left(member)
        for turns in (1, 2):
            await clock.advance(RECHECK)
            assert tokens.checks == turns * 100
        tokens.good = False
        await clock.advance(RECHECK)
        assert [member.ended.is_set() for member in members] == [True] * 100 + [False] * 20
