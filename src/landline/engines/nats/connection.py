"""One connection to one NATS server, from its greeting to its loss: what the bus needs of nats-py, and no more.

nats-py's own reconnecting is off: it gives up for ever on errors that pass, and knows one fixed pause. Who lost a
connection opens another one.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from landline.engines.nats.credentials import Credentials
from landline.engines.nats.settings import CannotUse, Server, Settings

log = structlog.get_logger()

CONNECT_S = 3.0
ANSWER_S = 3.0
"""A server that takes longer for a PING is lost."""
_CLOSE_S = 0.5
_PENDING_MESSAGES, _PENDING_BYTES = 16_384, 16 << 20
"""Of a subject, between the socket and the ears, which take them in the next turn of the loop."""
_UNSENT_BYTES = 2 << 20
_NEVER_S = 86_400


class CannotConnect(Exception):
    """No connection, or it is lost; says why, without secrets."""


class Connection:
    """Made by `open`. `news` is called when it is lost, and when it has dropped or been refused something."""

    def __init__(self, server: Server, news: Callable[[], None]) -> None:
        self.server = server
        self.lost: str | None = None
        """Why, once it is."""
        self.refused: str | None = None
        """What the server does not let us do."""
        self.dropped = 0
        self.subjects: set[str] = set()
        """Those that are listened to."""
        self._news = news
        self._client = Client()
        self._subscriptions: dict[str, Any] = {}

    @classmethod
    async def open(cls, server: Server, settings: Settings, news: Callable[[], None]) -> "Connection":
        """Raises `CannotConnect`."""
        made = cls(server, news)
        try:
            async with asyncio.timeout(CONNECT_S):
                await made._connect(settings)
                if made._client.is_connected:  # nats-py has tried twice, perhaps, and told us of the first time
                    made.lost = None
        except (errors.Error, OSError, TimeoutError, CannotUse, ValueError) as error:
            await made.close()
            raise CannotConnect(made.lost or _told(error)) from None
        except BaseException:
            await made.close()
            raise
        return made

    async def listen(self, subject: str, wire_subject: str, heard: Callable[[bytes], None]) -> None:
        """Have the server send us `subject`, to it `wire_subject`, from when we next `settle`. Raises
        `CannotConnect`."""

        async def take(message: Msg) -> None:
            heard(message.data)

        client: Any = self._client

        try:
            self._subscriptions[subject] = await client.subscribe(
                wire_subject, cb=take, pending_msgs_limit=_PENDING_MESSAGES, pending_bytes_limit=_PENDING_BYTES
            )
        except errors.BadSubjectError:
            self.dropped += 1
        except (errors.Error, OSError) as error:
            raise self._lose(_told(error)) from None
        self.subjects.add(subject)

    async def ignore(self, subject: str) -> None:
        """The opposite. Raises `CannotConnect`."""
        self.subjects.discard(subject)
        subscription = self._subscriptions.pop(subject, None)
        try:
            if subscription is not None:
                await subscription.unsubscribe()
        except (errors.Error, OSError) as error:
            raise self._lose(_told(error)) from None

    async def publish(self, subject: str, data: bytes) -> bool:
        """Whether the server is sent it, soon; it may wait for a server that reads slowly, but not long. Raises
        `CannotConnect`."""
        try:
            await self._client.publish(subject, data)
        except (errors.BadSubjectError, errors.MaxPayloadError):
            return False
        except (errors.Error, OSError) as error:
            raise self._lose(_told(error)) from None
        return True

    async def settle(self) -> None:
        """Return when the server has taken all that we said. Raises `CannotConnect`."""
        try:
            async with asyncio.timeout(2 * ANSWER_S):
                # nats-py's PING overtakes what it has not yet written: without this, its answer says nothing.
                await self._client._flush_pending(force_flush=True)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
                await self._client.flush(ANSWER_S)  # pyright: ignore[reportArgumentType] - it takes fractions
        except (errors.Error, OSError, TimeoutError) as error:
            raise self._lose(_told(error)) from None

    async def close(self) -> None:
        """End it, what was said before being sent when that goes quickly. Does not raise."""
        self._lose("closed")
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._client.close()
        except Exception:  # noqa: S110 - it is of no use any more, whatever it is that does not work
            pass
        self._abort()

    async def _connect(self, settings: Settings) -> None:
        server = self.server
        known = Credentials.read(settings.credentials) if settings.credentials is not None else None
        host = f"[{server.host}]" if ":" in server.host else server.host
        await self._client.connect(
            f"nats://{host}:{server.port}",
            name="landline",
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=CONNECT_S,  # pyright: ignore[reportArgumentType] - it takes fractions
            ping_interval=_NEVER_S,  # we ask ourselves: `settle`
            no_echo=True,
            tls=settings.tls(),
            tls_hostname=server.host,
            user=self._guarded(server.user),
            password=self._guarded(server.password),
            token=self._guarded(server.token),
            user_jwt_cb=(lambda: self._over_tls(bytearray(known.jwt.encode()))) if known else None,
            signature_cb=known.sign if known else None,
            pending_size=_UNSENT_BYTES,
            flush_timeout=ANSWER_S,
            error_cb=self._erred,
            closed_cb=self._closed,
        )
        self._over_tls(None)

    def _guarded(self, secret: str | None) -> Callable[[], str] | None:
        return None if secret is None else lambda: self._over_tls(secret)

    def _over_tls(self, secret: Any) -> Any:
        """`secret`, unless it would go in the clear: nats-py encrypts only when the server asks for that. Raises
        `errors.Error`."""
        asks = self._client._server_info.get("tls_required")  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        if self.server.secure and not asks:
            raise errors.Error("nats: the server does not speak TLS")
        return secret

    def _lose(self, reason: str) -> CannotConnect:
        if self.lost is None:
            self.lost = reason
            self._news()
        return CannotConnect(self.lost)

    async def _erred(self, error: Exception) -> None:
        if isinstance(error, errors.SlowConsumerError):
            self.dropped += 1
        elif "permissions violation" in str(error).lower():
            if self.refused is None:  # each subject is refused by itself
                log.warning("bus.not_permitted", server=self.server.place, reason=_told(error))
            self.refused = str(error)
        else:
            self._lose(_told(error))
        self._news()

    async def _closed(self) -> None:
        self._lose(_told(self._client.last_error) if self._client.last_error else "closed by the server")

    def _abort(self) -> None:
        """Let go of the socket: nats-py waits for ever for a peer that does not read to take what is unsent."""
        transport: Any = self._client._transport  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        writer = getattr(transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()


def _told(error: Exception) -> str:
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return "it does not answer"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return str(error).removeprefix("nats: ") or type(error).__name__
