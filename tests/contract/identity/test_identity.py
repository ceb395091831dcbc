"""The identity service through the application, over a real database (acs-wire.md 5)."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.front import HOST, SEALING, VERSION, Front, call, front
from tests.support.still import StillClock

from landline.core.ids import ResourceId, time_ordered, user_raw_id
from landline.edge import scopes
from landline.edge.http import Caller, Request, Response, json_response
from landline.edge.routes import Access, Route
from landline.services.identity import model, tokens
from landline.services.identity.signing_keys import SigningKeys
from landline.store.changes import Changes
from landline.store.database import Database
from landline.store.sealing import Sealer


async def whoami(request: Request) -> Response:
    return json_response(200, {"user": request.caller.user, "scopes": sorted(request.caller.scopes)})


async def make_thread(request: Request) -> Response:
    return json_response(200, {"user": scopes.require(request.caller, scopes.CHANGE_THREADS)})


WANTED = {"scopes": ["chat"]}
ME = [Route("GET", "/me", whoami, access=Access.USER), Route("GET", "/thread", make_thread, access=Access.USER)]


@pytest.fixture
async def server(database: Database, dsn: str) -> Any:
    async with front(database, dsn, extra=ME) as running:
        yield running


def payload(token: str) -> dict[str, Any]:
    """As the Python SDK reads it: plain base64, which drops what base64url has of its own."""
    return json.loads(base64.b64decode(token.split(".")[1] + "=="))


async def test_a_user_without_a_token(server: Front) -> None:
    reply = await server.signed("POST", "/identities")
    assert reply.status == 201
    resource = await server.resources.get("local")
    assert set(reply.json()) == {"identity"}
    assert reply.json()["identity"]["id"].startswith(f"8:acs:{resource.resource_id}_")
    assert reply.json()["identity"]["id"].count("_") == 1


async def test_a_user_with_a_token_whose_claims_the_clients_can_read(server: Front) -> None:
    before = datetime.now(UTC)
    reply = await server.signed(
        "POST", "/identities", {"createTokenWithScopes": ["chat", "voip"], "expiresInMinutes": 60}
    )
    user, token = reply.json()["identity"]["id"], reply.json()["accessToken"]
    claims = payload(token["token"])
    resource = await server.resources.get("local")
    assert claims["skypeid"] == user.removeprefix("8:")
    assert claims["acsScope"] == "chat,voip"
    assert claims["resourceId"] == str(resource.resource_id)
    assert claims["resourceLocation"] == "unitedstates"
    assert claims["exp"] - claims["iat"] == 3600
    assert datetime.fromisoformat(token["expiresOn"][:26]).replace(tzinfo=UTC).timestamp() == claims["exp"]
    assert abs(claims["iat"] - before.timestamp()) < 5


async def test_the_published_keys_verify_a_token(server: Front) -> None:
    _, token = await server.user_token()
    discovery = (await server.signed("GET", "/.well-known/openid-configuration")).json()
    assert discovery["jwks_uri"] == "https://localhost:8443/.well-known/jwks.json"
    found = (await server.signed("GET", "/.well-known/jwks.json")).json()
    key = jwt.PyJWKSet.from_dict(found)[jwt.get_unverified_header(token)["kid"]]
    assert jwt.decode(token, key, algorithms=["ES256"])["acsScope"] == "chat,voip"


@pytest.mark.parametrize("minutes", [60, 1440, None])
async def test_lives_within_the_limits_are_taken(server: Front, minutes: int | None) -> None:
    user, _ = await server.user_token()
    body = {"scopes": ["chat"], "expiresInMinutes": minutes}
    reply = await server.signed("POST", f"/identities/{user}/:issueAccessToken", body)
    assert reply.status == 200
    claims = payload(reply.json()["token"])
    assert claims["exp"] - claims["iat"] == (minutes or 1440) * 60


@pytest.mark.parametrize(
    "body",
    [
        {"scopes": ["chat"], "expiresInMinutes": 59},
        {"scopes": ["chat"], "expiresInMinutes": 1441},
        {"scopes": ["chat"], "expiresInMinutes": "60"},
        {"scopes": ["chat"], "expiresInMinutes": 10**30},
        {"scopes": []},
        {"scopes": ["chat", "everything"]},
        {"scopes": [None]},
        {"scopes": "chat"},
        {},
        [],
        b"{",
        b"\xff",
    ],
)
async def test_what_a_token_may_not_be_is_refused(server: Front, body: Any) -> None:
    user, _ = await server.user_token()
    reply = await server.signed("POST", f"/identities/{user}/:issueAccessToken", body)
    assert reply.status == 400
    assert reply.json()["error"]["message"]
    assert reply.headers["x-ms-error-code"] == reply.json()["error"]["code"]


async def test_ids_arrive_encoded_or_not(server: Front) -> None:
    user, _ = await server.user_token()
    for form in (user, user.replace(":", "%3A")):
        assert (
            await server.signed("POST", f"/identities/{form}/:issueAccessToken", {"scopes": ["chat"]})
        ).status == 200


@pytest.mark.parametrize(
    ("method", "suffix"), [("POST", "/:issueAccessToken"), ("POST", "/:revokeAccessTokens"), ("DELETE", "")]
)
async def test_users_that_are_not_there_or_not_ours(server: Front, method: str, suffix: str) -> None:
    body = {"scopes": ["chat"]} if "issue" in suffix else None
    resource = await server.resources.get("local")
    other = await server.resources.create("other")
    unknown = time_ordered(datetime.now(UTC), b"0123456789")
    for raw_id, status in (
        (user_raw_id(resource.resource_id, unknown), 404),
        (user_raw_id(other.resource_id, unknown), 401),
        ("8:acs:nonsense", 400),
        ("4:+15551234567", 400),
    ):
        assert (await server.signed(method, f"/identities/{raw_id}{suffix}", body)).status == status


async def test_a_revoked_token_is_worthless_at_once_in_every_process(
    server: Front, database: Database, dsn: str
) -> None:
    user, token = await server.user_token()
    async with front(database, dsn, extra=ME) as second:
        assert (await second.bearer(token, "/me")).json() == {"user": user, "scopes": ["chat", "voip"]}
        assert (await server.signed("POST", f"/identities/{user}/:revokeAccessTokens")).status == 204
        assert (await second.bearer(token, "/me")).status == 401
        fresh = await second.signed("POST", f"/identities/{user}/:issueAccessToken", {"scopes": ["voip"]})
        assert (await server.bearer(fresh.json()["token"], "/me")).status == 200
        assert (await server.bearer(token, "/me")).status == 401


async def test_a_deleted_users_token_is_worthless_at_once_in_every_process(
    server: Front, database: Database, dsn: str
) -> None:
    user, token = await server.user_token()
    async with front(database, dsn, extra=ME) as second:
        assert (await second.bearer(token, "/me")).status == 200
        assert (await server.signed("DELETE", f"/identities/{user}")).status == 204
        assert (await second.bearer(token, "/me")).status == 401
    assert (await server.signed("DELETE", f"/identities/{user}")).status == 404


async def test_rotating_a_key_revokes_the_tokens_made_with_it_and_no_others(
    server: Front, database: Database, dsn: str
) -> None:
    primary, secondary = await server.key(), (await server.administer("GET", "/resources/local/keys")).json()
    _, by_primary = await server.user_token(key=primary)
    _, by_secondary = await server.user_token(key=secondary["secondaryKey"])
    async with front(database, dsn, extra=ME) as second:
        assert (await second.bearer(by_primary, "/me")).status == 200
        assert (await server.administer("POST", "/resources/local/keys/primary:rotate")).status == 200
        assert (await second.bearer(by_primary, "/me")).status == 401
        assert (await second.bearer(by_secondary, "/me")).status == 200
    assert (await server.signed("POST", "/identities", key=primary)).status == 401
    assert (await server.signed("POST", "/identities")).status == 201


async def test_tokens_expire_by_the_driven_clock(server: Front) -> None:
    _, token = await server.user_token()
    await server.clock.advance(timedelta(minutes=1439))
    assert (await server.bearer(token, "/me")).status == 200
    await server.clock.advance(timedelta(minutes=1))
    refused = await server.bearer(token, "/me")
    assert refused.status == 401
    assert refused.headers["www-authenticate"].startswith("Bearer")


async def test_a_new_signing_key_takes_over_without_a_gap(server: Front, database: Database, dsn: str) -> None:
    _, old = await server.user_token()
    async with front(database, dsn, extra=ME) as second:
        assert (await second.bearer(old, "/me")).status == 200
        assert (await server.administer("POST", "/identity/signing-keys:rotate")).status == 200
        _, new = await server.user_token()
        assert old.split(".")[0] != new.split(".")[0]
        for token in (old, new):
            assert (await second.bearer(token, "/me")).status == 200
            assert (await server.bearer(token, "/me")).status == 200
    assert len((await server.identity.jwks())["keys"]) == 2
    await server.clock.advance(timedelta(days=2))
    await server.identity.rotate_signing_key()
    assert len((await server.identity.jwks())["keys"]) == 2


async def test_a_new_signing_key_is_looked_for_no_later_for_a_clock_that_was_set_back(
    database: Database, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SigningKeys, "_forget", lambda *_: None)  # no news have come yet
    clock, changes = StillClock(), Changes(dsn)
    await changes.start()
    here, there = (SigningKeys(database, Sealer(SEALING), clock, changes) for _ in range(2))
    old = (await here.for_token("of.no.key")).signer
    clock.set_back(timedelta(minutes=30))
    await there.rotate()
    new = (await there.present()).signer
    assert new.kid != old.kid
    assert new.header in (await here.for_token(f"{new.header}.claims.signature")).by_header
    await changes.close()


async def test_processes_that_start_together_share_one_signing_key(database: Database, dsn: str) -> None:
    async with front(database, dsn) as first, front(database, dsn) as second:
        assert await first.identity.jwks() == await second.identity.jwks()


async def test_scopes_are_enforced_where_they_are_used(server: Front) -> None:
    _, full = await server.user_token("chat")
    _, limited = await server.user_token("chat.join.limited", "voip")
    assert (await server.bearer(full, "/thread")).status == 200
    assert (await server.bearer(limited, "/thread")).status == 403


async def test_the_realtime_clients_own_header_is_taken(server: Front) -> None:
    _, token = await server.user_token()
    assert (await call(server.app, "GET", f"/me?{VERSION}", {"host": HOST, "x-skypetoken": token})).status == 200


async def test_exchanging_a_teams_token_is_refused_with_the_reason(server: Front) -> None:
    body = {"token": "t", "appId": "a", "userId": "u"}
    reply = await server.signed("POST", "/teamsUser/:exchangeAccessToken", body)
    assert reply.status == 501
    assert "Microsoft Entra" in reply.json()["error"]["message"]
    assert (await server.signed("POST", "/teamsUser/:exchangeAccessToken", {"token": "t"})).status == 400


async def test_tokens_asked_for_with_a_service_token_outlive_key_rotation(server: Front) -> None:
    service = server.dev_issuer.token("app")
    reply = await server.bearer(service, "/identities", method="POST")
    user = reply.json()["identity"]["id"]
    caller = Caller((await server.resources.get("local")).resource_id)
    token = await server.identity.issue(caller, user, ["chat"], None)
    await server.administer("POST", "/resources/local/keys/primary:rotate")
    assert (await server.bearer(token.text, "/me")).status == 200


KEY = tokens.key("k" * 32, tokens.new_key(), None)


@given(st.uuids(), st.uuids(), st.sets(st.sampled_from(sorted(scopes.ALL)), min_size=1), st.data())
def test_no_payload_holds_what_plain_base64_drops(
    resource: Any, user: Any, some: set[str], data: st.DataObject
) -> None:
    """acs-wire.md 5.3, the trap: the Python SDK decodes base64url as base64."""
    at = data.draw(st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))
    claims = model.claims(
        user_raw_id(resource, user),
        ResourceId(resource),
        "unitedstates",
        sorted(some),
        issued_at=at,
        minutes=data.draw(st.integers(60, 1440)),
        generation=data.draw(st.integers(0, 10**6)),
        key=data.draw(st.sampled_from(["", "primary:1", "secondary:99"])),
    )
    token = tokens.written(claims, KEY)
    assert not set("-_") & set(token.split(".")[1])
    assert payload(token)["skypeid"] == claims.skypeid
    assert tokens.read(token, {KEY.header: KEY}) == claims
