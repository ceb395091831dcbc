"""The engine of the Callout port: an HTTP/1.1 client of our own; a general one took a fifth of the gateway's time.

It does what webhooks need and nothing else: kept connections, one write a request, no redirects, cookies or proxies.
The parts: `callout_url` and `callout_addresses` (what may be called), `callout_dial` (new connections), `callout_pool`,
`callout_connection` and `callout_answer`.
"""

import asyncio
import ssl
from collections.abc import Coroutine, Iterable, Mapping
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from landline.core.errors import Invalid
from landline.engines.callout_addresses import Policy, check_url
from landline.engines.callout_connection import Connection, NothingCame, closing
from landline.engines.callout_deadlines import Deadlines
from landline.engines.callout_dial import Dialer, Resolve
from landline.engines.callout_pool import Connect, Pools
from landline.engines.callout_url import Endpoint
from landline.engines.names import Names
from landline.ports.callout import Answer, Answered, CalloutFailed, Headers

_KEEP_ALIVE_S = 4.0
"""Below the 5 s after which common servers (Node.js) close an idle connection under a request just sent."""
_CONNECT_S = 10.0
"""For the name, the connection and TLS together."""
_CLOSE_S = 1.0
_ENDPOINTS_REMEMBERED = 1024
_BODILESS = frozenset({"GET", "OPTIONS"})
_METHODS = _BODILESS | {"POST", "PUT", "PATCH", "DELETE"}


