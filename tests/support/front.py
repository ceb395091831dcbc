"""The public and the admin application over a real database, called in-process: what the edge's tests drive."""

import base64
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.registry import CollectorRegistry
from tests.support.signed import signed_headers

from landline.edge.admin import admin_app
from landline.edge.app import Edge, Limits
from landline.edge.bearer import ServiceTokens
from landline.edge.cors import Cors
from landline.edge.dev_issuer import DevIssuer
from landline.edge.gate import Gate
from landline.edge.hmac import Signatures
from landline.edge.metrics import RequestMetrics
from landline.edge.routes import Route
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
    app: Edge, method: str, target: str, headers: dict[str, str] | Sequence[tuple[str, str]], body: bytes = b""
) -> Reply:
    """Send one request to `app` as a server would; the body arrives in two pieces."""
    path, _, query = target.partition("?")
    pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
    if body and not any(name == "content-length" for name, _ in pairs):
        pairs.append(("content-length", str(len(body))))
    scope = {
        "type": "http",
        "method": method,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs],
        "client": ("127.0.0.1", 1),
    }
    half = len(body) // 2
    incoming = [
        {"type": "http.request", "body": body[:half], "more_body": True},
        {"type": "http.request", "body": body[half:], "more_body": False},
        {"type": "http.disconnect"},
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    found = {name.decode(): value.decode("latin-1") for name, value in sent[0]["headers"]}
    return Reply(sent[0]["status"], found, b"".join(message.get("body", b"") for message in sent[1:]))


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
