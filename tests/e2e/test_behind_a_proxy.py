"""A server behind a proxy that sends a Host of its own and says in X-Forwarded-Host which one it was sent."""

from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.communication.identity import CommunicationIdentityClient
from azure.core.exceptions import ClientAuthenticationError
from tests.support.ports import free_port
from tests.support.signed import IDENTITY_VERSION, Raw

from landline.testing.server import Server

TRUSTS = {
    "LANDLINE_PUBLIC_PORT": "443",
    "LANDLINE_DOMAIN": "sms.example",
    "LANDLINE_TRUST_FORWARDED_HOST": "true",
    "LANDLINE_SIGNATURE_SKEW_S": "60",
}


@pytest.fixture(scope="module")
def behind() -> Generator[tuple[Server, int]]:
    """One that trusts its proxy, and the port the proxy would have."""
    port = free_port()
    with Server(port=port, env=TRUSTS) as server:
        yield server, port


@pytest.fixture(scope="module")
def shop(behind: tuple[Server, int]) -> str:
    """The connection string of a resource with a host name of its own."""
    admin = behind[0].admin
    admin.call("POST", "/resources", {"name": "shop"})
    return admin.call("GET", "/resources/shop/keys")["primaryConnectionString"]


def through(port: int, forwarded: str | None) -> Callable[[Any], None]:
    """What a proxy makes of a signed request."""

    def passed_on(request: Any) -> None:
        sent = request.http_request
        sent.url = sent.url.replace("https://shop.sms.example/", f"https://localhost:{port}/")
        sent.headers["Host"] = "backend.internal:8443"
        if forwarded is not None:
            sent.headers["X-Forwarded-Host"] = forwarded

    return passed_on


@pytest.mark.parametrize("forwarded", ["shop.sms.example", "shop.sms.example:443", "shop.sms.example, inner.example"])
def test_the_official_client_reaches_its_resource(behind: tuple[Server, int], shop: str, forwarded: str) -> None:
    server, port = behind
    client = CommunicationIdentityClient.from_connection_string(shop, connection_verify=server.ca_bundle)
    user = client.create_user(raw_request_hook=through(port, forwarded))
    assert user.properties["id"].startswith("8:acs:")


@pytest.mark.parametrize("forwarded", [None, "elsewhere.example", "unknown.sms.example", ""])
def test_no_other_host_will_do(behind: tuple[Server, int], shop: str, forwarded: str | None) -> None:
    server, port = behind
    client = CommunicationIdentityClient.from_connection_string(shop, connection_verify=server.ca_bundle)
    with pytest.raises(ClientAuthenticationError):
        client.create_user(raw_request_hook=through(port, forwarded))


def test_a_browser_is_told_of_the_host_it_came_to(behind: tuple[Server, int], shop: str) -> None:
    """Where real-time notifications and a new thread are: browsers reach the proxy only."""
    server, port = behind
    identity = CommunicationIdentityClient.from_connection_string(shop, connection_verify=server.ca_bundle)
    _, token = identity.create_user_and_token(["chat"], raw_request_hook=through(port, "shop.sms.example"))
    raw = Raw(f"https://localhost:{port}/", "", server.ca_bundle)
    headers = {
        "host": "backend.internal:8443",
        "x-forwarded-host": "shop.sms.example",
        "authorization": f"Bearer {token.token}",
        "content-type": "application/json",
    }
    told = raw.send("GET", "/chat/config/realTimeNotifications?api-version=2024-09-01", b"", headers).json()
    assert told["trouterServiceUrl"] == "https://shop.sms.example"
    assert told["registrarServiceUrl"].startswith("https://shop.sms.example/")
    allocated = raw.send("POST", "/v4/a", b"", headers)
    assert b"backend.internal" not in allocated.body
    made = raw.send("POST", "/chat/threads?api-version=2025-03-15", b'{"topic": "Lunch"}', headers)
    assert made.headers["location"].startswith("https://shop.sms.example/chat/threads/")


@pytest.mark.parametrize(("off_s", "status"), [(-50, 201), (50, 201), (-70, 401), (70, 401)])
def test_a_request_is_as_fresh_as_the_setting_wants(behind: tuple[Server, int], off_s: int, status: int) -> None:
    server, port = behind
    raw = Raw(f"https://localhost:{port}/", server.access_key, server.ca_bundle)
    at = datetime.now(UTC) + timedelta(seconds=off_s)
    assert raw.call("POST", "/identities", version=IDENTITY_VERSION, at=at).status == status
