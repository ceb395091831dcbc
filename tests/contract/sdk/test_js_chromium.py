"""The official JavaScript chat client, unmodified, bundled as applications do it, in headless Chromium: its page is of
another origin than Landline, whose certificate authority the browser believes."""

import asyncio
import json
import subprocess
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from azure.communication.identity import CommunicationIdentityClient
from tests.support import sample_chat
from tests.support.chromium import WHILE_AWAY, Page, ScriptFailed, chromium, trusting

from landline.testing import Server

PAGE = '<!doctype html><title>chat</title><link rel="icon" href="data:,"><script src="/in_chromium.js"></script>'


@dataclass
class User:
    """Somebody with the client in a tab of their own."""

    id: str
    page: Page

    async def heard(self, event: str) -> Any:
        """The next event of that name."""
        return await self.page.run(f"heard({json.dumps(event)})")

    async def does(self, call: str) -> Any:
        """What the client's `call` gives."""
        return await self.page.run(f"client.{call}")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, node_modules: Path) -> str:
    """The client and the test's functions as one file."""
    out = tmp_path_factory.mktemp("bundle") / "in_chromium.js"
    esbuild = sample_chat.modules() / ".bin" / "esbuild"
    source = node_modules.parent / "in_chromium.js"
    subprocess.run([esbuild, source, "--bundle", f"--outfile={out}", "--log-level=error"], check=True, timeout=60)
    return out.read_text()


