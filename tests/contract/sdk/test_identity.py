"""The official Python identity clients, sync and async, unmodified, over TLS, on a running server (acs-wire.md 5)."""

import base64
import json
import re
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.communication.identity import CommunicationTokenScope
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.identity import ClientSecretCredential
from azure.identity.aio import ClientSecretCredential as AsyncClientSecretCredential
from tests.contract.sdk.conftest import Style, closed, result
from tests.support.signed import IDENTITY_VERSION, Raw

from landline.testing import Server

GUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
SCOPES = [scope.value for scope in CommunicationTokenScope]


def claims(token: str) -> dict[str, Any]:
    """The payload, decoded as the Python SDK does it: with the standard alphabet of base64 (acs-wire.md 5.3)."""
    return json.loads(base64.b64decode(token.split(".")[1] + "==").decode("ascii"))


async def test_a_user_can_be_created_however_the_client_was_given_the_resource(
    style: Style, given: Callable[[Any], Any]
) -> None:
    client = given(style.identity_client)
    user = await result(client.create_user())
    assert re.fullmatch(f"8:acs:{GUID}_{GUID}", user.raw_id)
    assert user.properties["id"] == user.raw_id
    await closed(client)


async def test_a_service_token_of_the_dev_issuer_serves_in_place_of_a_key(style: Style, landline: Server) -> None:
    credential_class: Any = AsyncClientSecretCredential if style.name == "async" else ClientSecretCredential
    authority = landline.endpoint.rstrip("/") + "/devissuer"
    async with AsyncExitStack() as stack:
        credential = credential_class(
            "common-tenant",
            "an-application",
            landline.ready["adminToken"],
            authority=authority,
            disable_instance_discovery=True,
        )
        stack.push_async_callback(closed, credential)
        client = style.identity_client(landline.endpoint, credential)
        stack.push_async_callback(closed, client)
        user, token = await result(client.create_user_and_token(["chat"]))
    assert claims(token.token)["skypeid"] == user.raw_id.removeprefix("8:")


async def test_two_users_are_two_ids_of_one_resource(identity: Any) -> None:
    first, second = await result(identity.create_user()), await result(identity.create_user())
    assert first.raw_id != second.raw_id
    assert first.raw_id.split("_")[0] == second.raw_id.split("_")[0]


async def test_a_token_holds_the_claims_that_clients_read(identity: Any) -> None:
    user, token = await result(identity.create_user_and_token(["chat", "voip"]))
    found = claims(token.token)
    assert found["skypeid"] == user.raw_id.removeprefix("8:")
    assert set(found["acsScope"].split(",")) == {"chat", "voip"}
    assert found["resourceId"] == found["skypeid"].removeprefix("acs:").split("_")[0]
    assert found["resourceLocation"]
    assert found["exp"] - found["iat"] == 24 * 3600
    header = json.loads(base64.urlsafe_b64decode(token.token.split(".")[0] + "=="))
    assert header["alg"] in {"RS256", "ES256"}
    assert header["kid"]


@pytest.mark.parametrize("scope", SCOPES)
async def test_every_scope_of_the_sdk_can_be_asked_for(identity: Any, scope: str) -> None:
    user = await result(identity.create_user())
    token = await result(identity.get_token(user, [scope]))
    assert claims(token.token)["acsScope"] == scope


def told(error: HttpResponseError) -> tuple[str, str]:
    """Code and target, as Azure's recorded answers have them."""
    assert error.error is not None
    return str(error.error.code), str(error.error.target)


async def test_a_scope_nobody_knows_is_refused(identity: Any) -> None:
    user = await result(identity.create_user())
    with pytest.raises(HttpResponseError) as refused:
        await result(identity.get_token(user, ["everything"]))
    assert refused.value.status_code == 400
    assert told(refused.value) == ("ValidationError", "Scopes")


@pytest.mark.parametrize("scopes", [[], None])
async def test_a_token_without_scopes_is_refused(identity: Any, scopes: Any) -> None:
    user = await result(identity.create_user())
    with pytest.raises(HttpResponseError) as refused:
        await result(identity.get_token(user, scopes))
    assert refused.value.status_code == 400
    assert told(refused.value) == ("ValidationError", "Scopes")


@pytest.mark.parametrize("minutes", [60, 61, 1439, 1440])
async def test_a_life_of_one_to_24_hours_is_given_exactly(identity: Any, minutes: int) -> None:
    user = await result(identity.create_user())
    token = await result(identity.get_token(user, ["chat"], token_expires_in=timedelta(minutes=minutes)))
    found = claims(token.token)
    assert found["exp"] - found["iat"] == minutes * 60


