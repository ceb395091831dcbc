"""What every request meets at the edge, whatever it asks for: ids, versions, limits, methods, CORS, errors."""

import gzip
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs
from tests.support.front import HOST, VERSION, Front, call, front

from landline.core.errors import Invalid, NotFound, Refusal, TooMany, Unavailable
from landline.edge.cors import Cors
from landline.edge.http import Limits, Request, Response, json_response
from landline.edge.routes import Access, ErrorStyle, Route
from landline.edge.unserved import unserved
from landline.services.identity import api as identity_api
from landline.services.identity.service import Identity
from landline.store.database import Database

FAILURES: dict[str, Exception] = {
    "refused": Refusal("no", target="field", code="SomeCode"),
    "invalid": Invalid("bad", errors={"a": ["one", "two"], "b": ["three"]}),
    "missing": NotFound("gone"),
    "busy": TooMany("slow down", retry_after_s=1.2),
    "away": Unavailable("the database is away", retry_after_s=3),
    "bug": RuntimeError("secret inner state"),
    "long": Refusal(f"{'9' * 500_000} is no number.", target="to"),
    "long fields": Invalid("bad", errors={"a": ["9" * 500_000], "b": ["9" * 500_000]}),
}


async def fail(request: Request) -> Response:
    raise FAILURES[request.params["how"]]


async def echo(request: Request) -> Response:
    return json_response(200, {"body": request.body.decode(), "query": request.query, "params": request.params})


ROUTES = [
    Route("GET", "/acs/{how}", fail, access=Access.NONE, versioned=False, name="test_fail"),
    Route("GET", "/sms/{how}", fail, access=Access.NONE, versioned=False, errors=ErrorStyle.SMS),
    Route("GET", "/echo/{x}", echo, access=Access.NONE, versioned=False),
    Route("POST", "/echo/{x}", echo, access=Access.NONE, versioned=False, name="test_echo"),
    Route("GET", "/versioned", echo, access=Access.NONE),
    Route("GET", "/younger/{how}", fail, access=Access.NONE, supports="2023-03-31-preview, 2024-04-15"),
]


@pytest.fixture
async def server(database: Database, dsn: str) -> Any:
    async with front(database, dsn, extra=ROUTES, limits=Limits(body_bytes=1000)) as running:
        yield running


async def get(server: Front, target: str, **headers: str) -> Any:
    return await call(server.app, "GET", target, {"host": HOST} | {n.replace("_", "-"): v for n, v in headers.items()})


async def test_every_answer_carries_ids(server: Front) -> None:
    first, second = await get(server, "/echo/1"), await get(server, "/nowhere")
    assert first.headers["x-ms-request-id"] != second.headers["x-ms-request-id"]
    assert first.headers["ms-cv"].endswith(".0")
    assert "x-ms-client-request-id" not in first.headers
    echoed = await get(server, "/echo/1", x_ms_client_request_id="mine", ms_cv="abc.1")
    assert echoed.headers["x-ms-client-request-id"] == "mine"
    assert echoed.headers["ms-cv"] == "abc.1.0"
    made = await get(server, "/echo/1", x_ms_return_client_request_id="true")
    assert made.headers["x-ms-client-request-id"] == made.headers["x-ms-request-id"]


async def test_a_body_in_a_content_coding_is_refused_as_that(server: Front) -> None:
    """RFC 9110 §15.5.16. Read as it came, it would be called broken JSON, or be taken for the text of a file."""

    async def sent(path: str, coding: str, body: bytes) -> Any:
        return await call(server.app, "POST", path, {"host": HOST, "content-encoding": coding}, body)

    refused = await sent("/echo/1", "gzip", gzip.compress(b"{}"))
    assert (refused.status, refused.headers["accept-encoding"]) == (415, "identity")
    assert refused.json()["error"]["code"] == "UnsupportedMediaType"
    assert refused.json()["error"]["target"] == "content-encoding"
    assert (await sent("/echo/1", "Identity", b"{}")).status == 200
    assert (await sent("/echo/1", "gzip", b"")).status == 200
    assert (await sent("/nowhere", "gzip", b"x")).status == 404


