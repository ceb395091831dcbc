"""The admin port: its token, metrics, health, its own description, and the routes of resources on it."""

import asyncio
import base64
from typing import Any

import pytest
from prometheus_client.registry import CollectorRegistry
from tests.support.front import HOST, Front, call, front
from tests.support.patience import PATIENCE_S

from landline.core.errors import Unavailable
from landline.edge.admin import admin_app
from landline.store.database import Database


@pytest.fixture
async def server(database: Database, dsn: str) -> Any:
    async with front(database, dsn) as running:
        yield running


@pytest.mark.parametrize("authorization", ["", "Bearer ", "Bearer wrong", "Basic dGVzdA==", "the admin token"])
async def test_without_the_token_nothing_is_told(server: Front, authorization: str) -> None:
    for target in ("/resources", "/resources/local/keys"):
        reply = await call(server.admin, "GET", target, {"host": HOST, "authorization": authorization})
        assert reply.status == 401
        assert reply.headers["www-authenticate"] == "Bearer"


async def test_health_needs_no_token_and_names_what_is_ill() -> None:
    async def well() -> None: ...

    async def away() -> None:
        raise Unavailable("the database is away")

    async def broken() -> None:
        raise RuntimeError("secret")

    for checks, lesser, status, word in (
        ({"a": well}, (), 200, "ok"),
        ({"a": well, "b": away, "c": broken}, (), 503, "unavailable"),
        ({"a": well, "b": away}, ("b",), 200, "degraded"),
        ({"b": away, "c": broken}, ("b",), 503, "unavailable"),
    ):
        app = admin_app([], token="t", registry=CollectorRegistry(), checks=checks, lesser=lesser)
        reply = await call(app, "GET", "/healthz", {"host": HOST})
        assert (reply.status, reply.json()["status"]) == (status, word)
        wanted = {"a": "ok", "b": "the database is away", "c": "failed"}
        assert reply.json()["checks"] == {name: wanted[name] for name in checks}


async def test_a_parameter_given_twice_is_refused_not_half_heeded(server: Front) -> None:
    for query, target in (("tag=a&tag=b", "tag"), ("by=tag&%74ag=a&tag=", "tag")):
        reply = await server.administer("GET", f"/resources?{query}")
        assert (reply.status, reply.json()["error"]["target"]) == (400, target)
    assert (await server.administer("GET", "/resources?tag=a&by=tag")).status == 200


async def test_it_describes_itself(server: Front) -> None:
    document = (await call(server.admin, "GET", "/openapi.json", {"host": HOST})).json()
    rotate = document["paths"]["/resources/{name}/keys/{slot}:rotate"]["post"]
    assert [parameter["name"] for parameter in rotate["parameters"]] == ["name", "slot"]
    assert rotate["security"] == [{"adminToken": []}]
    assert rotate["summary"]


async def test_a_resource_from_its_making_to_a_signed_request(server: Front) -> None:
    made = await server.administer("POST", "/resources", {"name": "shop"})
    assert made.status == 201
    assert made.json()["location"] == "unitedstates"
    assert (await server.administer("POST", "/resources", {"name": "shop"})).status == 409
    listed = (await server.administer("GET", "/resources")).json()["value"]
    assert [resource["name"] for resource in listed] == ["local", "shop"]
    assert (await server.administer("GET", "/resources/shop")).json() == made.json()
    keys = (await server.administer("GET", "/resources/shop/keys")).json()
    assert keys["primaryConnectionString"] == f"endpoint=https://shop.{HOST}/;accesskey={keys['primaryKey']}"
    for key in (keys["primaryKey"], keys["secondaryKey"]):
        reply = await server.signed("POST", "/identities", key=key, host=f"shop.{HOST}")
        assert reply.json()["identity"]["id"].startswith(f"8:acs:{made.json()['resourceId']}_")


async def test_a_connection_string_resolves_to_its_resource(server: Front) -> None:
    await server.resources.create("shop")
    for name in ("local", "shop"):
        keys = (await server.administer("GET", f"/resources/{name}/keys")).json()
        for text in (keys["primaryConnectionString"], keys["secondaryConnectionString"]):
            found = await server.administer("POST", "/resources:resolve", {"connectionString": text})
            assert found.json() == {"name": name}
    shop = (await server.administer("GET", "/resources/shop/keys")).json()
    wrong_key = base64.b64encode(b"x" * 64).decode()
    for text, status in (
        (f"endpoint=https://local.{HOST}/;accesskey={shop['primaryKey']}", 404),
        (f"accesskey={shop['primaryKey']};Endpoint=https://shop.{HOST}/", 200),
        (f"endpoint=https://{HOST}/;accesskey={wrong_key}", 404),
        ("endpoint=https://x/", 400),
        ("endpoint=https://x/;accesskey=!", 400),
        ("endpoint=https://[x/;accesskey=AAAA", 400),
        ("endpoint=https://a\u2100b/;accesskey=AAAA", 400),
        (" " * 900_000, 400),  # looked through from each of them on, it held the server for an hour
    ):
        reply = await server.administer("POST", "/resources:resolve", {"connectionString": text})
        assert reply.status == status, text


async def test_rotation_replaces_one_key_and_says_so(server: Front) -> None:
    before = (await server.administer("GET", "/resources/local/keys")).json()
    rotated = (await server.administer("POST", "/resources/local/keys/secondary:rotate")).json()
    after = (await server.administer("GET", "/resources/local/keys")).json()
    assert (rotated["slot"], rotated["generation"], rotated["key"]) == ("secondary", 2, after["secondaryKey"])
    assert before["primaryKey"] == after["primaryKey"]
    assert before["secondaryKey"] != after["secondaryKey"]
    assert (await server.administer("POST", "/resources/local/keys/third:rotate")).status == 400
    assert (await server.administer("POST", "/resources/nobody/keys/primary:rotate")).status == 404


@pytest.mark.parametrize("name", ["", "Upper", "a_b", "-a", "a-", "a.b", "x" * 64, "ä"])
async def test_a_name_is_a_dns_label(server: Front, name: str) -> None:
    assert (await server.administer("POST", "/resources", {"name": name})).status == 400


async def test_keys_are_sealed_at_rest(server: Front, database: Database) -> None:
    keys = await server.resources.keys("local")
    rows = await database.fetch("SELECT sealed FROM resources_key")
    assert all(key.secret not in row["sealed"] for key in keys for row in rows)


async def test_a_rotated_key_is_dropped_by_other_processes_when_the_news_arrives(
    server: Front, database: Database, dsn: str
) -> None:
    old = await server.key()
    async with front(database, dsn) as second:
        assert (await second.signed("POST", "/identities", key=old)).status == 201
        heard = asyncio.Event()
        second.changes.watch("resources", lambda _key: heard.set())
        await server.administer("POST", "/resources/local/keys/primary:rotate")
        async with asyncio.timeout(PATIENCE_S):
            await heard.wait()
        assert (await second.signed("POST", "/identities", key=old)).status == 401


async def test_while_news_cannot_arrive_the_database_is_asked(server: Front, database: Database, dsn: str) -> None:
    old = await server.key()
    async with front(database, dsn) as second:
        await second.changes.close()
        assert not second.changes.trusted
        await server.administer("POST", "/resources/local/keys/primary:rotate")
        assert (await second.signed("POST", "/identities", key=old)).status == 401
        assert (await second.signed("POST", "/identities")).status == 201