@pytest.mark.parametrize("minutes", [0, 59, 1441, 100_000])
async def test_a_life_outside_one_to_24_hours_is_refused(identity: Any, minutes: int) -> None:
    user = await result(identity.create_user())
    for call in (
        lambda: identity.get_token(user, ["chat"], token_expires_in=timedelta(minutes=minutes)),
        lambda: identity.create_user_and_token(["chat"], token_expires_in=timedelta(minutes=minutes)),
    ):
        with pytest.raises(HttpResponseError) as refused:
            await result(call())
        assert refused.value.status_code == 400
        assert told(refused.value) == ("ValidationError", "ExpiresInMinutes")
        assert refused.value.message


async def test_a_teams_users_token_is_not_exchanged_without_all_it_takes(identity: Any) -> None:
    for name in ("aad_token", "client_id", "user_object_id"):
        given = {"aad_token": "a.b.c", "client_id": "app", "user_object_id": "user", name: ""}
        with pytest.raises(HttpResponseError) as refused:
            await result(identity.get_token_for_teams_user(**given))
        assert refused.value.status_code == 400
        assert told(refused.value)[0] == "ValidationError"


async def test_revoking_leaves_the_user_able_to_get_a_new_token(identity: Any) -> None:
    user, _ = await result(identity.create_user_and_token(["chat"]))
    assert await result(identity.revoke_tokens(user)) is None
    token = await result(identity.get_token(user, ["chat"]))
    assert claims(token.token)["skypeid"] == user.raw_id.removeprefix("8:")


async def test_a_deleted_user_is_gone(identity: Any) -> None:
    user = await result(identity.create_user())
    assert await result(identity.delete_user(user)) is None
    for call in (lambda: identity.get_token(user, ["chat"]), lambda: identity.revoke_tokens(user)):
        with pytest.raises(HttpResponseError) as refused:
            await result(call())
        assert refused.value.status_code in {400, 403, 404}


async def test_a_user_of_another_resource_is_not_ours(identity: Any) -> None:
    user = await result(identity.create_user())
    stranger = "8:acs:" + "0" * 8 + "-0000-4000-8000-" + "0" * 12 + "_" + user.raw_id.split("_")[1]
    for call in (
        lambda: identity.get_token(type(user)(stranger), ["chat"]),
        lambda: identity.revoke_tokens(type(user)(stranger)),
        lambda: identity.delete_user(type(user)(stranger)),
    ):
        with pytest.raises(ClientAuthenticationError) as refused:
            await result(call())
        assert "IdentityNotOwned" in str(refused.value)


async def test_a_teams_token_exchange_says_that_it_needs_entra(identity: Any) -> None:
    with pytest.raises(HttpResponseError) as refused:
        await result(identity.get_token_for_teams_user("an.entra.token", "a-client", "an-object-id"))
    assert refused.value.status_code in {400, 401, 501}
    assert "Entra" in str(refused.value.message)


async def test_a_wrong_key_is_refused(style: Style, landline: Server) -> None:
    wrong = base64.b64encode(b"not the key of this resource....").decode()
    client = style.identity_client.from_connection_string(f"endpoint={landline.endpoint};accesskey={wrong}")
    with pytest.raises(ClientAuthenticationError):
        await result(client.create_user())
    await closed(client)


async def test_the_client_request_id_comes_back(identity: Any) -> None:
    answers: list[Any] = []
    await result(identity.create_user(raw_response_hook=answers.append, request_id="a-request-of-mine"))
    headers = answers[0].http_response.headers
    assert headers["x-ms-client-request-id"] == "a-request-of-mine"
    assert headers["x-ms-request-id"]


@pytest.mark.parametrize("version", ["2021-03-07", "2022-06-01", "2022-10-01", "2023-10-01"])
def test_each_version_the_released_sdks_ask_for_is_served(raw: Raw, version: str) -> None:
    answer = raw.call("POST", "/identities", version=version)
    assert answer.status == 201, answer
    assert answer.json()["identity"]["id"].startswith("8:acs:")


def test_a_missing_version_is_refused(raw: Raw) -> None:
    answer = raw.call("POST", "/identities", version=None)
    assert answer.status == 400
    assert answer.error["code"]


def test_a_token_given_with_a_user_expires_when_it_says(raw: Raw) -> None:
    answer = raw.call(
        "POST", "/identities", {"createTokenWithScopes": ["voip"], "expiresInMinutes": 60}, version=IDENTITY_VERSION
    )
    token = answer.json()["accessToken"]
    expires = datetime.fromisoformat(token["expiresOn"]).astimezone(UTC)
    assert claims(token["token"])["exp"] == int(expires.timestamp())
