"""A headless Chromium, driven by its own DevTools protocol over the WebSocket that it opens."""

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

START_TIMEOUT_S = 30.0
CALL_TIMEOUT_S = 40.0
_SWITCHES = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0")
# A container's /dev/shm is often too small; a page in the background is to go on as fast as one in front.
_MORE = ("--disable-dev-shm-usage", "--disable-background-timer-throttling", "--disable-renderer-backgrounding")


class ScriptFailed(Exception):
    """A script threw; the message is what it threw."""


class Page:
    """One tab."""

    def __init__(self, browser: "Chromium", session: str) -> None:
        self._browser = browser
        self._session = session

    async def run(self, script: str) -> Any:
        """What the expression gives, waited for when it is a promise, as JSON. Raises `ScriptFailed`."""
        wanted = {"expression": script, "awaitPromise": True, "returnByValue": True}
        answer = await self._browser.call("Runtime.evaluate", wanted, self._session)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise ScriptFailed(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")


class Chromium:
    """One browser process. Made by `chromium()`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._reading = asyncio.create_task(self._read())

    async def page(self) -> Page:
        """A new, empty tab."""
        target = (await self.call("Target.createTarget", {"url": "about:blank"}))["targetId"]
        attached = await self.call("Target.attachToTarget", {"targetId": target, "flatten": True})
        return Page(self, attached["sessionId"])

    async def call(self, method: str, params: dict[str, Any], session: str | None = None) -> Any:
        """One command of the protocol, and its result."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answered
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await self._socket.send_json(message)
                return await answered
        finally:
            del self._waiting[number]

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        async for message in self._socket:
            answer: dict[str, Any] = message.json()
            waiting = self._waiting.get(answer.get("id", 0))
            if waiting is None or waiting.done():
                continue
            if "error" in answer:
                waiting.set_exception(ScriptFailed(answer["error"]["message"]))
            else:
                waiting.set_result(answer["result"])


@asynccontextmanager
async def chromium() -> AsyncGenerator[Chromium]:
    """Debian's Chromium (tools/apt-packages installs it), gone when this is left."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    assert program, "Chromium is needed: make test installs it"
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            program,
            *_SWITCHES,
            *_MORE,
            f"--user-data-dir={profile}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            url = await _listening(process)
            async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0) as socket:
                browser = Chromium(socket)
                try:
                    yield browser
                finally:
                    await browser.close()
        finally:
            process.kill()
            await process.communicate()


async def _listening(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    said = b""
    async with asyncio.timeout(START_TIMEOUT_S):
        async for line in process.stderr:
            said += line
            if line.startswith(b"DevTools listening on "):
                return line.removeprefix(b"DevTools listening on ").decode().strip()
    raise AssertionError(f"Chromium did not start: {said.decode(errors='replace')}")
