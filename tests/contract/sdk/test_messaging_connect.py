"""`messagingConnect`: who an application says brings its text (Azure: Messaging Connect, synchronous validation)."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.contract.sdk.javascript import run_js
from tests.support.signed import Answer, Raw, sms_body

from landline.testing import Server
from landline.testing.trust import Trust

BOUND = "+14255550188"
PARTNER = "smsSendOptions.messagingConnect.partner"
SETTINGS = "/resources/local/sms/settings"
CARRIER = {"kind": "smpp", "name": "infobip", "host": "127.0.0.1", "port": 1, "system_id": "a", "password": "b"}


@pytest.fixture(scope="module")
def connected(landline_trust: Trust) -> Iterator[Server]:
    """A server with a carrier called as a partner is, and a number bound to it."""
    with Server(env={"LANDLINE_CARRIERS": json.dumps([CARRIER])}) as server:
        landline_trust.add(server.ca_bundle)
        server.admin.call("POST", "/resources/local/numbers", {"number": BOUND, "carrier": "infobip"})
        yield server


@pytest.fixture
def send(connected: Server, fresh_number: Callable[[], str]) -> Callable[..., Answer]:
    """Sends a text by a partner."""
    raw = Raw(connected.endpoint, connected.access_key, connected.ca_bundle)

    def send(partner: Any, sender: str = connected.phone_number, version: str = "2026-01-23", **options: Any) -> Answer:
        options = options or {"partnerParams": {"apiKey": "a-secret"}}
        connect = {"partner": partner, **options}
        body = sms_body(sender, [fresh_number()], "By a partner", messagingConnect=connect)
        return raw.call("POST", "/sms", body, version=version)

    return send


@pytest.fixture
def settings(connected: Server) -> Iterator[Callable[[dict[str, Any]], Any]]:
    """Changes the resource's settings, until the test has ended."""
    yield lambda change: connected.admin.call("PATCH", SETTINGS, change)
    connected.admin.call("PUT", SETTINGS, {})


@pytest.mark.parametrize("version", ["2025-05-29-preview", "2025-09-17", "2026-01-23"])
def test_a_partner_that_a_resource_does_not_want_is_refused(
    send: Callable[..., Answer], settings: Callable[[dict[str, Any]], Any], version: str
) -> None:
    assert send("sinch", version=version).status == 202
    settings({"messagingConnectPartners": []})
    answer = send("sinch", version=version)
    assert answer.status == 400, answer
    [said] = answer.json()["errors"][PARTNER]
    assert "'sinch'" in said
    assert "messagingConnectPartners" in said


@pytest.mark.parametrize("partner", ["infobip", "Infobip", "INFOBIP"])
def test_a_partner_is_the_carrier_of_its_name(connected: Server, send: Callable[..., Answer], partner: str) -> None:
    assert send(partner).status == 202
    assert send(partner, BOUND).status == 202
    assert "a-secret" not in connected.log


def test_a_partner_other_than_the_number_is_bound_to_is_refused(send: Callable[..., Answer]) -> None:
    answer = send("simulated", BOUND)
    assert (answer.status, list(answer.json()["errors"])) == (400, [PARTNER])


def test_names_can_be_let_through_for_a_resource(
    send: Callable[..., Answer], settings: Callable[[dict[str, Any]], Any]
) -> None:
    in_force = settings({"messagingConnectPartners": ["Sinch"]})
    assert in_force["messagingConnectPartners"] == ["Sinch"]
    assert send("sinch").status == 202
    assert send("sinch", BOUND).status == 202
    assert send("twilio").status == 400


def test_it_is_checked_behind_the_sender(send: Callable[..., Answer]) -> None:
    assert send("simulated", "+18005559999").status == 401


@pytest.mark.parametrize(
    ("version", "options", "status"),
    [
        ("2025-05-29-preview", {"apiKey": "k"}, 202),
        ("2026-01-23", {"partnerParams": {"servicePlanId": "a", "authToken": "b"}}, 202),
        ("2026-01-23", {"partnerParams": {}}, 400),
        ("2026-01-23", {"partnerParams": None}, 400),
        ("2025-05-29-preview", {"apiKey": ""}, 400),
    ],
)
def test_its_account_is_named(send: Callable[..., Answer], version: str, options: dict[str, Any], status: int) -> None:
    assert send("infobip", version=version, **options).status == status


def test_an_older_api_version_does_not_have_it(send: Callable[..., Answer]) -> None:
    assert send("sinch", version="2024-12-10-preview").status == 202


@pytest.mark.usefixtures("node_modules")
def test_the_javascript_sdk_sends_by_partners(connected: Server) -> None:
    run_js(connected, "messaging_connect.test.js")
