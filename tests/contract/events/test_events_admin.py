"""Subscriptions over the admin API: handshakes in both schemas, secrets, filters, dead letters and their replay."""

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web
from azure.eventgrid import EventGridEvent, SystemEventNames
from tests.contract.events.webhooks import REPORT, Call, Slice, process, webhook, working

from landline.core.errors import Conflict, Invalid, NotFound
from landline.edge.http import Request, Response
from landline.edge.routes import Access, Router
from landline.services.events import admin, api, subscriptions
from landline.services.events.records_subscriptions import consent


class Api:
    """The routes of the slice, called as the edge calls them."""

    def __init__(self, slice_: Slice) -> None:
        routes = admin.routes(slice_.subscriptions, slice_.clock, {OTHER_TYPE, REPORT})
        self.router = Router([*routes, *api.routes(slice_.subscriptions)])

    async def __call__(
        self, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        route, params = self.router.find(method, target.partition("?")[0])
        raw = b"" if body is None else json.dumps(body).encode()
        request = Request(method, target, headers or {}, raw, "request-1", params=params)
        response: Response = await route.handler(request)
        return response.status, json.loads(response.body) if response.body else None


@pytest.fixture
async def here(dsn: str, database: object) -> AsyncGenerator[Slice]:
    async with process(dsn) as slice_:
        yield slice_


@pytest.fixture
def call(here: Slice) -> Api:
    return Api(here)


def echo(call: Call) -> web.Response:
    """Consents to a validation event."""
    (event,) = call.json
    return web.json_response({"validationResponse": event["data"]["validationCode"]})


WAITING = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"
OTHER_TYPE = "Microsoft.Communication.CallStarted"
SUBSCRIPTIONS = "/resources/local/subscriptions"


async def test_an_endpoint_that_echoes_the_code_is_enabled_at_once(call: Api) -> None:
    async with webhook(echo) as hook:
        status, added = await call("POST", SUBSCRIPTIONS, {"name": "reports", "endpoint": hook.url})
        assert (status, added["state"]) == (201, "enabled")
        (request,) = hook.calls
        assert request.headers["aeg-event-type"] == "SubscriptionValidation"
        assert request.headers["aeg-subscription-name"] == "REPORTS"
        parsed = EventGridEvent.from_dict(request.json[0])
        assert parsed.event_type == SystemEventNames.EventGridSubscriptionValidationEventName
        assert parsed.data["validationUrl"].startswith("https://landline.example/eventGrid/validate?")
        assert await call("GET", f"{SUBSCRIPTIONS}/reports") == (200, added)
        assert await call("GET", SUBSCRIPTIONS) == (200, {"value": [added]})


async def test_an_answer_that_is_nested_too_deeply_is_no_consent(call: Api) -> None:
    async with webhook(lambda _call: web.Response(body=b'{"a":' + b"[" * 5000)) as hook:
        status, added = await call("POST", SUBSCRIPTIONS, {"name": "deep", "endpoint": hook.url})
        assert (status, added["state"]) == (201, "validating")


async def test_a_get_of_the_validation_url_enables_within_ten_minutes(here: Slice, call: Api) -> None:
    async with webhook() as hook:
        for name, wait in (("soon", timedelta(minutes=9)), ("late", timedelta(minutes=10))):
            _, added = await call("POST", SUBSCRIPTIONS, {"name": name, "endpoint": hook.url})
            assert added["state"] == "validating"
            url = urlsplit(hook.calls[-1].json[0]["data"]["validationUrl"])
            target = f"{url.path}?{url.query}"
            assert call.router.find("GET", url.path)[0].access is Access.NONE
            with pytest.raises(NotFound):
                await call("GET", target[:-1])
            await here.clock.advance(wait)
            if name == "soon":
                assert (await call("GET", target))[0] == 200
                assert (await call("GET", f"{SUBSCRIPTIONS}/{name}"))[1]["state"] == "enabled"
            with pytest.raises(NotFound):  # once, and in time
                await call("GET", target)
        _, late = await call("GET", f"{SUBSCRIPTIONS}/late")
        assert late["state"] == "failed"


@pytest.mark.parametrize(
    "answer",
    [
        lambda _call: web.json_response({"validationResponse": "another"}),
        lambda _call: web.Response(status=202),
        lambda _call: web.Response(status=500),
        lambda _call: web.Response(status=302, headers={"Location": "/"}),
    ],
)
async def test_an_endpoint_that_does_not_consent_fails_and_can_be_asked_again(call: Api, answer: Any) -> None:
    async with webhook(answer) as hook:
        status, added = await call("POST", SUBSCRIPTIONS, {"name": "picky", "endpoint": hook.url})
        assert (status, added["state"]) == (201, "failed")
        assert added["reason"]
        with pytest.raises(Conflict):
            await call("PATCH", f"{SUBSCRIPTIONS}/picky", {"enabled": True})
        hook.answer = echo
        _, again = await call("POST", f"{SUBSCRIPTIONS}/picky:validate")
        assert (again["state"], again["reason"]) == ("enabled", None)


@pytest.mark.parametrize("allowed", ["*", "landline.example", "Landline.Example"])
async def test_cloud_events_consent_comes_with_the_allowed_origin(call: Api, allowed: str) -> None:
    headers = {"WebHook-Allowed-Origin": allowed, "WebHook-Allowed-Rate": "120", "Allow": "POST"}
    async with webhook(lambda _call: web.Response(headers=headers)) as hook:
        body = {"name": "cloud", "endpoint": hook.url, "schema": "CloudEventSchemaV1_0"}
        _, added = await call("POST", SUBSCRIPTIONS, body)
        assert (added["state"], added["allowedRatePerMinute"]) == ("enabled", 120)
        (request,) = hook.calls
        assert request.method == "OPTIONS"
        assert request.headers["webhook-request-origin"] == "landline.example"


async def test_a_cloud_events_endpoint_may_call_back(call: Api) -> None:
    async with webhook() as hook:
        body = {"name": "cloud", "endpoint": hook.url, "schema": "CloudEventSchemaV1_0"}
        _, added = await call("POST", SUBSCRIPTIONS, body)
        assert added["state"] == "validating"
        url = urlsplit(hook.calls[0].headers["webhook-request-callback"])
        await call("POST", f"{url.path}?{url.query}", headers={"webhook-allowed-rate": "60"})
        _, found = await call("GET", f"{SUBSCRIPTIONS}/cloud")
        assert (found["state"], found["allowedRatePerMinute"]) == ("enabled", 60)


@pytest.mark.parametrize("enabled", [True, False])
async def test_a_subscription_that_has_consented_stays_as_it_is_when_it_is_asked_again_and_refuses(
    call: Api, enabled: bool
) -> None:
    async with webhook(echo) as hook:
        await call("POST", SUBSCRIPTIONS, {"name": "live", "endpoint": hook.url})
        _, before = await call("PATCH", f"{SUBSCRIPTIONS}/live", {"enabled": enabled})
        hook.answer = lambda _call: web.Response(status=500)
        with pytest.raises(Invalid, match=rf"with 500: events go where they went, {hook.url}\."):
            await call("POST", f"{SUBSCRIPTIONS}/live:validate")
        assert (await call("GET", f"{SUBSCRIPTIONS}/live"))[1] == before
        hook.answer = lambda _call: web.Response(status=200)  # it may still consent by its validation URL
        _, asked = await call("POST", f"{SUBSCRIPTIONS}/live:validate")
        assert (asked["state"], asked["pendingEndpoint"]) == (before["state"], hook.url)
        hook.answer = echo
        assert (await call("POST", f"{SUBSCRIPTIONS}/live:validate"))[1] == before


@pytest.mark.parametrize("pending", [True, False])
async def test_a_consent_in_the_moment_of_another_change_is_kept(here: Slice, call: Api, pending: bool) -> None:
    async with webhook(echo) as old, webhook() as new:
        first = old if pending else new
        await call("POST", SUBSCRIPTIONS, {"name": "busy", "endpoint": first.url})
        if pending:
            await call("PATCH", f"{SUBSCRIPTIONS}/busy", {"endpoint": new.url})
        url = urlsplit(new.calls[0].json[0]["data"]["validationUrl"])
        token = hashlib.sha256(parse_qs(url.query)["token"][0].encode()).digest()
        found = await here.subscriptions.get("local", "busy")
        async with here.database.transaction() as connection:
            assert await consent(connection, found.subscription_id, token, here.clock.now(), 60)
            changing = asyncio.create_task(call("PATCH", f"{SUBSCRIPTIONS}/busy", {"maxDeliveryAttempts": 3}))
            while not await connection.fetchval(WAITING):
                await asyncio.sleep(0)  # the other is on its way to the row
        _, changed = await changing
        assert changed == (await call("GET", f"{SUBSCRIPTIONS}/busy"))[1]
        assert (changed["state"], changed["endpoint"], changed["pendingEndpoint"]) == ("enabled", new.url, None)
        assert (changed["allowedRatePerMinute"], changed["maxDeliveryAttempts"]) == (60, 3)


async def test_secrets_are_sealed_and_never_shown(here: Slice, call: Api) -> None:
    async with webhook() as hook, working(here.events):
        body = {
            "name": "secretive",
            "endpoint": hook.url,
            "validation": False,
            "signatureSecrets": ["first-signature-secret"],
            "deliveryHeaders": [
                {"name": "Authorization", "value": "Bearer hidden-value", "isSecret": True},
                {"name": "X-Team", "value": "blue"},
            ],
        }
        _, added = await call("POST", SUBSCRIPTIONS, body)
        assert added["signed"] is True
        assert "hidden" not in json.dumps(added)
        row = await here.database.fetchrow("SELECT * FROM events_subscriptions")
        assert row is not None
        assert "hidden" not in str(dict(row))
        assert "first-signature" not in str(dict(row))
        kept = [{"name": "authorization", "isSecret": True}]
        await call("PATCH", f"{SUBSCRIPTIONS}/secretive", {"deliveryHeaders": kept, "maxDeliveryAttempts": 2})
        await here.emit(here.event())
        (delivered,) = await hook.wait_for(1)
        assert delivered.headers["authorization"] == "Bearer hidden-value"
        assert "x-team" not in delivered.headers
        assert delivered.headers["x-landline-signature"].startswith("t=")


async def test_a_change_counts_from_the_next_event_on(here: Slice, call: Api) -> None:
    async with webhook() as hook, working(here.events):
        only = {"name": "only", "endpoint": hook.url, "validation": False, "subjectBeginsWith": "/other"}
        await call("POST", SUBSCRIPTIONS, only)
        await here.emit(here.event())
        await call("PATCH", f"{SUBSCRIPTIONS}/only", {"subjectBeginsWith": "/PHONE", "subjectEndsWith": "0100"})
        wanted = here.event()
        await here.emit(wanted)
        await call("PATCH", f"{SUBSCRIPTIONS}/only", {"isSubjectCaseSensitive": True})
        await here.emit(here.event())
        await call("PATCH", f"{SUBSCRIPTIONS}/only", {"subjectBeginsWith": "", "includedEventTypes": [OTHER_TYPE]})
        await here.emit(here.event())
        await here.settle()
        assert hook.event_ids == [str(wanted.event_id)]


async def test_a_new_endpoint_is_asked_for_consent_anew(call: Api) -> None:
    async with webhook(echo) as hook, webhook() as other:
        await call("POST", SUBSCRIPTIONS, {"name": "moving", "endpoint": hook.url})
        _, moved = await call("PATCH", f"{SUBSCRIPTIONS}/moving", {"endpoint": other.url})
        assert (moved["state"], moved["endpoint"], moved["pendingEndpoint"]) == ("enabled", hook.url, other.url)
        assert moved["reason"].startswith(f"{other.url} has not consented yet")
        url = urlsplit(other.calls[0].json[0]["data"]["validationUrl"])
        await call("PATCH", f"{SUBSCRIPTIONS}/moving", {"maxDeliveryAttempts": 3})  # leaves the handshake alone
        await call("GET", f"{url.path}?{url.query}")
        _, there = await call("GET", f"{SUBSCRIPTIONS}/moving")
        assert (there["state"], there["endpoint"], there["pendingEndpoint"]) == ("enabled", other.url, None)
        assert (there["reason"], there["maxDeliveryAttempts"]) == (None, 3)


async def test_a_new_endpoint_that_refuses_changes_nothing(call: Api) -> None:
    async with webhook(echo) as hook, webhook(lambda _call: web.Response(status=500)) as other:
        await call("POST", SUBSCRIPTIONS, {"name": "moving", "endpoint": hook.url})
        _, before = await call("GET", f"{SUBSCRIPTIONS}/moving")
        with pytest.raises(Invalid, match=rf"with 500: events go where they went, {hook.url}\."):
            await call("PATCH", f"{SUBSCRIPTIONS}/moving", {"endpoint": other.url, "maxEventsPerBatch": 9})
        assert (await call("GET", f"{SUBSCRIPTIONS}/moving"))[1] == before


async def test_a_new_endpoint_that_consents_too_late_changes_nothing_until_it_is_asked_again(
    here: Slice, call: Api
) -> None:
    async with webhook(echo) as hook, webhook() as other:
        await call("POST", SUBSCRIPTIONS, {"name": "moving", "endpoint": hook.url})
        await call("PATCH", f"{SUBSCRIPTIONS}/moving", {"endpoint": other.url})
        url = urlsplit(other.calls[0].json[0]["data"]["validationUrl"])
        await here.clock.advance(timedelta(minutes=11))
        with pytest.raises(NotFound):
            await call("GET", f"{url.path}?{url.query}")
        _, found = await call("GET", f"{SUBSCRIPTIONS}/moving")
        assert (found["state"], found["endpoint"]) == ("enabled", hook.url)
        assert found["reason"].startswith(f"{other.url} did not consent in time")
        other.answer = echo
        _, again = await call("POST", f"{SUBSCRIPTIONS}/moving:validate")
        assert (again["state"], again["endpoint"], again["pendingEndpoint"]) == ("enabled", other.url, None)


async def test_going_back_to_the_present_endpoint_takes_the_change_back(call: Api) -> None:
    async with webhook(echo) as hook, webhook() as other:
        await call("POST", SUBSCRIPTIONS, {"name": "moving", "endpoint": hook.url})
        await call("PATCH", f"{SUBSCRIPTIONS}/moving", {"endpoint": other.url})
        url = urlsplit(other.calls[0].json[0]["data"]["validationUrl"])
        _, back = await call("PATCH", f"{SUBSCRIPTIONS}/moving", {"endpoint": hook.url})
        assert (back["endpoint"], back["pendingEndpoint"], back["reason"]) == (hook.url, None, None)
        with pytest.raises(NotFound):
            await call("GET", f"{url.path}?{url.query}")


async def test_a_subscription_that_is_switched_off_stays_so_when_its_new_endpoint_consents(call: Api) -> None:
    async with webhook(echo) as hook, webhook(echo) as other:
        await call("POST", SUBSCRIPTIONS, {"name": "moving", "endpoint": hook.url})
        await call("PATCH", f"{SUBSCRIPTIONS}/moving", {"enabled": False})
        for change in ({"endpoint": other.url}, {"endpoint": hook.url, "validation": False}):
            _, moved = await call("PATCH", f"{SUBSCRIPTIONS}/moving", change)
            assert (moved["state"], moved["endpoint"]) == ("disabled", change["endpoint"])


async def test_dead_letters_are_listed_page_by_page_and_replayed(here: Slice, call: Api) -> None:
    async with webhook(lambda _call: web.Response(status=400)) as hook, working(here.events):
        for name in ("one", "two"):
            await call("POST", SUBSCRIPTIONS, {"name": name, "endpoint": hook.url, "validation": False})
        sent = [here.event() for _ in range(5)]
        await here.emit(*sent)
        await here.settle()
        found: list[Any] = []
        target: str | None = "/resources/local/deadletters?limit=3"
        while target is not None:
            _, page = await call("GET", target)
            found += page["value"]
            target = page.get("nextLink")
        assert len({letter["id"] for letter in found}) == 10
        assert {letter["eventId"] for letter in found} == {str(event.event_id) for event in sent}
        letter = found[0]
        assert (letter["reason"], letter["attempts"], letter["lastStatus"]) == ("BadRequest", 1, 400)
        assert letter["data"] == {"messageId": "m"}
        assert letter["eventType"] == REPORT
        _, of_one = await call("GET", "/resources/local/deadletters?subscription=one")
        assert {letter["subscription"] for letter in of_one["value"]} == {"one"}

        hook.answer = lambda _call: web.Response(status=200)
        hook.calls.clear()
        ids = [of_one["value"][0]["id"]]
        assert await call("POST", "/resources/local/deadletters:replay", {"ids": ids}) == (200, {"replayed": 1})
        await here.settle()
        assert hook.event_ids == [of_one["value"][0]["eventId"]]
        assert await call("POST", "/resources/local/deadletters:replay", {"ids": ids}) == (200, {"replayed": 0})
        assert await call("POST", f"{SUBSCRIPTIONS}/two:replay") == (200, {"replayed": 5})
        await here.settle()
        assert len(hook.calls) == 6
        assert len((await call("GET", "/resources/local/deadletters"))[1]["value"]) == 4
        assert (await call("DELETE", f"{SUBSCRIPTIONS}/one"))[0] == 204
        assert (await call("GET", "/resources/local/deadletters"))[1]["value"] == []


async def test_of_two_operators_who_replay_at_once_each_dead_letter_is_one_ones(here: Slice, call: Api) -> None:
    async with webhook(lambda _call: web.Response(status=400)) as hook:
        await call("POST", SUBSCRIPTIONS, {"name": "all", "endpoint": hook.url, "validation": False})
        async with working(here.events):
            await here.emit(here.event(), here.event())
            await here.settle()
        found = await here.subscriptions.get("local", "all")
        async with here.database.transaction() as connection:
            first = "event_id = (SELECT min(event_id::text)::uuid FROM events_deliveries)"
            await connection.execute(
                "UPDATE events_deliveries SET dead_at = NULL, reason = NULL, next_at = NULL, delivered_at = since,"
                f" data = '' WHERE subscription_id = $1 AND {first}",
                found.subscription_id,
            )
            replaying = asyncio.create_task(call("POST", f"{SUBSCRIPTIONS}/all:replay"))
            while not await connection.fetchval(WAITING):
                await asyncio.sleep(0)
        assert await replaying == (200, {"replayed": 1})
        rows = await here.rows()
        assert sorted(row["next_at"] is not None for row in rows) == [False, True]
        assert [row["delivered_at"] for row in rows if row["next_at"] is not None] == [None]


@pytest.mark.parametrize(
    "change",
    [
        {"name": "x"},
        {"name": "no spaces"},
        {"endpoint": "http://10.0.0.1/"},
        {"endpoint": "https://2130706433/"},
        {"schema": "CustomInputSchema"},
        {"includedEventTypes": [REPORT, REPORT.removeprefix("Microsoft.Communication.")]},
        {"includedEventTypes": [REPORT.lower()]},
        {"includedEventTypes": []},  # it would be told of nothing, for ever
        {"enabled": False},  # it would be enabled all the same
        {"maxDeliveryAttempts": 31},
        {"eventTimeToLiveInMinutes": 0},
        {"maxEventsPerBatch": 5001},
        {"preferredBatchSizeInKilobytes": 0},
        {"signatureSecrets": ["short"]},
        {"signatureSecrets": ["a" * 20, "b" * 20, "c" * 20]},
        {"deliveryHeaders": [{"name": "Host", "value": "x"}]},
        {"deliveryHeaders": [{"name": "aeg-event-type", "value": "x"}]},
        {"deliveryHeaders": [{"name": "a b", "value": "x"}]},
        {"deliveryHeaders": [{"name": "a", "value": "x\r\ny: z"}]},
        {"deliveryHeaders": [{"name": "a"}, {"name": "A"}]},
        {"deliveryHeaders": [{"name": f"h{n}"} for n in range(11)]},
    ],
)
async def test_what_cannot_be_is_refused(call: Api, change: dict[str, Any]) -> None:
    body = {"name": "fine", "endpoint": "https://hook.example/", "validation": False, **change}
    with pytest.raises(Invalid):
        await call("POST", SUBSCRIPTIONS, body)
    assert await call("GET", SUBSCRIPTIONS) == (200, {"value": []})


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("Microsoft.Communication.SMSDeliveryReportRecieved", f"did you mean {REPORT}?"),
        ("SMSDeliveryReportReceived", f"did you mean {REPORT}?"),
        ("microsoft.communication.callstarted", f"did you mean {OTHER_TYPE}?"),
        ("Microsoft.Storage.BlobCreated", "they are like"),
        ("x" * 256, "they are like"),
    ],
)
async def test_a_type_that_no_event_has_is_refused_with_the_one_that_was_meant(
    call: Api, written: str, hint: str
) -> None:
    await call("POST", SUBSCRIPTIONS, {"name": "fine", "endpoint": "https://hook.example/", "validation": False})
    with pytest.raises(Invalid, match=re.escape(hint)) as refused:
        await call("PATCH", f"{SUBSCRIPTIONS}/fine", {"includedEventTypes": [REPORT, written]})
    assert refused.value.target == "includedEventTypes"