async def test_a_client_request_id_that_could_break_a_header_is_dropped(server: Front) -> None:
    for bad in ("a b", "x" * 200, "é"):
        assert "x-ms-client-request-id" not in (await get(server, "/echo/1", x_ms_client_request_id=bad)).headers


@pytest.mark.parametrize("version", ["2021-03-07", "2026-01-23", "2024-01-18-preview", "2099-12-31"])
async def test_any_version_from_the_oldest_on_is_served(server: Front, version: str) -> None:
    assert (await get(server, f"/versioned?api-version={version}")).status == 200
    assert (await get(server, f"/versioned?a=1&api-version={version}&b=2")).status == 200
    assert (await get(server, f"/versioned?api%2Dversion={version}")).status == 200


@pytest.mark.parametrize("query", ["", "?", "?api-version=", "?other=1", "?xapi-version=2023-10-01"])
async def test_a_missing_version_is_refused(server: Front, query: str) -> None:
    reply = await get(server, f"/versioned{query}")
    assert (reply.status, reply.json()["error"]["code"]) == (400, "MissingApiVersionParameter")
    assert reply.headers["x-ms-error-code"] == "MissingApiVersionParameter"


@pytest.mark.parametrize("version", ["2020-01-01", "latest", "2023-13-01", "1", "2023-10-01%00", "٢٠٢٣-10-01"])
async def test_an_unknown_version_is_refused(server: Front, version: str) -> None:
    assert (await get(server, f"/versioned?api-version={version}")).status == 400


@pytest.mark.parametrize("version", ["2023-03-31-preview", "2023-06-14", "2024-04-15", "2099-12-31"])
async def test_every_answer_says_which_versions_the_operation_knows(server: Front, version: str) -> None:
    for how in ("refused", "away", "bug"):
        reply = await get(server, f"/younger/{how}?api-version={version}")
        assert reply.json()["error"]["code"] != "UnsupportedApiVersion"
        assert reply.headers["api-supported-versions"] == "2023-03-31-preview, 2024-04-15"
    assert "api-supported-versions" not in (await get(server, f"/versioned?api-version={version}")).headers


async def test_a_version_older_than_the_operation_is_refused_as_azure_does(server: Front) -> None:
    reply = await get(server, "/younger/refused?api-version=2022-02-01")
    assert (reply.status, reply.json()["error"]["code"]) == (400, "UnsupportedApiVersion")
    assert "2023-03-31-preview" in reply.json()["error"]["message"]
    assert reply.headers["api-supported-versions"] == "2023-03-31-preview, 2024-04-15"
    oldest = await get(server, "/versioned?api-version=2020-07-20-preview1")
    assert (oldest.status, oldest.json()["error"]["code"]) == (400, "UnsupportedApiVersion")
    for form in ("latest", "2023-13-01"):
        reply = await get(server, f"/younger/refused?api-version={form}")
        assert reply.json()["error"]["code"] == "InvalidApiVersionParameter"


async def test_failures_in_the_acs_shape(server: Front) -> None:
    refused = await get(server, "/acs/refused")
    assert refused.status == 400
    assert refused.json() == {"error": {"code": "SomeCode", "message": "no", "target": "field"}}
    assert refused.headers["x-ms-error-code"] == "SomeCode"
    details = (await get(server, "/acs/invalid")).json()["error"]["details"]
    assert [(one["target"], one["message"]) for one in details] == [("a", "one"), ("a", "two"), ("b", "three")]
    missing = await get(server, "/acs/missing")
    assert (missing.status, missing.json()["error"]["code"]) == (404, "NotFound")


async def test_failures_in_the_sms_shape(server: Front) -> None:
    invalid = await get(server, "/sms/invalid")
    assert invalid.status == 400
    body = invalid.json()
    assert set(body) == {"type", "title", "status", "errors", "traceId"}
    assert body["errors"] == {"a": ["one", "two"], "b": ["three"]}
    missing = await get(server, "/sms/missing")
    assert missing.headers["content-type"].startswith("application/problem+json")
    assert set(missing.json()) == {"type", "title", "status", "traceId"}
    assert (await get(server, "/sms/refused")).json()["error"]["code"] == "SomeCode"


async def test_busy_and_away_say_when_to_come_back(server: Front) -> None:
    busy, away = await get(server, "/acs/busy"), await get(server, "/acs/away")
    assert (busy.status, busy.headers["retry-after"]) == (429, "2")
    assert (away.status, away.headers["retry-after"]) == (503, "3")


