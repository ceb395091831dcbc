"""What the SDKs of each api-version read of the answers: released versions, old ones too, were run against a server by
hand (docs/reference/sdks.md), and what that found is kept here with signed requests that have their forms."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from azure.communication.identity import CommunicationIdentityClient
from tests.support.signed import Answer, Raw, sms_body

from landline.testing import Handset, Server
from landline.wire.operations import API_VERSIONS

Ask = Callable[[str], Answer]
READ = {
    "Identity": ({"identity.id", "accessToken.token", "accessToken.expiresOn"}, 201),
    "SMS": ({"value.0.to", "value.0.messageId", "value.0.httpStatusCode", "value.0.successful"}, 202),
    "Phone numbers": (
        {
            *("phoneNumbers.0.id", "phoneNumbers.0.phoneNumber", "phoneNumbers.0.countryCode"),
            *("phoneNumbers.0.phoneNumberType", "phoneNumbers.0.assignmentType", "phoneNumbers.0.purchaseDate"),
            *("phoneNumbers.0.capabilities.calling", "phoneNumbers.0.capabilities.sms"),
            *("phoneNumbers.0.cost.amount", "phoneNumbers.0.cost.currencyCode", "phoneNumbers.0.cost.billingFrequency"),
        },
        200,
    ),
    "SIP routing": ({"trunks", "routes"}, 200),
    "Chat": ({"chatThread.id", "chatThread.topic", "chatThread.createdOn"}, 201),
    "Rooms": ({"id", "createdAt", "validFrom", "validUntil"}, 201),
}
"""Of each service, what the SDKs of all its versions require of one answer, and its status."""


@pytest.fixture(scope="module")
def chatter(landline: Server) -> str:
    """A chat user's token."""
    client = CommunicationIdentityClient.from_connection_string(landline.connection_string)
    return client.create_user_and_token(["chat"])[1].token


@pytest.fixture
def asks(raw: Raw, landline: Server, chatter: str, fresh_number: Callable[[], str]) -> dict[str, Ask]:
    """One request of each service, at the api-version given."""

    def chat(version: str) -> Answer:
        headers = {"authorization": f"Bearer {chatter}", "content-type": "application/json"}
        return raw.send("POST", f"/chat/threads?api-version={version}", b'{"topic": "Lunch"}', headers)

    return {
        "Identity": lambda version: raw.call(
            "POST", "/identities", {"createTokenWithScopes": ["chat"]}, version=version
        ),
        "SMS": lambda version: raw.call(
            "POST", "/sms", sms_body(landline.phone_number, [fresh_number()], "By any version"), version=version
        ),
        "Phone numbers": lambda version: raw.call("GET", "/phoneNumbers", version=version),
        "SIP routing": lambda version: raw.call("GET", "/sip", version=version),
        "Chat": chat,
        "Rooms": lambda version: raw.call("POST", "/rooms", {}, version=version),
    }


def leaves(value: Any, path: str = "") -> Iterator[str]:
    """The paths of all there is in `value`."""
    if path:
        yield path
    for key, below in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from leaves(below, f"{path}.{key}" if path else str(key))


def check(service: str, answer: Answer, version: str) -> None:
    required, status = READ[service]
    assert answer.status == status, (version, answer)
    assert required <= set(leaves(answer.json())), version
    assert answer.headers["api-supported-versions"] == ", ".join(API_VERSIONS[service])


def test_each_version_gets_what_its_sdks_read(asks: dict[str, Ask]) -> None:
    for service, ask in asks.items():
        for version in (*API_VERSIONS[service], "2099-01-01"):
            check(service, ask(version), version)


def test_what_is_older_is_refused_and_told_what_is_not(asks: dict[str, Ask]) -> None:
    too_old = {**dict.fromkeys(asks, "2021-01-27-preview4"), "Rooms": "2022-02-01", "SMS": "2020-07-20-preview1"}
    for service, ask in asks.items():
        answer = ask(too_old[service])
        assert (answer.status, answer.error["code"]) == (400, "UnsupportedApiVersion"), service
        assert API_VERSIONS[service][0] in answer.error["message"]
        assert answer.headers["api-supported-versions"].startswith(API_VERSIONS[service][0])


def test_the_first_python_sms_sdks_way_to_write_dates_is_read(
    raw: Raw, landline: Server, handset: Callable[[str], Handset], fresh_number: Callable[[], str]
) -> None:
    """azure-communication-sms 1.0.0 sends `str(datetime.utcnow())`."""
    phone = handset(fresh_number())
    recipient = {
        "to": phone.number,
        "repeatabilityRequestId": str(uuid4()),
        "repeatabilityFirstSent": str(datetime.now(UTC).replace(tzinfo=None)),
    }
    answers = [raw.send_sms(landline.phone_number, [recipient], "Hello from 2021") for _ in range(2)]
    assert [answer.status for answer in answers] == [202, 202], answers
    assert len({answer.json()["value"][0]["messageId"] for answer in answers}) == 1
    assert phone.wait_for_sms().text == "Hello from 2021"
    refused = raw.send_sms(landline.phone_number, [{**recipient, "repeatabilityFirstSent": "yesterday"}], "x")
    [outcome] = refused.json()["value"]
    assert (refused.status, outcome["httpStatusCode"], outcome["repeatabilityResult"]) == (202, 400, "rejected")
    assert "repeatabilityFirstSent" in outcome["errorMessage"]