async def test_names_are_taken_once_and_what_is_missing_is_missing(call: Api) -> None:
    body = {"name": "fine", "endpoint": "https://hook.example/", "validation": False}
    await call("POST", SUBSCRIPTIONS, body)
    with pytest.raises(Conflict):
        await call("POST", SUBSCRIPTIONS, body)
    with pytest.raises(Invalid):
        await call("POST", SUBSCRIPTIONS, {"name": "nowhere"})
    for method, target in (
        ("GET", f"{SUBSCRIPTIONS}/other"),
        ("DELETE", f"{SUBSCRIPTIONS}/other"),
        ("POST", f"{SUBSCRIPTIONS}/other:replay"),
        ("POST", f"{SUBSCRIPTIONS}/other:validate"),
        ("GET", "/resources/unknown/subscriptions"),
        ("GET", "/eventGrid/validate"),
        ("GET", "/eventGrid/validate?id=00000000-0000-0000-0000-000000000000&token=x"),
    ):
        with pytest.raises(NotFound):
            await call(method, target)
    early = base64.urlsafe_b64encode(bytes(32) + b"0001-01-01T00:00:00+23:59").decode()
    for query in ("limit=0", "limit=x", "limit=1001", "limit=0009999999", "after=x", "after=AAAA", f"after={early}"):
        with pytest.raises(Invalid):
            await call("GET", f"/resources/local/deadletters?{query}")


async def test_subscriptions_that_are_added_at_once_keep_their_limit_together(
    here: Slice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "SUBSCRIPTIONS_LIMIT", 3)
    adding = [here.subscribe(f"hook{number}", "http://127.0.0.1:9/") for number in range(12)]
    added = await asyncio.gather(*adding, return_exceptions=True)
    assert [each.message for each in added if isinstance(each, Conflict)] == [
        "A resource can have 3 subscriptions."
    ] * 9
    assert len(await here.subscriptions.list("local")) == 3
