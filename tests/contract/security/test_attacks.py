"""Attacks on who one is: every forged, stolen or stale proof is refused with 401 in ACS's error shape."""

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from tests.support.front import HOST, VERSION, Front, Reply, call, front
from tests.support.signed import signed_headers

from landline.core.errors import Unauthorized
from landline.edge.bearer import AUDIENCE, Issuer, ServiceTokens, verification_keys
from landline.edge.http import Request, Response, json_response
from landline.edge.routes import Access, Route
from landline.services.identity import tokens
from landline.services.identity.model import Claims
from landline.store.database import Database


async def whoami(request: Request) -> Response:
    return json_response(200, {"user": request.caller.user})


@pytest.fixture
async def server(database: Database, dsn: str) -> Any:
    async with front(database, dsn, extra=[Route("GET", "/me", whoami, access=Access.USER)]) as running:
        await running.resources.create("shop")
        yield running


def refused(reply: Reply) -> None:
    assert reply.status == 401
    assert set(reply.json()["error"]) >= {"code", "message"}
    assert reply.headers["x-ms-error-code"] == reply.json()["error"]["code"]
    assert reply.headers["www-authenticate"]


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forged(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    parts = (base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    return ".".join([*parts, base64url(signature)])


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})


async def test_a_user_token_that_was_tampered_with(server: Front) -> None:
    _, token = await server.user_token()
    assert (await server.bearer(token, "/me")).status == 200
    header, payload, signature = token.split(".")
    _, other = await server.user_token("voip")
    other_header, other_payload, other_signature = other.split(".")
    assert other_header == header
    claims = parts(token)[1]
    raised = base64url(json.dumps({**claims, "exp": claims["exp"] + 9999}).encode())
    attacks = [
        "",
        "x",
        "..",
        token[:-1],
        token[1:],
        token + "A",
        token + "=",
        token + ".",
        f"{header}.{payload}",
        f"{header}.{payload}.",
        f"{header}.{other_payload}.{signature}",
        f"{header}.{payload}.{other_signature}",
        f"{payload}.{header}.{signature}",
        f"{header}.{raised}.{signature}",
        f"{header}.{payload}.{base64url(bytes(64))}",
        f"{header}.{payload}.{signature}.{signature}",
        "x" * 20_000,
        "é" * 10,
    ]
    # The last letter of a signature has four bits to spare; none of its other writings may pass either.
    attacks += [token[:-1] + letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if token[-1] != letter]
    for attack in attacks:
        refused(await server.bearer(attack, "/me"))


async def test_a_user_token_with_another_algorithm_or_key(server: Front) -> None:
    _, token = await server.user_token()
    header, claims = parts(token)
    keys = (await server.identity.jwks())["keys"]
    public = verification_keys({"keys": keys})[header["kid"]].key
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    attacks = [forged({**header, "alg": name}, claims) for name in ("none", "None", "NONE", "nOnE", "")]
    for secret in (pem, der, json.dumps(keys[0]).encode()):
        signed = forged({**header, "alg": "HS256"}, claims).rpartition(".")[0]
        attacks.append(f"{signed}.{base64url(hmac.digest(secret, signed.encode(), 'sha256'))}")
    mine = ec.generate_private_key(ec.SECP256R1())
    jwk = json.loads(ECAlgorithm.to_jwk(mine.public_key()))
    extras: list[dict[str, Any]] = [
        {},
        {"jwk": jwk},
        {"jku": "https://evil.example/jwks"},
        {"kid": "../../../../dev/null"},
        {"kid": "x' UNION SELECT 'key"},
        {"kid": ""},
        {"crit": ["exp"]},
    ]
    attacks += [jwt.encode(claims, mine, algorithm="ES256", headers=header | extra) for extra in extras]
    der_key = mine.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    ours_by_name = tokens.key(header["kid"], der_key, None)
    attacks.append(tokens.written(msgspec.convert(claims, Claims), ours_by_name))
    attacks.append(
        jwt.encode(claims, rsa.generate_private_key(65537, 2048), algorithm="RS256", headers={"kid": header["kid"]})
    )
    for attack in attacks:
        refused(await server.bearer(attack, "/me"))


async def test_a_user_token_on_another_tenants_host(server: Front) -> None:
    shop_key = await server.key("shop")
    _, ours = await server.user_token()
    _, theirs = await server.user_token(key=shop_key, host=f"shop.{HOST}")
    assert (await server.bearer(theirs, "/me", host=f"shop.{HOST}")).status == 200
    assert (await server.bearer(ours, "/me", host=f"local.{HOST}")).status == 200
    refused(await server.bearer(ours, "/me", host=f"shop.{HOST}"))
    refused(await server.bearer(theirs, "/me", host=f"local.{HOST}"))
    refused(await server.bearer(theirs, "/me", host=f"nobody.{HOST}"))