async def test_a_bug_shows_nothing_but_a_request_id(server: Front) -> None:
    with capture_logs() as logs:
        reply = await get(server, "/acs/bug")
    assert reply.status == 500
    assert b"secret" not in reply.body
    assert reply.headers["x-ms-request-id"] in reply.json()["error"]["message"]
    bug = next(line for line in logs if line["event"] == "edge.bug")
    assert bug["request_id"] == reply.headers["x-ms-request-id"]


async def test_unknown_paths_and_methods(server: Front) -> None:
    assert (await get(server, "/nowhere")).status == 404
    wrong = await call(server.app, "DELETE", "/echo/1", {"host": HOST})
    assert (wrong.status, wrong.headers["allow"]) == (405, "GET, POST")


async def test_head_and_options(server: Front) -> None:
    head = await call(server.app, "HEAD", "/echo/1", {"host": HOST})
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["content-length"]) > 0
    options = await call(server.app, "OPTIONS", "/echo/1", {"host": HOST})
    assert (options.status, options.headers["allow"]) == (204, "GET, POST, OPTIONS")
    assert (await call(server.app, "OPTIONS", "/nowhere", {"host": HOST})).status == 404


async def test_bodies_have_a_limit_announced_or_not(server: Front) -> None:
    assert (await call(server.app, "POST", "/echo/1", {"host": HOST}, b"x" * 1000)).status == 200
    for headers in (
        {"host": HOST},
        {"host": HOST, "transfer-encoding": "chunked"},
    ):
        reply = await call(server.app, "POST", "/echo/1", headers, b"x" * 1001)
        assert (reply.status, reply.headers["connection"]) == (413, "close")
    assert (await call(server.app, "POST", "/echo/1", {"host": HOST, "content-length": "-1"}, b"x")).status == 400


async def test_headers_have_limits(server: Front) -> None:
    assert (await get(server, "/echo/1", big="x" * 40_000)).status == 413
    assert (await get(server, "/echo/1", **{f"h{n}": "x" for n in range(120)})).status == 413
    for length in (9_000, 90_000):  # too long, and so long that its end is not waited for
        reply = await get(server, "/echo/" + "x" * length)
        assert (reply.status, reply.json()["error"]["code"]) == (414, "RequestUriTooLong")
    assert (await call(server.app, "GET", "/echo/1", {})).status == 400


@pytest.mark.parametrize("name", ["host", "authorization", "x-ms-date", "x-ms-content-sha256", "content-length"])
async def test_a_header_that_proves_something_may_come_but_once(server: Front, name: str) -> None:
    pairs = [("host", HOST), ("a", "1"), ("a", "2")]
    assert (await call(server.app, "GET", "/echo/1", pairs)).status == 200
    assert (await call(server.app, "GET", "/echo/1", [*pairs, (name, "1"), (name, "1")])).status == 400


async def test_nul_never_reaches_the_database(server: Front) -> None:
    assert (await get(server, "/echo/a%00b")).status == 400
    for body, status in ((b'"\\u0000"', 400), (b'"\\\\u0000"', 200), (b'"\\\\\\u0000"', 400), (b'"u0000"', 200)):
        assert (await call(server.app, "POST", "/echo/1", {"host": HOST}, body)).status == status


async def test_a_browser_may_ask_from_anywhere(server: Front) -> None:
    wanted = "authorization,x-ms-useragent,x-skypetoken"
    preflight = await call(
        server.app,
        "OPTIONS",
        "/echo/1",
        {
            "host": HOST,
            "origin": "https://app.example",
            "access-control-request-method": "POST",
            "access-control-request-headers": wanted,
        },
    )
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert preflight.headers["access-control-allow-headers"] == wanted
    assert "PATCH" in preflight.headers["access-control-allow-methods"]
    for target in ("/echo/1", "/nowhere", "/acs/bug"):
        reply = await get(server, target, origin="https://app.example")
        assert reply.headers["access-control-allow-origin"] == "*"
        assert "x-ms-request-id" in reply.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in reply.headers


