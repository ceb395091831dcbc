"""New connections of the callout engine: the name is resolved, its addresses are checked, and one of those very
addresses is connected to, so that a name that changes its answer between check and use gains nothing."""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address

from landline.engines.callout_addresses import Policy
from landline.engines.callout_url import Endpoint
from landline.engines.names import Address
from landline.ports.callout import CalloutFailed

_STAGGER_S = 0.25
"""How long one address is tried before the next is tried beside it (RFC 8305 §5)."""
_ADDRESSES = 8
_TLS_GOODBYE_S = 3.0


Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]
"""The addresses of a host (a name or a literal) with a port, the best first. Raises `OSError`."""


class Dialer:
    """Makes connections; each asks the resolver anew."""

    def __init__(self, policy: Policy, tls: ssl.SSLContext, resolve: Resolve) -> None:
        self._policy = policy
        self._tls = tls
        self._resolve = resolve

    async def addresses(self, host: str, port: int) -> list[Address]:
        """The addresses of `host` that may be connected to. Raises `CalloutFailed` when there is none, `OSError`."""
        found = list(await self._resolve(host, port))
        if not self._policy.allows_by_name(host):
            found = [address for address in found if not self._policy.refuses(ip_address(address.host))]
            if not found:
                raise CalloutFailed("refused-address", f"{host} resolves to no public address")
        return found[:_ADDRESSES]

    async def dial(self, endpoint: Endpoint, protocol: asyncio.Protocol) -> None:
        """Connect `protocol` to `endpoint`. Raises `CalloutFailed`, `OSError` (TLS: `ssl.SSLError`)."""
        reached = await _first(await self.addresses(endpoint.host, endpoint.port))
        loop = asyncio.get_running_loop()
        try:
            if endpoint.scheme == "http":
                await loop.create_connection(lambda: protocol, sock=reached)
                return
            await loop.create_connection(
                lambda: protocol,
                sock=reached,
                ssl=self._tls,
                server_hostname=endpoint.server_name,
                ssl_shutdown_timeout=_TLS_GOODBYE_S,
            )
        except BaseException:
            reached.close()
            raise


async def _first(addresses: Sequence[Address]) -> socket.socket:
    """A socket connected to the first address that answers."""
    if len(addresses) == 1:
        return await _connected(addresses[0])
    left, failures = deque(addresses), list[BaseException]()
    tries: set[asyncio.Task[socket.socket]] = set()
    try:
        while left or tries:
            if left:
                tries.add(asyncio.create_task(_connected(left.popleft())))
            done, tries = await asyncio.wait(
                tries, timeout=_STAGGER_S if left else None, return_when=asyncio.FIRST_COMPLETED
            )
            for ended in done:
                failure = ended.exception()
                if failure is None:
                    tries |= done - {ended}
                    return ended.result()
                failures.append(failure)
    finally:
        await _give_up(tries)
    raise failures[0]


async def _give_up(tries: "set[asyncio.Task[socket.socket]]") -> None:
    for one in tries:
        one.cancel()
    for ended in await asyncio.gather(*tries, return_exceptions=True):
        if isinstance(ended, socket.socket):
            ended.close()


async def _connected(address: Address) -> socket.socket:
    one = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        one.setblocking(False)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(one, address.sockaddr)
    except BaseException:
        one.close()
        raise
    return one