async def test_a_key_on_another_tenants_host(server: Front) -> None:
    shop_key = await server.key("shop")
    assert (await server.signed("POST", "/identities", key=shop_key)).status == 201
    assert (await server.signed("POST", "/identities", key=shop_key, host=f"shop.{HOST}")).status == 201
    for host in (f"local.{HOST}", f"nobody.{HOST}", f"LOCAL.{HOST}", f"local.localhost.:{HOST[-4:]}"):
        refused(await server.signed("POST", "/identities", key=shop_key, host=host))


async def test_a_key_cannot_touch_another_tenants_user(server: Front) -> None:
    user, _ = await server.user_token()
    shop_key = await server.key("shop")
    for method, suffix, body in (
        ("POST", "/:issueAccessToken", {"scopes": ["chat"]}),
        ("POST", "/:revokeAccessTokens", None),
        ("DELETE", "", None),
    ):
        reply = await server.signed(method, f"/identities/{user}{suffix}", body, key=shop_key)
        assert reply.status == 401
        assert reply.json()["error"]["code"] == "IdentityNotOwned"


async def test_a_signed_request_that_was_tampered_with(server: Front) -> None:
    target = f"/identities?{VERSION}"
    good = signed_headers(await server.key(), HOST, "POST", target, b"{}")
    assert (await call(server.app, "POST", target, good, b"{}")).status == 201
    value = good["authorization"]
    other_hash = base64.b64encode(hashlib.sha256(b"").digest()).decode()
    changes: list[dict[str, str]] = [
        {"authorization": value[:-1]},
        {"authorization": value + "="},
        {"authorization": value.swapcase()},
        {"authorization": value.replace("HMAC-SHA256", "HMAC-SHA1")},
        {"authorization": value.replace("x-ms-date;host;", "host;x-ms-date;")},
        {"authorization": value.replace(";x-ms-content-sha256", "")},
        {"authorization": "HMAC-SHA256"},
        {"authorization": "Basic dXNlcjpwYXNz"},
        {"authorization": "Bearer"},
        {"authorization": "Bearer " + value},
        {"x-ms-content-sha256": other_hash},
        {"x-ms-content-sha256": ""},
        {"x-ms-date": "Sat, 21 Nov 2020 01:53:14 GMT"},
        {"host": f"shop.{HOST}"},
        {"host": ""},
    ]
    for change in changes:
        refused(await call(server.app, "POST", target, good | change, b"{}"))
    refused(await call(server.app, "POST", target, good, b"{ }"))
    refused(await call(server.app, "POST", target + "&x=1", good, b"{}"))
    refused(await call(server.app, "POST", f"/teamsUser/:exchangeAccessToken?{VERSION}", good, b"{}"))
    for missing in ("authorization", "x-ms-date", "x-ms-content-sha256"):
        headers = {name: text for name, text in good.items() if name != missing}
        refused(await call(server.app, "POST", target, headers, b"{}"))


@pytest.mark.parametrize("minutes", [-16, 16, -60 * 24, 60 * 24])
async def test_a_request_replayed_outside_the_window(server: Front, minutes: int) -> None:
    target = f"/identities?{VERSION}"
    at = datetime.now(UTC) + timedelta(minutes=minutes)
    refused(await call(server.app, "POST", target, signed_headers(await server.key(), HOST, "POST", target, at=at)))


async def test_driving_the_clock_does_not_move_the_window(server: Front) -> None:
    await server.clock.advance(timedelta(hours=5))
    assert (await server.signed("POST", "/identities")).status == 201


async def test_a_user_token_opens_no_service_operation_and_a_key_no_user_operation(server: Front) -> None:
    _, token = await server.user_token()
    refused(await server.bearer(token, "/identities", method="POST"))
    refused(await server.signed("GET", "/me"))
    refused(await server.bearer(server.dev_issuer.token("app"), "/me"))


RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


class _Keys:
    """An issuer with one RSA and one EC key."""

    def __init__(self) -> None:
        rsa_jwk = json.loads(RSAAlgorithm.to_jwk(RSA_KEY.public_key()))
        ec_jwk = json.loads(ECAlgorithm.to_jwk(EC_KEY.public_key()))
        self._keys = verification_keys(
            {"keys": [rsa_jwk | {"kid": "r"}, ec_jwk | {"kid": "e"}, {"kty": "oct", "kid": "o"}]}
        )

    async def key(self, kid: str) -> Any:
        return self._keys.get(kid)


