"""Follows the chat feed of a user: connects, resumes where it was after every cut, renews its token
(docs/guides/chat-bots.md)."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from random import SystemRandom
from typing import NamedTuple, Self, TypeAlias
from urllib.parse import urlencode, urlsplit

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from landline.wire import chat_feed as wire

log = logging.getLogger("landline.client")

Event: TypeAlias = wire.Change | wire.Passing | wire.Reset
"""What a feed yields."""
TokenRefresher: TypeAlias = Callable[[], Awaitable[str]]

_frame = msgspec.json.Decoder(wire.Frame).decode
_UNAUTHORIZED = 4401
_RESTART = 1012
_NO_CODE = 1006
_FIRST_S = 0.2
_LONGEST_S = 30.0
_OPEN_S = 20.0
_PING_S = 30.0
_SILENCE_S = 120.0
"""Servers say something every 25 s."""
_WAITING = 256
"""Events that wait for the loop's body before no more are read."""
_LARGEST = 1 << 20
_random = SystemRandom()


class Position(NamedTuple):
    """Where a feed is; given to another one, now or after a restart, it goes on from there."""

    offset: int
    epoch: str


class FeedRefused(Exception):
    """The server does not let this user in, and will not later. `status` as of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ChatFeed:
    """An asynchronous iterator over what happens in all threads of a user, each change once and in order, for as long
    as it is open. Cuts, restarts of the server and renewed tokens do not show, but for typing indicators and read
    receipts, which are not brought later. It yields `Reset` where the server cannot bring what was missed: then list
    the threads.
    """

    def __init__(
        self,
        endpoint: str,
        token: str | None = None,
        *,
        refresher: TokenRefresher | None = None,
        position: Position | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`endpoint` as in the connection string; one of `token` and `refresher` is needed, and the latter is called
        whenever the server takes the token no more. `position` None begins with what happens from now on."""
        if token is None and refresher is None:
            raise ValueError("a feed needs a token, or a refresher that makes one")
        parts = urlsplit(endpoint)
        if parts.scheme not in ("https", "http") or not parts.netloc:
            raise ValueError("an endpoint is an address such as https://localhost:7447")
        self._url = f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}/chat/feed"
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._token = token
        self._refresher = refresher
        self._handled = self._received = position
        self._socket: ClientConnection | None = None
        self._closed = False
        self._renewed = False
        """The token is a new one, which the server has not taken yet."""
        self._failures = 0

    @property
    def position(self) -> Position | None:
        """After the last event that the loop's body is done with: keep it, to go on after a restart of the program.
        None before the first connection."""
        return self._handled

    async def __aenter__(self) -> Self:
        """Connected; until then it waits for the server. Raises `FeedRefused`, `ssl.SSLCertVerificationError`."""
        while self._socket is None:
            await self._connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the iteration."""
        self._closed = True
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Raises as `__aenter__`."""
        while not self._closed:
            frame = await self._next()
            if frame is None:
                continue
            if isinstance(frame, wire.Passing):
                yield frame
                continue
            if isinstance(frame, wire.Reset):
                self._received = Position(frame.offset, frame.epoch)
                yield frame
            elif self._received is None or frame.offset <= self._received.offset:
                continue
            else:
                self._received = Position(frame.offset, self._received.epoch)
                if not isinstance(frame, wire.Progress):
                    yield frame
            self._handled = self._received

    async def _next(self) -> wire.Change | wire.Passing | wire.Progress | wire.Reset | None:
        """The next frame that matters; None when the connection had to be made anew, or is closed."""
        if self._socket is None:
            await self._connect()
            return None
        try:
            async with asyncio.timeout(_SILENCE_S):
                frame = _read(await self._socket.recv())
        except ConnectionClosed as closed:
            await self._lost(closed.rcvd.code if closed.rcvd else _NO_CODE)
            return None
        except TimeoutError:
            await self._lost(_NO_CODE)
            return None
        match frame:
            case wire.Connected():
                self._greeted(frame)
            case wire.Reconnect():
                await self._lost(_RESTART)
            case wire.Ended():
                await self._lost(_UNAUTHORIZED)
            case None:
                pass
            case wire.Reset():
                self._failures, self._renewed = 0, False
                return frame
            case _:
                return frame
        return None

    def _greeted(self, frame: wire.Connected) -> None:
        self._failures, self._renewed = 0, False
        if self._received is None:
            self._handled = self._received = Position(frame.offset, frame.epoch)

    async def _connect(self) -> None:
        """Try once; when it fails, wait for as long as the next try should."""
        if self._closed:
            return
        if self._token is None:
            await self._renew(401, "There is no token.")
        asked = f"?{urlencode(self._received._asdict())}" if self._received else ""
        try:
            self._socket = await connect(
                self._url + asked,
                additional_headers={"Authorization": f"Bearer {self._token}"},
                ssl=self._tls,
                open_timeout=_OPEN_S,
                ping_interval=_PING_S,
                ping_timeout=None,  # a pong waits behind events that wait for the loop's body
                max_queue=_WAITING,
                close_timeout=1,
                max_size=_LARGEST,
                compression=None,
                user_agent_header="landline-client",
            )
        except InvalidStatus as refused:
            await self._refused(refused)
        except ssl.SSLCertVerificationError:
            raise  # waiting does not make a certificate one to trust
        except (OSError, InvalidHandshake) as error:
            await self._wait(type(error).__name__)

    async def _refused(self, refused: InvalidStatus) -> None:
        response = refused.response
        message = bytes(response.body or b"").decode("utf-8", "replace")
        if response.status_code == 401:
            await self._renew(401, message)
        elif response.status_code in (408, 429) or response.status_code >= 500:
            after = response.headers.get("retry-after", "")
            await self._wait(f"status {response.status_code}", float(after) if after.isdigit() else 0.0)
        else:
            raise FeedRefused(response.status_code, message)

    async def _renew(self, status: int, message: str) -> None:
        if self._refresher is None or self._renewed:
            raise FeedRefused(status, message or "The token is not valid.")
        self._token = await self._refresher()
        self._renewed = True

    async def _lost(self, code: int) -> None:
        await self._leave()
        if self._closed:
            return
        if code == _UNAUTHORIZED:
            await self._renew(401, "The token ended, or was revoked.")
        else:
            await self._wait(f"close code {code}")

    async def _leave(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()

    async def _wait(self, reason: str, least_s: float = 0.0) -> None:
        # Between nothing and twice as long as before, so that clients of one server do not come back all at once.
        most_s = min(_FIRST_S * 2**self._failures, _LONGEST_S)
        self._failures = min(self._failures + 1, 16)
        delay_s = least_s + _random.uniform(0, most_s)
        log.info("chat feed: %s; again in %.1f s", reason, delay_s)
        await asyncio.sleep(delay_s)


def _read(text: str | bytes) -> wire.Frame | None:
    """The frame; None for one of a type that a newer server has."""
    try:
        return _frame(text)
    except msgspec.ValidationError:
        log.warning("chat feed: a frame of an unknown type was left out")
        return None