async def test_configured_origins_are_let_in_with_credentials_and_no_others(database: Database, dsn: str) -> None:
    async with front(database, dsn, extra=ROUTES, cors=Cors(["https://app.example"])) as server:
        reply = await get(server, "/echo/1", origin="https://app.example")
        assert reply.headers["access-control-allow-origin"] == "https://app.example"
        assert reply.headers["access-control-allow-credentials"] == "true"
        assert reply.headers["vary"] == "origin"
        other = await get(server, "/echo/1", origin="https://evil.example")
        assert "access-control-allow-origin" not in other.headers


async def test_requests_are_counted_by_operation_and_status(server: Front) -> None:
    await get(server, "/acs/refused")
    await get(server, "/acs/refused")
    metrics = (await call(server.admin, "GET", "/metrics", {"host": HOST})).body.decode()
    assert 'landline_http_requests_total{operation="test_fail",status="400"} 2.0' in metrics
    assert 'landline_http_request_seconds_bucket{le="+Inf",operation="test_fail"} 2.0' in metrics


async def test_lines_logged_below_the_edge_carry_the_request_id(database: Database, dsn: str) -> None:
    seen: list[Any] = []

    async def log_something(_request: Request) -> Response:
        seen.append(structlog.contextvars.merge_contextvars(None, "info", {"event": "x"}))
        return Response(204)

    async with front(database, dsn, extra=[Route("GET", "/", log_something, access=Access.NONE)]) as server:
        reply = await get(server, f"/?{VERSION}")
    assert seen == [{"event": "x", "request_id": reply.headers["x-ms-request-id"]}]
    assert "request_id" not in structlog.contextvars.merge_contextvars(None, "info", {})


async def test_what_is_not_served_says_so_once_the_caller_is_proved(database: Database, dsn: str) -> None:
    async with front(database, dsn, extra=unserved(identity_api.routes(object.__new__(Identity), ""))) as server:
        room = await server.signed("POST", "/rooms", {})
        assert (room.status, room.json()["error"]["code"]) == (501, "NotImplemented")
        assert "rooms_create" in room.json()["error"]["message"]
        assert (await call(server.app, "POST", f"/rooms?{VERSION}", {"host": HOST})).status == 401
        _, token = await server.user_token("chat")
        assert (await server.bearer(token, "/chat/threads")).status == 501
        assert (await server.signed("GET", "/chat/threads")).status == 401


async def test_the_log_names_requests_and_holds_no_secrets(server: Front) -> None:
    with capture_logs() as logs:
        await call(server.app, "POST", "/echo/1?secret=x", {"host": HOST, "authorization": "hidden"}, b"hidden")
        await get(server, "/acs/refused")
        await get(server, "/acs/bug")
    requests = [line for line in logs if line["event"] == "edge.request"]
    assert [(line["status"], line["log_level"]) for line in requests] == [(400, "info"), (500, "error")]
    assert "hidden" not in str(logs)
    assert "secret=x" not in str(logs)


@pytest.mark.parametrize(
    "host", ["local host", "localhost:abc", "[::1", "a/b", "user@localhost", "localhost?x", "l\xf6calhost", "a%zz"]
)
async def test_a_host_header_that_is_no_host_is_refused(server: Front, host: str) -> None:
    """RFC 9112 §3.2: 400, whoever asks for whatever."""
    for app in (server.app, server.admin):
        reply = await call(app, "GET", "/echo/1", {"host": host})
        assert (reply.status, reply.json()["error"]["target"]) == (400, "host")


@pytest.mark.parametrize(
    "host", ["", "localhost", "local_host:80", "127.0.0.1:8443", "[::1]:8443", "a.b.c:", "shop.localhost."]
)
async def test_hosts_of_every_form_are_taken(server: Front, host: str) -> None:
    reply = await call(server.app, "GET", "/nowhere", {"host": host})
    assert reply.status == 404


@pytest.mark.parametrize("where", ["/acs", "/sms"])
async def test_a_refusal_that_repeats_what_it_was_sent_is_told_in_part(server: Front, where: str) -> None:
    """What callers sent stands in many refusals, and may have a megabyte."""
    for how in ("long", "long%20fields"):
        reply = await get(server, f"{where}/{how}")
        assert reply.status == 400
        assert b"9999999999..." in reply.body
        assert len(reply.body) < 10_000
