"""The public and the admin application over a real database, called in-process: what the edge's tests drive."""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httptools
from prometheus_client.registry import CollectorRegistry
from tests.support.patience import PATIENCE_S
from tests.support.signed import signed_headers

from landline.edge.admin import admin_app
from landline.edge.app import Edge
from landline.edge.bearer import ServiceTokens
from landline.edge.connection import HttpApp, HttpConnection
from landline.edge.cors import Cors
from landline.edge.dev_issuer import DevIssuer
from landline.edge.gate import Gate
from landline.edge.hmac import Signatures
from landline.edge.http import Limits
from landline.edge.metrics import RequestMetrics
from landline.edge.routes import Route
from landline.edge.server import Open
from landline.engines.clock import DrivenClock
from landline.services.identity import admin as identity_admin
from landline.services.identity import api as identity_api
from landline.services.identity.service import Identity
from landline.services.resources import admin as resources_admin
from landline.services.resources.model import AccessKey, Slot
from landline.services.resources.service import Resources
from landline.store.changes import Changes
from landline.store.database import Database
from landline.store.sealing import Sealer

HOST = "localhost:8443"
ADMIN_TOKEN = "the admin token"
VERSION = "api-version=2023-10-01"
SEALING = b"s" * 32


@dataclass(slots=True)
class Reply:
    """One answer of an application."""

    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)

    def json(self) -> Any:
        return json.loads(self.body)


async def call(
    app: HttpApp, method: str, target: str, headers: dict[str, str] | Sequence[tuple[str, str]], body: bytes = b""
) -> Reply:
    """Send one request to `app` over a connection of the edge; the body arrives in two pieces."""
    pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
    chunked = any(name == "transfer-encoding" for name, _ in pairs)
    if body and not chunked and not any(name == "content-length" for name, _ in pairs):
        pairs.append(("content-length", str(len(body))))
    fields = "".join(f"{name}: {value}\r\n" for name, value in pairs)
    head = f"{method} {target} HTTP/1.1\r\n".encode() + f"{fields}\r\n".encode("latin-1")
    half = len(body) // 2
    pieces = [body[:half], body[half:]]
    if chunked:
        pieces = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece] + [b"0\r\n\r\n"]
    client = Client(app, bodies=method != "HEAD")
    for piece in (head, *pieces):
        client.connection.data_received(piece)
    return await client.reply()


