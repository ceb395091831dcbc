"""The engine of the Callout port on aiohttp's client: kept-alive connections, no redirects, no cookies, no proxies.

Every new connection asks the resolver, and the addresses it may go to are picked from that very answer, so that a name
that changes its answer between check and use gains nothing.
"""

import asyncio
import ssl
from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from pathlib import Path
from socket import AddressFamily

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from landline.core.errors import Invalid
from landline.engines.callout_addresses import Policy, check_url
from landline.ports.callout import Answer, CalloutFailed

_KEEP_ALIVE_S = 4.0
"""Below the 5 s after which common servers (Node.js) close an idle connection under a request just sent."""
_URLS_REMEMBERED = 1024


class HttpCallout:
    """Fills the port `Callout`. A kept connection found dead is replaced once, so a request may arrive twice.

    `allowed_hosts`: names, addresses, and networks (`10.1.0.0/16`) that may be called although they are not public.
    """

    def __init__(
        self,
        *,
        allowed_hosts: Iterable[str] = (),
        loopback_open: bool = False,
        ca_bundle: Path | None = None,
        connections: int = 1024,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._policy = _policy(allowed_hosts, loopback_open)
        self._tls = ssl.create_default_context()
        if ca_bundle is not None:
            self._tls.load_verify_locations(ca_bundle)
        self._connections = connections
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None
        self._checked: dict[str, URL] = {}

    def check(self, url: str) -> None:
        check_url(url, self._policy)

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str],
        body: bytes = b"",
        timeout_s: float = 30.0,
        answer_limit_bytes: int = 65536,
    ) -> Answer:
        target = self._target(url)
        try:
            async with asyncio.timeout(timeout_s):
                try:
                    return await self._send(method, target, headers, body, answer_limit_bytes)
                except aiohttp.ServerDisconnectedError:
                    return await self._send(method, target, headers, body, answer_limit_bytes)
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            raise _failure(error) from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _send(
        self, method: str, url: URL, headers: dict[str, str], body: bytes, answer_limit_bytes: int
    ) -> Answer:
        session = self._session or self._open()
        async with session.request(method, url, headers=headers, data=body or None, allow_redirects=False) as response:
            answer = bytearray()
            while len(answer) < answer_limit_bytes:
                part = await response.content.read(answer_limit_bytes - len(answer))
                if not part:
                    break
                answer += part
            else:
                response.close()  # whatever more it would say is not read, so the connection is of no more use
            return Answer(
                response.status, {name.lower(): value for name, value in response.headers.items()}, bytes(answer)
            )

    def _target(self, url: str) -> URL:
        target = self._checked.get(url)
        if target is None:
            try:
                target = check_url(url, self._policy)
            except Invalid as refusal:
                raise CalloutFailed("refused-address", refusal.message) from refusal
            if len(self._checked) >= _URLS_REMEMBERED:
                self._checked.clear()
            self._checked[url] = target
        return target

    def _open(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=self._connections,
            resolver=CheckedResolver(self._resolver or ThreadedResolver(), self._policy),
            use_dns_cache=False,
            keepalive_timeout=_KEEP_ALIVE_S,
            ssl=self._tls,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
        return self._session


class CheckedResolver(AbstractResolver):
    """A resolver whose answers hold no address that the policy refuses."""

    def __init__(self, resolver: AbstractResolver, policy: Policy) -> None:
        self._resolver = resolver
        self._policy = policy

    async def resolve(
        self, host: str, port: int = 0, family: AddressFamily = AddressFamily.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of `host` that may be connected to. Raises `CalloutFailed` when there is none."""
        found = await self._resolver.resolve(host, port, family)
        if self._policy.allows_by_name(host):
            return found
        allowed = [one for one in found if not self._policy.refuses(ip_address(one["host"].partition("%")[0]))]
        if not allowed:
            raise CalloutFailed("refused-address", f"{host} resolves to no public address")
        return allowed

    async def close(self) -> None:
        await self._resolver.close()


def _policy(allowed: Iterable[str], loopback_open: bool) -> Policy:
    entries = [entry.lower().strip("[]").rstrip(".") for entry in allowed]
    networks = tuple(ip_network(entry, strict=False) for entry in entries if "/" in entry)
    return Policy(frozenset(entry for entry in entries if "/" not in entry), networks, loopback_open)


def _failure(error: Exception) -> CalloutFailed:
    match error:
        case TimeoutError():
            return CalloutFailed("timeout", "no answer within the time allowed")
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError() | ssl.SSLError():
            return CalloutFailed("tls", str(error))
        case aiohttp.ClientConnectionError() | OSError():
            return CalloutFailed("connection", str(error) or type(error).__name__)
        case aiohttp.ClientResponseError():
            return CalloutFailed("protocol", "the answer is not HTTP")  # what it was is nobody's business
        case _:
            return CalloutFailed("protocol", str(error) or type(error).__name__)
