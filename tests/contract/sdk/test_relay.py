"""The official Python network traversal clients, sync and async, unmodified, on a running server (acs-wire.md 8)."""

import base64
import hmac
from collections.abc import AsyncGenerator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import azure.communication.networktraversal as relay_sync
import azure.communication.networktraversal.aio as relay_async
import pytest
from azure.communication.identity import CommunicationUserIdentifier
from azure.core.exceptions import HttpResponseError
from tests.contract.sdk.conftest import Style, closed, result
from tests.contract.sdk.javascript import run_js
from tests.support.signed import Raw

from landline.testing import Server
from landline.testing.trust import Trust
from landline.wire.operations import API_VERSIONS

VERSION = "2022-03-01-preview"
PATH = "/networkTraversal/:issueRelayConfiguration"
SECRET, OLD = "the-secret-that-they-share", "the-one-before-that-one"
URLS = ["turn:turn1.example.org:3478?transport=udp", "turns:turn1.example.org:443?transport=tcp"]


@pytest.fixture(scope="module")
def relaying(landline_trust: Trust) -> Iterator[Server]:
    """A server in front of a TURN server that somebody else runs."""
    env = {"LANDLINE_RELAY_URLS": ",".join(URLS), "LANDLINE_RELAY_SECRETS": f"{SECRET},{OLD}"}
    with Server(env=env) as server:
        landline_trust.add(server.ca_bundle)
        yield server


@pytest.fixture
async def relay(style: Style, relaying: Server) -> AsyncGenerator[Any]:
    package: Any = relay_async if style.name == "async" else relay_sync
    client = package.CommunicationRelayClient.from_connection_string(relaying.connection_string)
    yield client
    await closed(client)


@pytest.fixture
async def user(style: Style, relaying: Server) -> AsyncGenerator[CommunicationUserIdentifier]:
    client = style.identity_client.from_connection_string(relaying.connection_string)
    yield await result(client.create_user())
    await closed(client)


def ask(server: Server, body: Any) -> Any:
    return Raw(server.endpoint, server.access_key, server.ca_bundle).call("POST", PATH, body, version=VERSION)


async def test_a_configuration_has_what_a_browser_takes(relay: Any) -> None:
    found = await result(relay.get_relay_configuration())
    # The SDK's model: without a route type there are servers of each.
    assert [server.route_type for server in found.ice_servers] == ["any", "nearest"]
    assert [server.urls for server in found.ice_servers] == [URLS, URLS[1:]]  # no address is told twice for UDP
    for server in found.ice_servers:
        expiry, _, _ = server.username.partition(":")
        assert found.expires_on == datetime.fromtimestamp(int(expiry), UTC)
        digest = hmac.digest(SECRET.encode(), server.username.encode(), "sha1")
        assert base64.b64decode(server.credential) == digest
    assert abs(found.expires_on - datetime.now(UTC) - timedelta(seconds=172_800)) < timedelta(minutes=1)


async def test_it_can_be_for_a_user(relay: Any, user: CommunicationUserIdentifier) -> None:
    found = await result(relay.get_relay_configuration(user=user))
    assert found.ice_servers[0].username.partition(":")[2] == user.raw_id


async def test_those_who_are_not_named_are_told_apart(relay: Any) -> None:
    one, other = [await result(relay.get_relay_configuration()) for _ in range(2)]
    assert one.ice_servers[0].username != other.ice_servers[0].username


@pytest.mark.parametrize("route_type", ["any", "nearest"])
async def test_the_route_type_is_the_one_asked_for(relay: Any, route_type: str) -> None:
    found = await result(relay.get_relay_configuration(route_type=route_type))
    assert [(server.route_type, server.urls) for server in found.ice_servers] == [(route_type, URLS)]


@pytest.mark.parametrize("ttl", [1, 60, 172_800])
async def test_it_lives_as_long_as_asked_for(relay: Any, ttl: int) -> None:
    found = await result(relay.get_relay_configuration(ttl=ttl))
    assert abs((found.expires_on - datetime.now(UTC)).total_seconds() - ttl) < 30


@pytest.mark.parametrize("ttl", [0, -1, 172_801])
async def test_a_life_that_cannot_be_is_refused(relay: Any, ttl: int) -> None:
    with pytest.raises(HttpResponseError) as refused:
        await result(relay.get_relay_configuration(ttl=ttl))
    assert refused.value.status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        {"id": "nobody"},
        {"id": "+14255550123"},
        {"id": "8:acs:11111111-2222-4333-8444-555555555555_11111111-2222-4333-8444-555555555555"},
        {"routeType": "cheapest"},
        {"ttl": "long"},
        [],
    ],
)
def test_a_request_that_is_none_is_refused(relaying: Server, body: Any) -> None:
    assert ask(relaying, body).status in {400, 403}


def test_it_is_asked_for_as_the_sdks_of_every_version_write_the_path(relaying: Server) -> None:
    raw = Raw(relaying.endpoint, relaying.access_key, relaying.ca_bundle)
    for version in API_VERSIONS["Network traversal"]:
        path = PATH if version == VERSION else PATH.replace("T", "t")  # so it is in the SDKs before 1.1.0
        answer = raw.call("POST", path, {"id": None}, version=version)
        assert answer.status == 200, answer
        assert set(answer.json()["iceServers"][0]) == {"urls", "username", "credential", "routeType"}
        assert answer.headers["api-supported-versions"] == ", ".join(API_VERSIONS["Network traversal"])


def test_an_answer_is_for_nobody_elses_cache(relaying: Server) -> None:
    assert ask(relaying, {}).headers["cache-control"] == "no-store"


def test_no_secret_is_told_or_logged(relaying: Server) -> None:
    answer = ask(relaying, {})
    password = answer.json()["iceServers"][0]["credential"]
    for secret in (SECRET, OLD):
        assert secret.encode() not in answer.body
        assert secret not in relaying.log
    assert password not in relaying.log


def test_a_longest_life_can_be_set(landline_server: Any) -> None:
    env = {"LANDLINE_RELAY_URLS": URLS[0], "LANDLINE_RELAY_SECRETS": SECRET, "LANDLINE_RELAY_LONGEST_TTL_S": "600"}
    server = landline_server(env=env)
    for asked in ({}, {"ttl": 172_800}):
        ends = datetime.fromisoformat(ask(server, asked).json()["expiresOn"])
        assert ends - datetime.now(UTC) <= timedelta(seconds=600)


def test_without_a_relay_it_says_so(landline: Server) -> None:
    answer = ask(landline, {})
    assert (answer.status, answer.error["code"]) == (501, "NotImplemented")
    assert "relay" in answer.error["message"]


@pytest.mark.usefixtures("node_modules")
def test_the_javascript_sdk_passes(relaying: Server) -> None:
    run_js(relaying, "relay.test.js")