class HttpCallout:
    """Fills the port `Callout`.

    `allowed_hosts`: names, addresses, and networks (`10.1.0.0/16`) that may be called although they are not public.
    A request that finds `connections_per_host` (of one scheme, host and port) busy waits for one, within its timeout.
    """

    def __init__(
        self,
        *,
        allowed_hosts: Iterable[str] = (),
        loopback_open: bool = False,
        ca_bundle: Path | None = None,
        connections: int = 1024,
        connections_per_host: int = 512,
        connect_s: float = _CONNECT_S,
        resolve: Resolve | None = None,
    ) -> None:
        self._policy = _policy(allowed_hosts, loopback_open)
        tls = ssl.create_default_context()
        if ca_bundle is not None:
            tls.load_verify_locations(ca_bundle)
        self._dialer = Dialer(self._policy, tls, resolve or Names().addresses)
        self._connect_s = connect_s
        self._pools = Pools(per_origin=connections_per_host, in_all=connections, keep_s=_KEEP_ALIVE_S)
        self._deadlines = Deadlines[Connection](_too_late)
        self._endpoints: dict[str, Endpoint] = {}
        self._tasks: set[asyncio.Task[Answer]] = set()
        """Posts for which no connection was at hand."""

    def check(self, url: str) -> None:
        check_url(url, self._policy)

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | Headers,
        body: bytes = b"",
        timeout_s: float = 30.0,
        answer_limit_bytes: int = 65536,
    ) -> Answer:
        endpoint = self._endpoints.get(url) or self._checked(url)
        request = _request(method, endpoint, headers, body)
        return await self._ask(endpoint, request, timeout_s, answer_limit_bytes, again=False)

    def post(
        self,
        url: str,
        *,
        headers: Headers,
        body: bytes,
        timeout_s: float,
        answer_limit_bytes: int,
        answered: Answered,
    ) -> None:
        endpoint = self._endpoints.get(url)
        connection = None if endpoint is None else self._pools.take(endpoint.origin)
        if endpoint is None or connection is None:
            options: dict[str, Any] = {"timeout_s": timeout_s, "answer_limit_bytes": answer_limit_bytes}
            self._in_task(self.request("POST", url, headers=headers, body=body, **options), answered)
            return
        request = _request("POST", endpoint, headers, body)
        began = connection.now()

        def heard(result: Answer | Exception) -> None:
            self._deadlines.end(connection, timeout_s)
            if isinstance(result, NothingCame):
                left_s = timeout_s - (connection.now() - began)
                self._in_task(self._ask(endpoint, request, left_s, answer_limit_bytes, again=True), answered)
            else:
                answered(result)

        self._deadlines.begin(connection, timeout_s, began)
        connection.ask(request, answer_limit_bytes, heard)

    async def close(self) -> None:
        self._deadlines.close()
        await self._pools.close(_CLOSE_S)
        for task in self._tasks:
            task.cancel()

    def _in_task(self, asking: Coroutine[Any, Any, Answer], answered: Answered) -> None:
        task = asyncio.get_running_loop().create_task(asking)
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, answered))

    def _ended(self, answered: Answered, task: "asyncio.Task[Answer]") -> None:
        self._tasks.discard(task)
        if task.cancelled():
            answered(closing())
        else:
            failure = task.exception()
            answered(failure if isinstance(failure, Exception) else task.result())

    async def _ask(
        self, endpoint: Endpoint, request: bytes, timeout_s: float, answer_limit_bytes: int, *, again: bool
    ) -> Answer:
        """`again`: a kept connection was lost already, so only a new one will do."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    connection = await self._pools.obtain(endpoint.origin, self._connector(endpoint), new=again)
                    kept = connection.kept
                    try:
                        return await _answer(connection, request, answer_limit_bytes)
                    except NothingCame:
                        if again or not kept:
                            raise
                        again = True
        except (TimeoutError, ValueError, OSError) as error:
            raise _failure(error) from error

    def _connector(self, endpoint: Endpoint) -> Connect:
        async def connect(connection: Connection) -> None:
            async with asyncio.timeout(self._connect_s):
                await self._dialer.dial(endpoint, connection)

        return connect

    def _checked(self, url: str) -> Endpoint:
        try:
            endpoint = check_url(url, self._policy)
        except Invalid as refusal:
            raise CalloutFailed("refused-address", refusal.message) from refusal
        if len(self._endpoints) >= _ENDPOINTS_REMEMBERED:
            self._endpoints.clear()
        self._endpoints[url] = endpoint
        return endpoint


def _policy(allowed: Iterable[str], loopback_open: bool) -> Policy:
    entries = [entry.lower().strip("[]").rstrip(".") for entry in allowed]
    networks = tuple(ip_network(entry, strict=False) for entry in entries if "/" in entry)
    return Policy(frozenset(entry for entry in entries if "/" not in entry), networks, loopback_open)


def _request(method: str, endpoint: Endpoint, headers: Mapping[str, str] | Headers, body: bytes) -> bytes:
    assert method in _METHODS
    if not isinstance(headers, Headers):
        try:
            headers = Headers(headers)
        except ValueError as error:
            raise CalloutFailed("protocol", str(error)) from error
    if not body and method in _BODILESS:
        return b"%b%b\r\n" % (endpoint.opening(method), headers.lines)
    return b"%b%bcontent-length: %d\r\n\r\n%b" % (endpoint.opening(method), headers.lines, len(body), body)


async def _answer(connection: Connection, request: bytes, limit_bytes: int) -> Answer:
    """What comes back. Raises `CalloutFailed`."""
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def heard(result: Answer | Exception) -> None:
        if isinstance(result, Answer):
            future.set_result(result)
        else:
            future.set_exception(result)

    connection.ask(request, limit_bytes, heard)
    try:
        return await future
    except asyncio.CancelledError:
        connection.abort()
        raise


def _too_late(connection: Connection) -> None:
    connection.fail(_failure(TimeoutError()))


def _failure(error: Exception) -> CalloutFailed:
    match error:
        case TimeoutError():
            return CalloutFailed("timeout", "no answer within the time allowed")
        case ssl.SSLError():
            return CalloutFailed("tls", str(error))
        case OSError():
            return CalloutFailed("connection", str(error) or type(error).__name__)
        case _:
            return CalloutFailed("protocol", str(error) or type(error).__name__)