ISSUER = "https://issuer.example/v2.0"


def service_claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": now + 600, "nbf": now - 5, "iat": now, "sub": "s", "azp": "app"}
    return {name: value for name, value in (claims | changes).items() if value is not None}


def service_token(key: Any = RSA_KEY, algorithm: str = "RS256", kid: str | None = "r", **changes: Any) -> str:
    return jwt.encode(service_claims(**changes), key, algorithm=algorithm, headers={"kid": kid} if kid else None)


@pytest.mark.parametrize("key", ["rsa", "ec"])
@pytest.mark.parametrize(
    "audience", ["https://communication.azure.com/", "https://communication.azure.com", ["x", AUDIENCE]]
)
async def test_a_good_service_token_passes(key: str, audience: Any) -> None:
    check = ServiceTokens([Issuer(ISSUER, _Keys(), clients=frozenset({"app"}))])
    token = service_token(aud=audience) if key == "rsa" else service_token(EC_KEY, "ES256", "e", aud=audience)
    await check.check(token)
    await check.check(token)


async def test_a_bad_service_token_is_refused() -> None:
    check = ServiceTokens([Issuer(ISSUER, _Keys(), clients=frozenset({"app"}))])
    pem = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    hs_signed = forged({"alg": "HS256", "kid": "r"}, service_claims()).rpartition(".")[0]
    now = int(time.time())
    good = service_token()
    attacks = [
        service_token(aud="https://other.example"),
        service_token(aud=None),
        service_token(iss="https://evil.example"),
        service_token(iss=None),
        service_token(iss=ISSUER + "/"),
        service_token(exp=now - 61),
        service_token(exp=None),
        service_token(nbf=now + 120),
        service_token(azp="other"),
        service_token(kid="unknown"),
        service_token(kid="../r"),
        service_token(kid=None),
        service_token(kid="e"),
        service_token(kid="o"),
        service_token(algorithm="RS512"),
        service_token(algorithm="PS256"),
        service_token(EC_KEY, "ES256", "r"),
        service_token(ec.generate_private_key(ec.SECP256R1()), "ES256", "e"),
        service_token(rsa.generate_private_key(65537, 2048)),
        f"{hs_signed}.{base64url(hmac.digest(pem, hs_signed.encode(), 'sha256'))}",
        forged({"alg": "none", "kid": "r"}, service_claims()),
        forged({"alg": "RS256", "kid": ["r"]}, service_claims()),
        forged({"alg": "RS256", "kid": "r"}, service_claims(exp="soon")),
        good[:-2],
        good.rpartition(".")[0] + ".",
        "a.b.c",
        "",
        "x" * 20_000,
    ]
    for attack in attacks:
        with pytest.raises(Unauthorized):
            await check.check(attack)
    await check.check(good)


async def test_a_service_token_is_kept_no_longer_than_it_lives() -> None:
    now = [time.time()]
    check = ServiceTokens([Issuer(ISSUER, _Keys())], now=lambda: now[0])
    token = service_token(exp=int(now[0]) + 30)
    await check.check(token)
    now[0] += 95
    with pytest.raises(Unauthorized):
        await check.check(token)


async def test_service_tokens_of_the_dev_issuer(server: Front) -> None:
    form = "grant_type=client_credentials&client_id=app&client_secret=the+admin+token"
    scoped = f"{form}&scope=https%3A%2F%2Fcommunication.azure.com%2F%2F.default"
    for template in ("/devissuer/token", "/devissuer/some-tenant/oauth2/v2.0/token"):
        reply = await call(server.admin, "POST", template, {"host": HOST}, scoped.encode())
        assert reply.status == 200
        token = reply.json()["access_token"]
        assert (await server.bearer(token, "/identities", method="POST")).status == 201
        assert (await server.bearer(token, "/identities", method="POST", host=f"shop.{HOST}")).status == 201
    for body, status in (
        (scoped.replace("the+admin", "another"), 401),
        (scoped.replace("client_credentials", "password"), 400),
        (f"{form}&scope=https%3A%2F%2Fgraph.microsoft.com%2F.default", 400),
        ("", 400),
    ):
        assert (await call(server.admin, "POST", "/devissuer/token", {"host": HOST}, body.encode())).status == status
    discovery = await call(server.admin, "GET", "/devissuer/.well-known/openid-configuration", {"host": HOST})
    assert discovery.json()["issuer"] == "https://localhost:8443/devissuer"
    keys = verification_keys((await call(server.admin, "GET", "/devissuer/jwks", {"host": HOST})).json())
    assert list(keys) == [server.dev_issuer.kid]
