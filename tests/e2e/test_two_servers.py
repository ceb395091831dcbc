"""Two servers side by side on one machine have nothing in common."""

from collections.abc import Callable

import pytest
from tests.support.signed import IDENTITY_VERSION, Raw, signed_headers

from landline.testing import Admin, AdminError, Server


def raw_of(server: Server) -> Raw:
    return Raw(server.endpoint, server.access_key, server.ca_bundle)


def test_two_servers_share_no_port_key_number_or_handset(
    landline: Server, landline_server: Callable[..., Server]
) -> None:
    other = landline_server()
    assert other.endpoint != landline.endpoint
    assert other.access_key != landline.access_key
    assert other.ready["adminUrl"] != landline.ready["adminUrl"]
    phone, same_number = landline.handset("+14255559901"), other.handset("+14255559901")
    assert raw_of(other).send_sms(other.phone_number, ["+14255559901"], "From the other").status == 202
    assert same_number.wait_for_sms().text == "From the other"
    assert phone.inbox == []


def test_the_key_of_one_is_refused_by_the_other(landline: Server, landline_server: Callable[..., Server]) -> None:
    other = landline_server()
    raw = raw_of(other)
    target = f"/identities?api-version={IDENTITY_VERSION}"
    headers = signed_headers(landline.access_key, raw.host_header, "POST", target)
    assert raw.send("POST", target, b"", headers).status == 401
    assert raw.call("POST", "/identities", version=IDENTITY_VERSION).status == 201


def test_the_admin_token_of_one_is_refused_by_the_other(
    landline: Server, landline_server: Callable[..., Server]
) -> None:
    other = landline_server()
    crossed = Admin(other.ready["adminUrl"], landline.ready["adminToken"], other.ca_bundle)
    with pytest.raises(AdminError) as refused:
        crossed.call("GET", "/handsets")
    assert refused.value.status == 401
