"""A server that clients reach at the port of https, 443: endpoints and Host headers leave it out, some SDKs sign it."""

from collections.abc import Generator

import pytest
from tests.support.ports import free_port
from tests.support.signed import IDENTITY_VERSION, Raw, signed_headers

from landline.testing.server import Server

IDENTITIES = f"/identities?api-version={IDENTITY_VERSION}"


@pytest.fixture(scope="module")
def behind() -> Generator[tuple[Server, Raw]]:
    """One whose 443 is a balancer's, and requests that reach it past that."""
    port = free_port()
    with Server(port=port, env={"LANDLINE_PUBLIC_PORT": "443"}) as server:
        key = server.connection_string.partition("accesskey=")[2]
        yield server, Raw(f"https://localhost:{port}/", key, server.ca_bundle)


def test_its_endpoint_names_no_port(behind: tuple[Server, Raw]) -> None:
    server, _ = behind
    assert server.connection_string.startswith("endpoint=https://localhost/;accesskey=")
    assert server.ready["url"] == "https://localhost"


@pytest.mark.parametrize(
    ("sent", "signed"),
    [
        ("localhost", "localhost"),
        ("localhost", "localhost:443"),  # Python's SDKs, by a connection string that names the port
        ("localhost", "localhost:443/"),
        ("localhost:443", "localhost"),  # Java's SDK
        ("10.0.0.7:8443", "localhost"),  # a proxy that does not pass the Host header on
        ("10.0.0.7:8443", "localhost:443"),
    ],
)
def test_the_port_may_be_signed_or_not(behind: tuple[Server, Raw], sent: str, signed: str) -> None:
    _, raw = behind
    headers = {**signed_headers(raw.key, signed, "POST", IDENTITIES), "host": sent}
    assert raw.send("POST", IDENTITIES, b"", headers).status == 201


def test_another_host_is_refused(behind: tuple[Server, Raw]) -> None:
    _, raw = behind
    headers = {**signed_headers(raw.key, "elsewhere", "POST", IDENTITIES), "host": "localhost"}
    assert raw.send("POST", IDENTITIES, b"", headers).status == 401
