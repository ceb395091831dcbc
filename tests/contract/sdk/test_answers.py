"""What answers say beside what the SDKs read: codes of refusals, and headers, as recorded tests of the SDKs have them
from Azure."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from azure.communication.identity import CommunicationIdentityClient
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError
from tests.contract.sdk.conftest import Style, closed, result
from tests.support.signed import Answer, Raw, signed_headers

from landline.testing import Server

CHAT = "2025-03-15"
TARGET = "/identities?api-version=2023-10-01"
Headers = dict[str, str]


def signed(raw: Raw, *, key: str = "", at: datetime | None = None, body: bytes = b"") -> Headers:
    return signed_headers(key or raw.key, raw.host_header, "POST", TARGET, body, at=at)


FORGED: dict[str, Callable[[Raw], Headers]] = {
    "no signature": lambda _: {},
    "another scheme": lambda _: {"authorization": "Basic a2V5OmtleQ=="},
    "a wrong key": lambda raw: signed(raw, key="a2V5a2V5a2V5a2V5a2V5a2V5a2V5a2V5"),
    "another body's hash": lambda raw: signed(raw, body=b"{}"),
    "an old date": lambda raw: signed(raw, at=datetime.now(UTC) - timedelta(hours=1)),
    "a date that is none": lambda raw: {**signed(raw), "x-ms-date": "yesterday"},
    "a signed header that is not there": lambda raw: {
        name: value for name, value in signed(raw).items() if name != "x-ms-date"
    },
    "a token that is none": lambda _: {"authorization": "Bearer nobody's"},
}


@pytest.mark.parametrize("what", FORGED)
def test_who_proves_nobody_is_denied(raw: Raw, what: str) -> None:
    answer = raw.send("POST", TARGET, b"", FORGED[what](raw))
    assert (answer.status, answer.error["code"], answer.headers["x-ms-error-code"]) == (401, "Denied", "Denied"), answer
    assert answer.error["message"]


async def test_the_sdk_tells_who_is_denied(style: Style, landline: Server) -> None:
    client = style.identity_client(landline.endpoint, AzureKeyCredential("a2V5a2V5a2V5a2V5"))
    with pytest.raises(ClientAuthenticationError) as refused:
        await result(client.create_user())
    assert refused.value.error is not None
    assert refused.value.error.code == "Denied"
    await closed(client)


def test_who_is_known_and_uses_what_is_not_his_is_unauthorized(raw: Raw, fresh_number: Callable[[], str]) -> None:
    answer = raw.send_sms("+18005559999", [fresh_number()], "Not my number")
    assert (answer.status, answer.error["code"]) == (401, "Unauthorized")


@pytest.fixture
def user(landline: Server, raw: Raw) -> Callable[..., Answer]:
    """Asks as a communication user."""
    identity = CommunicationIdentityClient.from_connection_string(landline.connection_string)
    _, token = identity.create_user_and_token(["chat"])

    def ask(method: str, path: str, body: bytes = b"") -> Answer:
        headers = {"authorization": f"Bearer {token.token}", "content-type": "application/json"}
        return raw.send(method, f"{path}?api-version={CHAT}", body, headers)

    return ask


def test_a_user_whose_token_is_none_is_unauthorized(raw: Raw) -> None:
    answer = raw.send("GET", f"/chat/threads?api-version={CHAT}", b"", {"authorization": "Bearer nobody's"})
    assert (answer.status, answer.error["code"]) == (401, "Unauthorized")


def test_a_new_thread_and_a_new_message_are_where_their_location_says(
    landline: Server, user: Callable[..., Answer]
) -> None:
    made = user("POST", "/chat/threads", b'{"topic": "Lunch"}')
    thread: dict[str, Any] = made.json()["chatThread"]
    path = f"/chat/threads/{quote(thread['id'], safe='@')}"
    assert made.headers["location"] == landline.endpoint.rstrip("/") + path
    assert user("GET", urlsplit(made.headers["location"]).path).json()["id"] == thread["id"]
    sent = user("POST", f"{path}/messages", b'{"content": "Hi"}')
    assert sent.headers["location"] == f"{made.headers['location']}/messages/{sent.json()['id']}"
    assert user("GET", urlsplit(sent.headers["location"]).path).json()["content"] == {"message": "Hi"}
