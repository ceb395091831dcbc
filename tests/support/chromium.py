"""A headless Chromium, driven by its own DevTools protocol over the WebSocket that it opens."""

import asyncio
import base64
import hashlib
import itertools
import re
import shutil
import tempfile
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

START_TIMEOUT_S = 90.0
CALL_TIMEOUT_S = 90.0  # a client whose server was away tries again after up to 50 s (chat-realtime.md A)
_SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--no-default-browser-check",
    "--remote-debugging-port=0",
    "--disable-dev-shm-usage",  # a container's /dev/shm is often too small
    # A page in the background is to go on as fast as one in front.
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    # Nothing is asked of the network but what a test asks.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-sync",
    "--disable-quic",
    "--disable-features=Translate,OptimizationHints,MediaRouter,DialMediaRouteProvider",
    "--metrics-recording-only",
)
_LISTENING = "DevTools listening on "
_LINES = 40
_VIEW = {"width": 900, "height": 700, "deviceScaleFactor": 1, "mobile": False}
WHILE_AWAY = re.compile(
    r"net::ERR_(CONNECTION_REFUSED|CONNECTION_RESET|CONNECTION_CLOSED|EMPTY_RESPONSE|SOCKET_NOT_CONNECTED)"
    r"|Error sending request: Failed to fetch"
)
"""What Chromium logs of requests while there is nobody to answer them, and the UI library of one that was cut off. What
CORS forbids is logged in other words."""
# Resolves with what `find` gives once that is something; looks again at every change of the document.
_SEEN = """
function seen(find) {
  return new Promise((resolve) => {
    const look = () => {
      const found = find();
      if (!found) return;
      watcher.disconnect();
      resolve(found);
    };
    const watcher = new MutationObserver(look);
    watcher.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
    look();
  });
}
"""


class ScriptFailed(Exception):
    """A script threw; the message is what it threw."""


class Page:
    """One tab. `problems`: what it logged as errors, threw uncaught, or failed to load."""

    def __init__(self, browser: "Chromium", session: str) -> None:
        self._browser = browser
        self._session = session
        self._loaded = asyncio.Event()
        self.problems: list[str] = []

    async def run(self, script: str) -> Any:
        """What the expression gives, waited for when it is a promise, as JSON. Raises `ScriptFailed`."""
        wanted = {"expression": script, "awaitPromise": True, "returnByValue": True}
        answer = await self.call("Runtime.evaluate", wanted)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise ScriptFailed(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    async def call(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """One command of the protocol to this tab, and its result."""
        return await self._browser.call(method, params or {}, self._session)

    async def open(self, url: str) -> None:
        """Go to `url`; loaded when this returns. Raises `ScriptFailed` when there is nothing."""
        self._loaded.clear()
        answer = await self.call("Page.navigate", {"url": url})
        if "errorText" in answer:
            raise ScriptFailed(f"{url}: {answer['errorText']}")
        async with asyncio.timeout(CALL_TIMEOUT_S):
            await self._loaded.wait()

    async def seen(self, find: str) -> Any:
        """What the expression `find` gives once that is something, looked for at every change of the document. Raises
        `ScriptFailed` with what the page shows when it never is."""
        try:
            return await self.run(f"seen(() => {find})")
        except TimeoutError:
            shown = await self.run("document.body.innerText")
            raise ScriptFailed(f"never seen: {find}\nproblems: {self.problems}\nshown:\n{shown}") from None

    async def write(self, text: str) -> None:
        """Press the keys of `text`, each a character, into what has the focus; a newline is Enter."""
        for each in text:
            enter = each == "\n"
            key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13} if enter else {"key": each}
            await self.call("Input.dispatchKeyEvent", {"type": "keyDown", "text": "\r" if enter else each, **key})
            await self.call("Input.dispatchKeyEvent", {"type": "keyUp", **key})

    async def screenshot(self, file: Path) -> None:
        """What the tab shows, as PNG."""
        answer = await self.call("Page.captureScreenshot", {"format": "png"})
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(answer["data"]))

    async def prepare(self) -> None:
        """Listen to the tab; called once, by who made it."""
        for domain in ("Page", "Runtime", "Log", "Inspector"):
            await self.call(f"{domain}.enable")
        # A tab believes that it is looked at, whichever is in front: only then it says that messages were read.
        await self.call("Emulation.setFocusEmulationEnabled", {"enabled": True})
        await self.call("Emulation.setDeviceMetricsOverride", _VIEW)
        await self.call("Page.addScriptToEvaluateOnNewDocument", {"source": _SEEN})

    def told(self, event: str, params: dict[str, Any]) -> None:
        """The tab told something."""
        if event == "Page.loadEventFired":
            self._loaded.set()
        elif event == "Inspector.targetCrashed":
            self._browser.crashed(self._session)
        elif event == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        elif event == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            said = [str(each.get("value", each.get("description"))) for each in params["args"]]
            self.problems.append(" ".join(said))
        elif event == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.problems.append(f"{params['entry']['text']} {params['entry'].get('url', '')[:200]}".strip())


