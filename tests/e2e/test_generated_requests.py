"""Requests made up by schemathesis over every served operation, well formed and not, signed: none is answered 500."""

from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.config import SchemathesisConfig
from tests.support.openapi import document
from tests.support.signed import Raw, signed_headers

from landline.testing import Server

EXAMPLES = settings().max_examples * 2 // 5
CONFIG = SchemathesisConfig.from_dict({"generation": {"mode": "all"}})
SCHEMA = schemathesis.openapi.from_dict(document(["+18005550100"]), config=CONFIG)


@pytest.fixture(scope="session")
def raw(landline: Server) -> Raw:
    """Signed requests to the session's server."""
    return Raw(landline.endpoint, landline.access_key, landline.ca_bundle)


@SCHEMA.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=settings().derandomize,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
def test_no_request_is_answered_500(case: Any, landline: Server, raw: Raw) -> None:
    """Also: every refusal has a body of one of ACS's shapes."""
    made = requests.Request(**case.as_transport_kwargs(base_url=landline.endpoint.rstrip("/"))).prepare()
    body = made.body.encode() if isinstance(made.body, str) else bytes(made.body or b"")  # type: ignore[arg-type]
    body = body.replace(b"+18005550100", landline.phone_number.encode())
    parts = urlsplit(made.url or "")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    kind = made.headers.get("content-type", "application/json")
    headers = {"content-type": kind, **signed_headers(raw.key, raw.host_header, made.method or "GET", target, body)}
    answer = raw.send(made.method or "GET", target, body, headers)
    assert answer.status < 500 or answer.status == 501, (made.method, target, body, str(answer))
    assert answer.status != 401 or answer.error["code"], (target, str(answer))
    if answer.status >= 400 and made.method != "HEAD":
        told = answer.json()
        assert "error" in told or {"type", "title", "status"} <= told.keys(), (target, str(answer))
