"""Which addresses of TURN servers are named for which route type."""

import pytest

from landline.services.relay.model import RouteType, servers

STUN, UDP, TCP = "stun:t.example:3478", "turn:t.example:3478?transport=udp", "turn:t.example:3478?transport=tcp"
PLAIN, TLS, DTLS = "turn:u.example", "turns:u.example", "turns:u.example:443?transport=udp"


@pytest.mark.parametrize(
    ("urls", "again"),
    [([STUN, UDP, TCP], [TCP]), ([PLAIN, TLS, DTLS], [TLS]), ([UDP], []), ([STUN, TCP.upper()], [TCP])],
)
def test_asked_for_none_what_is_reached_by_connections_is_named_for_both(urls: list[str], again: list[str]) -> None:
    found = {kind.value: [url.lower() for url in named] for kind, named in servers(urls, None).items()}
    assert found == {"any": [url.lower() for url in urls], **({"nearest": again} if again else {})}


@pytest.mark.parametrize("wanted", RouteType)
def test_asked_for_one_it_is_all(wanted: RouteType) -> None:
    assert servers([STUN, UDP, TCP], wanted) == {wanted: (STUN, UDP, TCP)}
