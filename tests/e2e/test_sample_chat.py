"""The sample of samples/chat as its users see it: the official UI library's `ChatComposite` in several browsers."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from azure.communication.chat import ChatClient, CommunicationTokenCredential
from tests.conftest import SCREENSHOTS
from tests.support import sample_chat
from tests.support.chromium import WHILE_AWAY, Page, chromium, trusting

from landline.testing import Server

LIVE = "document.documentElement.dataset.connection === 'live' && !!document.querySelector('#sendbox')"
AWAY = "document.documentElement.dataset.connection === 'away'"

ASKED = "performance.getEntriesByType('resource').map((each) => new URL(each.name).origin)"
# The messages and who is typing; not what is said to screen readers, which stays for a while.
SHOWN = "[...document.querySelectorAll('.fui-Chat, [data-ui-id=typing-indicator]')].map((one) => one.innerText).join()"


@pytest.fixture(scope="module")
def url(landline: Server) -> Iterator[str]:
    """Where the sample is, beside the run's server."""
    with sample_chat.serving(landline) as url:
        yield url


@dataclass
class Person:
    """Who looks at one page of the sample, and types."""

    page: Page

    async def writes(self, text: str) -> None:
        await self.page.run("document.querySelector('#sendbox').focus()")
        await self.page.write(text)

    async def sees(self, text: str) -> None:
        """Among the messages, or what stands around them."""
        await self.page.seen(f"{SHOWN}.includes({json.dumps(text)})")

    async def sees_no(self, text: str) -> None:
        await self.page.seen(f"!{SHOWN}.includes({json.dumps(text)})")

    async def presses(self, selector: str) -> None:
        """The first thing that fits, when it is there."""
        await self.page.seen(f"document.querySelector({json.dumps(selector)})?.isConnected")
        await self.page.run(f"document.querySelector({json.dumps(selector)}).click()")

    async def chooses(self, action: str) -> None:
        """From the menu of one's own newest message."""
        await self.presses("[data-testid=chat-composite-message-action-icon]")
        await self.presses(f"[data-testid=chat-composite-message-contextual-menu-{action}-action]")


@asynccontextmanager
async def people(server: Server, url: str, *names: str) -> AsyncGenerator[list[Person]]:
    """Each in a browser of their own, connected."""
    async with chromium(trusting(sample_chat.certificate(server))) as browser:
        found: list[Person] = []
        for name in names:
            page = await browser.page()
            await page.open(f"{url}?user={name}")
            await page.seen(LIVE)
            found.append(Person(page))
        yield found


async def test_two_people_chat(landline: Server, url: str) -> None:
    async with people(landline, url, "Ann", "Bob") as (ann, bob):
        await bob.sees("Bob joined the chat.")
        await ann.sees("Bob joined the chat.")

        await ann.writes("Noon, at the museum?")
        await bob.sees("Ann is typing")
        await ann.page.write("\n")
        await bob.sees("Noon, at the museum?")
        await ann.page.seen("document.querySelector('[aria-label=\"Message seen by others\"]')?.isConnected")

        await bob.writes("One o'clock, café\n")
        await ann.sees("One o'clock, café")
        for name, person in (("ann", ann), ("bob", bob)):
            await person.page.screenshot(SCREENSHOTS / f"chat-{name}.png")
            assert set(await person.page.run(ASKED)) == {url.rstrip("/"), landline.endpoint.rstrip("/")}
        assert ann.page.problems + bob.page.problems == []


async def test_what_is_edited_and_deleted_is_so_for_both(landline: Server, url: str) -> None:
    async with people(landline, url, "Cem", "Dana") as (cem, dana):
        await cem.writes("Thrusday it is\n")
        await dana.sees("Thrusday it is")
        await cem.chooses("edit")
        await cem.page.seen("document.activeElement?.dataset.uiId === 'edit-box'")
        await cem.page.run("document.activeElement.select()")
        await cem.page.write("Thursday it is\n")
        await dana.sees("Thursday it is")
        await dana.sees("Edited")
        await cem.chooses("remove")
        await dana.sees_no("Thursday it is")
        await cem.sees_no("Thursday it is")
        assert cem.page.problems + dana.page.problems == []


async def test_who_was_away_misses_nothing(landline_server: Callable[..., Server]) -> None:
    server = landline_server()
    with sample_chat.serving(server) as url:
        async with people(server, url, "Ann", "Bob") as (ann, bob):
            token, thread_id = await ann.page.run(
                "fetch('/me?user=Ann').then((answer) => answer.json()).then((me) => [me.token, me.threadId])"
            )
            await ann.page.seen(LIVE)
            server.kill()
            for person in (ann, bob):
                await person.page.seen(AWAY)
            await asyncio.to_thread(server.restart)
            with (
                ChatClient(server.endpoint, CommunicationTokenCredential(token)) as chat,
                chat.get_chat_thread_client(thread_id) as thread,
            ):
                thread.send_message("sent meanwhile")
            for person in (ann, bob):
                await person.sees("sent meanwhile")
                await person.page.seen(LIVE)
            await bob.writes("and we are back\n")
            await ann.sees("and we are back")
            assert [one for one in ann.page.problems + bob.page.problems if not WHILE_AWAY.search(one)] == []


async def test_a_browser_that_does_not_trust_the_certificate_is_told_what_to_do(landline: Server, url: str) -> None:
    async with chromium() as browser:
        page = await browser.page()
        await page.open(f"{url}?user=Eve")
        link = await page.seen("document.querySelector('[role=alert] a')?.href")
        assert link == landline.endpoint
