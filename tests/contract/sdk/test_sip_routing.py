"""The official Python SIP routing clients, sync and async, unmodified, on a running server (acs-wire.md 6)."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from typing import Any, cast

import azure.communication.phonenumbers.siprouting as sip_sync
import azure.communication.phonenumbers.siprouting.aio as sip_async
import pytest
from azure.communication.phonenumbers.siprouting import SipTrunk, SipTrunkRoute
from azure.core.exceptions import HttpResponseError
from tests.contract.sdk.conftest import Style, closed, listed, result
from tests.support.signed import Raw

from landline.testing import Server
from landline.testing.admin import AdminError

VERSION = "2023-03-01"
FIRST, SECOND, THIRD = "sbc1.example.org", "sbc2.example.org", "sbc3.example.org"


def client_class(style: Style) -> Any:
    return (sip_async if style.name == "async" else sip_sync).SipRoutingClient


@pytest.fixture
async def sip(style: Style, landline: Server, raw: Raw) -> AsyncGenerator[Any]:
    """A client, on a resource without trunks and routes."""
    clear(raw)
    client = client_class(style).from_connection_string(landline.connection_string)
    yield client
    await closed(client)
    clear(raw)


def clear(raw: Raw) -> None:
    assert raw.call("PATCH", "/sip", {"trunks": None, "routes": None}, version=VERSION).status == 200


def route(name: str, pattern: str, *trunks: str, description: str | None = None) -> SipTrunkRoute:
    return SipTrunkRoute(name=name, number_pattern=pattern, trunks=list(trunks), description=description)


def inner_code(refused: HttpResponseError) -> str:
    response: Any = refused.response
    text = response.text  # a method in azure-core's older transport types, a property in the newer
    body = json.loads(cast("str", text() if callable(text) else text))
    assert body["error"]["code"] == "UnprocessableConfiguration"
    return body["error"]["innererror"]["code"]


async def test_trunks_are_set_read_changed_and_deleted(sip: Any) -> None:
    await result(
        sip.set_trunks([SipTrunk(fqdn=FIRST, sip_signaling_port=5061), SipTrunk(fqdn=SECOND, sip_signaling_port=5062)])
    )
    await result(sip.set_trunk(SipTrunk(fqdn=FIRST, sip_signaling_port=5071)))
    await result(sip.set_trunk(SipTrunk(fqdn=THIRD, sip_signaling_port=5063)))
    assert (await result(sip.get_trunk(FIRST))).sip_signaling_port == 5071
    assert {trunk.fqdn for trunk in await listed(sip.list_trunks())} == {FIRST, SECOND, THIRD}
    await result(sip.delete_trunk(THIRD))
    await result(sip.delete_trunk("never.example.org"))
    with pytest.raises(KeyError):
        await result(sip.get_trunk(THIRD))
    await result(sip.set_trunks([SipTrunk(fqdn=SECOND, sip_signaling_port=5062)]))
    assert [trunk.fqdn for trunk in await listed(sip.list_trunks())] == [SECOND]
    await result(sip.set_trunks([]))
    assert await listed(sip.list_trunks()) == []


async def test_routes_keep_their_order_and_are_replaced_whole(sip: Any) -> None:
    await result(sip.set_trunk(SipTrunk(fqdn=FIRST, sip_signaling_port=5061)))
    routes = [
        route("b", r"^\+1(425|206)(\d{7})$", FIRST, description="Washington"),
        route("a", r"^\+[1-9][0-9]{3,23}$"),
    ]
    await result(sip.set_routes(routes))
    found = await listed(sip.list_routes())
    assert [(one.name, one.number_pattern, one.trunks, one.description) for one in found] == [
        ("b", r"^\+1(425|206)(\d{7})$", [FIRST], "Washington"),
        ("a", r"^\+[1-9][0-9]{3,23}$", [], None),
    ]
    await result(sip.set_routes([]))
    assert await listed(sip.list_routes()) == []


async def test_a_trunk_in_use_cannot_go(sip: Any) -> None:
    await result(sip.set_trunks([SipTrunk(fqdn=name, sip_signaling_port=5061) for name in (FIRST, SECOND)]))
    await result(sip.set_routes([route("all", ".*", SECOND)]))
    for call in (
        lambda: sip.delete_trunk(SECOND),
        lambda: sip.set_trunks([SipTrunk(fqdn=FIRST, sip_signaling_port=5061)]),
    ):
        with pytest.raises(HttpResponseError) as refused:
            await result(call())
        assert refused.value.status_code == 422
        assert inner_code(refused.value) == "MissingTrunk"
    assert len(await listed(sip.list_trunks())) == 2


@pytest.mark.parametrize(
    ("trunk", "code"),
    [
        (SipTrunk(fqdn="-1", sip_signaling_port=8239), "InvalidTrunkFqdn"),
        (SipTrunk(fqdn="localhost", sip_signaling_port=5061), "InvalidTrunkFqdn"),
        (SipTrunk(fqdn="192.0.2.1", sip_signaling_port=5061), "InvalidTrunkFqdn"),
        (SipTrunk(fqdn="*.example.org", sip_signaling_port=5061), "InvalidTrunkFqdn"),
        (SipTrunk(fqdn="sbc.example.org\n", sip_signaling_port=5061), "InvalidTrunkFqdn"),
        (SipTrunk(fqdn=".".join(["a" * 49] * 5) + ".b", sip_signaling_port=5061), "InvalidTrunkFqdn"),
        (SipTrunk(fqdn=FIRST, sip_signaling_port=0), "InvalidTrunkSipSignalingPort"),
        (SipTrunk(fqdn=FIRST, sip_signaling_port=65536), "InvalidTrunkSipSignalingPort"),
        (SipTrunk(fqdn=FIRST, sip_signaling_port=-1), "InvalidTrunkSipSignalingPort"),
    ],
)
async def test_a_trunk_that_cannot_be_is_refused(sip: Any, trunk: SipTrunk, code: str) -> None:
    with pytest.raises(HttpResponseError) as refused:
        await result(sip.set_trunk(trunk))
    assert (refused.value.status_code, inner_code(refused.value)) == (422, code)
    assert await listed(sip.list_trunks()) == []


@pytest.mark.parametrize(
    ("routes", "status", "code"),
    [
        ([route("", r"\+1")], 422, "InvalidRouteName"),
        ([route("empty", "")], 422, "InvalidRouteNumberPattern"),
        ([route("broken", "[")], 422, "InvalidRouteNumberPattern"),
        ([route("look-ahead", r"^(?=\+1)\+1")], 422, "InvalidRouteNumberPattern"),
        ([route("back reference", r"(\d)\1")], 422, "InvalidRouteNumberPattern"),
        ([route("huge", r"((\d{1,100}){1,100}){1,100}")], 422, "InvalidRouteNumberPattern"),
        ([route("same", "1"), route("same", "2")], 400, "DuplicatedRoute"),
        ([route("unknown trunk", "1", "nowhere.example.org")], 422, "MissingTrunk"),
        ([route("twice", "1", FIRST, FIRST)], 400, "RouteWithDuplicatedTrunk"),
    ],
)
async def test_routes_that_cannot_be_are_refused(sip: Any, routes: list[SipTrunkRoute], status: int, code: str) -> None:
    await result(sip.set_trunk(SipTrunk(fqdn=FIRST, sip_signaling_port=5061)))
    with pytest.raises(HttpResponseError) as refused:
        await result(sip.set_routes(routes))
    assert (refused.value.status_code, inner_code(refused.value)) == (status, code)
    assert await listed(sip.list_routes()) == []


async def test_what_is_too_long_or_too_many_is_refused(sip: Any, raw: Raw) -> None:
    for body in (
        {"routes": [{"name": "n" * 257, "numberPattern": "1"}]},
        {"routes": [{"name": "n", "numberPattern": "1" * 1025}]},
        {"routes": [{"name": "n", "numberPattern": "1", "description": "d" * 1025}]},
        {"routes": [{"name": str(number), "numberPattern": "1"} for number in range(251)]},
        {"trunks": {f"t{number}.example.org": {"sipSignalingPort": 5061} for number in range(251)}},
        {"trunks": {FIRST: {"sipSignalingPort": "5061"}}},
        {"trunks": {FIRST: {}}},
        {"trunks": {}},
        {},
    ):
        answer = raw.call("PATCH", "/sip", body, version=VERSION)
        assert answer.status in {400, 422}, answer
        assert answer.headers["x-ms-error-code"]
    assert await listed(sip.list_trunks()) == []


async def test_a_patch_is_done_whole_or_not_at_all(sip: Any, raw: Raw) -> None:
    body = {
        "trunks": {FIRST: {"sipSignalingPort": 5061}},
        "routes": [{"name": "r", "numberPattern": "[", "trunks": [FIRST]}],
    }
    assert raw.call("PATCH", "/sip", body, version=VERSION).status == 422
    assert raw.call("GET", "/sip", version=VERSION).json() == {"trunks": {}, "routes": []}
    body["routes"][0]["numberPattern"] = "1"  # type: ignore[index]
    assert raw.call("PATCH", "/sip", body, version=VERSION).status == 200
    swapped = {
        "trunks": {FIRST: None, SECOND: {"sipSignalingPort": 1}},
        "routes": [{"name": "r", "numberPattern": "1", "trunks": [SECOND]}],
    }
    answer = raw.call("PATCH", "/sip", swapped, version=VERSION)
    assert answer.json() == {
        "trunks": {SECOND: {"sipSignalingPort": 1}},
        "routes": [{"name": "r", "numberPattern": "1", "trunks": [SECOND]}],
    }


async def test_patches_at_once_lose_nothing(sip: Any, raw: Raw) -> None:
    names = [f"t{number}.example.org" for number in range(24)]

    def add(name: str) -> int:
        return raw.call("PATCH", "/sip", {"trunks": {name: {"sipSignalingPort": 5061}}}, version=VERSION).status

    assert set(await asyncio.gather(*(asyncio.to_thread(add, name) for name in names))) == {200}
    assert {trunk.fqdn for trunk in await listed(sip.list_trunks())} == set(names)


async def test_a_test_call_says_which_routes_and_trunks_it_takes(sip: Any, landline: Server) -> None:
    await result(
        sip.set_trunks([SipTrunk(fqdn=FIRST, sip_signaling_port=5061), SipTrunk(fqdn=SECOND, sip_signaling_port=5062)])
    )
    await result(
        sip.set_routes(
            [
                route("nothing behind it", ".*"),
                route("Washington", r"^\+1(425|206)(\d{7})$", FIRST),
                route("as the samples write it", "^+[1-9][0-9]{3,23}$", SECOND, FIRST),
            ]
        )
    )

    def call(number: str, **more: str) -> Any:
        return landline.admin.call("POST", "/resources/local/sip/routes:test", {"number": number, **more})

    found = call("+14255550123")
    assert found["route"] == "Washington"
    assert [one["name"] for one in found["matchingRoutes"]] == ["Washington", "as the samples write it"]
    assert found["matchingRoutes"][0]["trunks"] == [{"fqdn": FIRST, "sipSignalingPort": 5061}]
    assert call("+442079460000")["route"] == "as the samples write it"
    nowhere = call("112", alternateCallerId="+14255550199")
    assert nowhere == {"number": "112", "route": None, "matchingRoutes": [], "fallback": False}
    with pytest.raises(AdminError, match="400"):
        call("sip:a@b")


async def test_a_pattern_that_backtracks_elsewhere_answers_at_once(sip: Any, landline: Server) -> None:
    await result(sip.set_trunk(SipTrunk(fqdn=FIRST, sip_signaling_port=5061)))
    evil = [
        route(str(at), pattern, FIRST) for at, pattern in enumerate([r"^(1+)+$", r"^(\d|\d\d)+x$", r"(1*)*(1*)*y$"])
    ]
    await result(sip.set_routes(evil))
    found = landline.admin.call("POST", "/resources/local/sip/routes:test", {"number": "1" * 23 + "2"})
    assert found["route"] is None


def test_each_version_the_released_sdks_ask_for_is_served(raw: Raw) -> None:
    for version in ("2021-05-01-preview", "2022-09-01-preview", VERSION):
        assert raw.call("GET", "/sip", version=version).status == 200


async def test_the_client_can_be_given_the_resource_in_each_way(style: Style, given: Callable[[Any], Any]) -> None:
    client = given(client_class(style))
    assert isinstance(await listed(client.list_routes()), list)
    await closed(client)