@pytest.fixture
async def origin(bundle: str) -> AsyncGenerator[str]:
    """Where the page is served."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def script(_: web.Request) -> web.Response:
        return web.Response(text=bundle, content_type="text/javascript")

    application = web.Application()
    application.add_routes([web.get("/", page), web.get("/in_chromium.js", script)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@asynccontextmanager
async def listening(server: Server, origin: str, *, before: str = "") -> AsyncGenerator[tuple[User, User]]:
    """Two users whose clients are connected; `before` runs in their pages before anything else."""
    identity = CommunicationIdentityClient.from_connection_string(server.connection_string)
    async with chromium(trusting(sample_chat.certificate(server))) as browser:

        async def user() -> User:
            made, token = identity.create_user_and_token(["chat"])
            page = await browser.page()
            await page.call("Page.addScriptToEvaluateOnNewDocument", {"source": before})
            await page.open(origin)
            await page.run(f"listen({json.dumps(server.endpoint)}, {json.dumps(token.token)})")
            return User(made.properties["id"], page)

        yield await user(), await user()


def participant(user: User) -> str:
    return json.dumps({"id": {"communicationUserId": user.id}, "displayName": "Somebody"})


async def opened(owner: User, other: User) -> str:
    """A thread of the two; its id, as JSON."""
    options = f"{{participants: [{participant(other)}]}}"
    made = await owner.does(f"createChatThread({{topic: 'Lunch'}}, {options})")
    return json.dumps(made["chatThread"]["id"])


async def test_all_ten_events_come_to_a_page_of_another_origin(
    landline_server: Callable[..., Server], origin: str
) -> None:
    async with listening(landline_server(), origin) as (ann, bob):
        thread_id = await opened(ann, bob)
        assert (await bob.heard("chatThreadCreated"))["properties"]["topic"] == "Lunch"
        thread = f"getChatThreadClient({thread_id})"
        sent = await ann.does(f"{thread}.sendMessage({{content: 'noon? é😀'}})")
        message = json.dumps(sent["id"])
        assert (await bob.heard("chatMessageReceived"))["message"] == "noon? é😀"
        await ann.does(f"{thread}.updateMessage({message}, {{content: 'one?'}})")
        assert (await bob.heard("chatMessageEdited"))["message"] == "one?"
        await bob.does(f"{thread}.sendTypingNotification()")
        assert (await ann.heard("typingIndicatorReceived"))["sender"]["communicationUserId"] == bob.id
        await bob.does(f"{thread}.sendReadReceipt({{chatMessageId: {message}}})")
        assert (await ann.heard("readReceiptReceived"))["chatMessageId"] == sent["id"]
        await ann.does(f"{thread}.deleteMessage({message})")
        assert (await bob.heard("chatMessageDeleted"))["id"] == sent["id"]
        await ann.does(f"{thread}.updateTopic('Dinner')")
        assert (await bob.heard("chatThreadPropertiesUpdated"))["properties"]["topic"] == "Dinner"
        await ann.does(f"{thread}.removeParticipant({{communicationUserId: {json.dumps(bob.id)}}})")
        removed = (await bob.heard("participantsRemoved"))["participantsRemoved"]
        assert [each["id"]["communicationUserId"] for each in removed] == [bob.id]
        await ann.does(f"{thread}.addParticipants({{participants: [{participant(bob)}]}})")
        assert (await bob.heard("participantsAdded"))["addedBy"]["id"]["communicationUserId"] == ann.id
        await ann.does(f"deleteChatThread({thread_id})")
        assert (await bob.heard("chatThreadDeleted"))["threadId"] == json.loads(thread_id)
        assert ann.page.problems + bob.page.problems == []


async def test_pages_are_back_when_their_server_is(landline_server: Callable[..., Server], origin: str) -> None:
    server = landline_server()
    async with listening(server, origin) as (ann, bob):
        thread = f"getChatThreadClient({await opened(ann, bob)})"
        await ann.does(f"{thread}.sendMessage({{content: 'one'}})")
        assert (await bob.heard("chatMessageReceived"))["message"] == "one"
        assert ann.page.problems + bob.page.problems == []
        server.kill()
        await asyncio.gather(*(user.heard("realTimeNotificationDisconnected") for user in (ann, bob)))
        await asyncio.to_thread(server.restart)
        await asyncio.gather(*(user.heard("realTimeNotificationConnected") for user in (ann, bob)))
        await ann.does(f"{thread}.sendMessage({{content: 'two'}})")
        assert (await bob.heard("chatMessageReceived"))["message"] == "two"
        assert [one for one in ann.page.problems + bob.page.problems if not WHILE_AWAY.search(one)] == []


async def test_a_page_that_gets_no_websocket_through_polls(landline_server: Callable[..., Server], origin: str) -> None:
    async with listening(landline_server(), origin, before="delete window.WebSocket") as (ann, bob):
        thread = f"getChatThreadClient({await opened(ann, bob)})"
        texts = ["one", "two", "drei é😀"]
        for text in texts:
            await ann.does(f"{thread}.sendMessage({{content: {json.dumps(text)}}})")
        assert [(await bob.heard("chatMessageReceived"))["message"] for _ in texts] == texts
        asked = "performance.getEntriesByType('resource').some((each) => each.name.includes('/xhr-polling/'))"
        assert await bob.page.run(asked)
        assert ann.page.problems + bob.page.problems == []


async def test_a_page_that_polls_may_reach_any_process(landline_server: Callable[..., Server], origin: str) -> None:
    server = landline_server(arguments=["--workers", "2"], env={"LANDLINE_DRIVEN_CLOCK": "false"})
    async with listening(server, origin, before="delete window.WebSocket") as (ann, bob):
        thread = f"getChatThreadClient({await opened(ann, bob)})"
        for text in [str(number) for number in range(10)]:
            await ann.does(f"{thread}.sendMessage({{content: {json.dumps(text)}}})")
            assert (await bob.heard("chatMessageReceived"))["message"] == text
        assert ann.page.problems + bob.page.problems == []


async def test_pages_of_origins_that_were_not_named_are_kept_out(
    landline_server: Callable[..., Server], origin: str
) -> None:
    server = landline_server(env={"LANDLINE_CORS_ORIGINS": origin})
    async with listening(server, origin) as (ann, bob):
        await opened(ann, bob)
        await bob.heard("chatThreadCreated")
        assert ann.page.problems + bob.page.problems == []
    with pytest.raises(ScriptFailed, match="Failed to fetch"):
        async with listening(server, origin.replace("127.0.0.1", "localhost")):
            raise AssertionError("a page of another origin was let in")