class Chromium:
    """One browser process. Made by `chromium()`. `said`: the last lines it wrote."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, said: "deque[str]") -> None:
        self._socket = socket
        self.said = said
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[str | None, asyncio.Future[Any]]] = {}
        self._pages: dict[str, Page] = {}
        self._reading = asyncio.create_task(self._read())

    async def page(self) -> Page:
        """A new, empty tab that shares nothing with the others, as if it were another person's browser."""
        context = (await self.call("Target.createBrowserContext", {}))["browserContextId"]
        wanted = {"url": "about:blank", "browserContextId": context}
        target = (await self.call("Target.createTarget", wanted))["targetId"]
        attached = await self.call("Target.attachToTarget", {"targetId": target, "flatten": True})
        page = self._pages[attached["sessionId"]] = Page(self, attached["sessionId"])
        await page.prepare()
        return page

    async def call(self, method: str, params: dict[str, Any], session: str | None = None) -> Any:
        """One command of the protocol, and its result."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = session, answered
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                await self._socket.send_json(message)
                return await answered
        finally:
            del self._waiting[number]

    def crashed(self, session: str) -> None:
        """A tab is gone, and will answer nothing more."""
        for waiting_for, answered in self._waiting.values():
            if waiting_for == session and not answered.done():
                answered.set_exception(ScriptFailed("the tab crashed"))

    async def close(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        try:
            await self._read_all()
        finally:
            for _, answered in self._waiting.values():
                if not answered.done():
                    answered.set_exception(ScriptFailed("the browser is gone\n" + "\n".join(self.said)))

    async def _read_all(self) -> None:
        async for message in self._socket:
            answer: dict[str, Any] = message.json()
            if "method" in answer:
                page = self._pages.get(answer.get("sessionId", ""))
                if page is not None:
                    page.told(answer["method"], answer["params"])
                continue
            _, waiting = self._waiting.get(answer["id"], (None, None))
            if waiting is None or waiting.done():
                continue
            if "error" in answer:
                waiting.set_exception(ScriptFailed(answer["error"]["message"]))
            else:
                waiting.set_result(answer["result"])


def trusting(*certificates: Path) -> str:
    """The switch that has Chromium believe these certificates (PEM files) and no others that it does not know."""
    keys = [x509.load_pem_x509_certificate(file.read_bytes()).public_key() for file in certificates]
    encoded = [key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for key in keys]
    hashes = [base64.b64encode(hashlib.sha256(each).digest()).decode() for each in encoded]
    return f"--ignore-certificate-errors-spki-list={','.join(hashes)}"


@asynccontextmanager
async def chromium(*switches: str) -> AsyncGenerator[Chromium]:
    """Debian's Chromium (tools/apt-packages installs it), gone when this is left."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    assert program, "Chromium is needed: make test installs it"
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            program,
            *_SWITCHES,
            *switches,
            f"--user-data-dir={profile}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        said: deque[str] = deque(maxlen=_LINES)
        listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        following = asyncio.create_task(_follow(process, said, listening))
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                url = await listening
            async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0) as socket:
                browser = Chromium(socket, said)
                try:
                    yield browser
                finally:
                    await browser.close()
        finally:
            process.kill()
            await following
            await process.wait()


async def _follow(process: asyncio.subprocess.Process, said: "deque[str]", listening: "asyncio.Future[str]") -> None:
    """Read what it says to its end (it would stand still once nobody does), and find where it listens."""
    assert process.stderr is not None
    async for line in process.stderr:
        text = line.decode(errors="replace").strip()
        said.append(text)
        if text.startswith(_LISTENING) and not listening.done():
            listening.set_result(text.removeprefix(_LISTENING))
    if not listening.done():
        listening.set_exception(AssertionError("Chromium did not start:\n" + "\n".join(said)))