class Client(asyncio.Transport):
    """The client's end of a connection of the edge: what is written to it is its answers."""

    def __init__(self, app: HttpApp, *, bodies: bool = True) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self._bodies = bodies
        self.open = Open()
        self.written = b""
        self.closed = asyncio.Event()
        self.aborted = asyncio.Event()
        self.ended = False
        """Whether it was told that no more will be written."""
        self.is_read = True
        """Whether a network would bring more of what it says, which is fed by hand."""
        self.unread = 0
        """What `get_write_buffer_size` tells."""
        self._replies: asyncio.Queue[Reply] = asyncio.Queue()
        self._status, self._headers, self._body = 0, dict[str, str](), b""
        self._parser = httptools.HttpResponseParser(self)
        self.connection = HttpConnection(app, self.open, _no_upgrade, asyncio.get_running_loop())
        self.connection.connection_made(self)

    async def reply(self) -> Reply:
        """The next answer."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._replies.get()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data
        self._parser.feed_data(data)

    def is_closing(self) -> bool:
        return self.closed.is_set()

    def close(self) -> None:
        self.closed.set()

    def abort(self) -> None:
        self.aborted.set()
        self.close()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def get_write_buffer_size(self) -> int:
        return self.unread

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        if self._status in (100, 204) or not self._bodies:
            self._told()

    def on_message_complete(self) -> None:
        if self._status:
            self._told()

    def _told(self) -> None:
        self._replies.put_nowait(Reply(self._status, self._headers, self._body))
        self._status, self._headers, self._body = 0, {}, b""


def _no_upgrade(*_: Any) -> None:
    raise AssertionError("nobody asked for a socket")


@dataclass(slots=True)
class Front:
    """One process's worth of server."""

    database: Database
    changes: Changes
    clock: DrivenClock
    resources: Resources
    identity: Identity
    dev_issuer: DevIssuer
    registry: CollectorRegistry
    app: Edge
    admin: Edge

    async def key(self, name: str = "local", slot: Slot = Slot.PRIMARY) -> str:
        """The access key as a connection string carries it."""
        return _text(next(key for key in await self.resources.keys(name) if key.slot is slot))

    async def signed(
        self, method: str, target: str, body: Any = None, *, key: str | None = None, host: str = HOST
    ) -> Reply:
        """Send a signed request, with an api-version when `target` has none."""
        target = target if "?" in target else f"{target}?{VERSION}"
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = signed_headers(key or await self.key(), host, method, target, data)
        return await call(self.app, method, target, headers, data)

    async def bearer(self, token: str, target: str, *, method: str = "GET", host: str = HOST) -> Reply:
        """Send a request with a bearer token."""
        target = target if "?" in target else f"{target}?{VERSION}"
        return await call(self.app, method, target, {"host": host, "authorization": f"Bearer {token}"})

    async def administer(self, method: str, target: str, body: Any = None) -> Reply:
        """Send a request to the admin port, with its token."""
        headers = {"host": "localhost", "authorization": f"Bearer {ADMIN_TOKEN}"}
        return await call(self.admin, method, target, headers, b"" if body is None else json.dumps(body).encode())

    async def user_token(self, *scopes: str, key: str | None = None, host: str = HOST) -> tuple[str, str]:
        """(raw id, token) of a new user."""
        body = {"createTokenWithScopes": scopes or ["chat", "voip"]}
        reply = await self.signed("POST", "/identities", body, key=key, host=host)
        assert reply.status == 201, reply.body
        found = reply.json()
        return found["identity"]["id"], found["accessToken"]["token"]


@asynccontextmanager
async def front(
    database: Database,
    dsn: str,
    *,
    extra: Sequence[Route] = (),
    cors: Cors | None = None,
    limits: Limits | None = None,
    hosts: Sequence[str] = (),
) -> AsyncGenerator[Front]:
    """A server over `database` with the resource `local`, `extra` routes beside the services' own."""
    changes, clock, sealer = Changes(dsn), DrivenClock(), Sealer(SEALING)
    resources = Resources(database, sealer, clock, changes, endpoint)
    identity = Identity(database, sealer, clock, changes, resources)
    dev_issuer = DevIssuer(ADMIN_TOKEN, "https://localhost:8443/devissuer")
    registry = CollectorRegistry()
    gate = Gate(
        tenants=resources,
        signatures=Signatures(hosts=hosts),
        service_tokens=ServiceTokens([dev_issuer.issuer]),
        user_tokens=identity,
    )
    public = [*identity_api.routes(identity, public_url="https://localhost:8443"), *extra]
    app = Edge(public, gate, metrics=RequestMetrics(registry), cors=cors, limits=limits)
    admin_routes = [*resources_admin.routes(resources), *identity_admin.routes(identity), *dev_issuer.routes()]
    admin = admin_app(admin_routes, token=ADMIN_TOKEN, registry=registry, checks={"database": _check(database)})
    await changes.start()
    await resources.ensure("local")
    await identity.start()
    try:
        yield Front(database, changes, clock, resources, identity, dev_issuer, registry, app, admin)
    finally:
        await changes.close()


def endpoint(name: str) -> str:
    """The default resource is at the general host, the others at their own."""
    return f"https://{HOST}" if name == "local" else f"https://{name}.{HOST}"


def _check(database: Database) -> Any:
    async def check() -> None:
        await database.fetchval("SELECT 1")

    return check


def _text(key: AccessKey) -> str:
    return base64.b64encode(key.secret).decode()
