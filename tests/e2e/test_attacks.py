"""Proofs of identity attacked over real HTTP: bent signatures and tokens are refused, replays change nothing."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tests.support.signed import IDENTITY_VERSION, SMS_VERSION, Answer, Raw, signed_headers, sms_body

from landline.testing import Server

IDENTITIES = f"/identities?api-version={IDENTITY_VERSION}"
THREADS = "/chat/threads?api-version=2024-03-07"
Headers = dict[str, str]


@pytest.fixture
def raw(landline: Server) -> Raw:
    return Raw(landline.endpoint, landline.access_key, landline.ca_bundle)


def other_key() -> str:
    return base64.b64encode(b"a key of another resource entirely").decode()


def signature(headers: Headers) -> str:
    return headers["authorization"].rpartition("Signature=")[2]


def with_signature(headers: Headers, value: str) -> Headers:
    return {**headers, "authorization": headers["authorization"].replace(signature(headers), value)}


def with_fields(headers: Headers, names: str) -> Headers:
    return {**headers, "authorization": headers["authorization"].replace("x-ms-date;host;x-ms-content-sha256", names)}


def without(headers: Headers, name: str) -> Headers:
    return {key: value for key, value in headers.items() if key != name}


BENT: dict[str, Callable[[Headers], Headers]] = {
    "no authorization": lambda headers: without(headers, "authorization"),
    "empty authorization": lambda headers: {**headers, "authorization": ""},
    "scheme only": lambda headers: {**headers, "authorization": "HMAC-SHA256"},
    "another scheme": lambda headers: {
        **headers,
        "authorization": headers["authorization"].replace("SHA256 ", "SHA1 "),
    },
    "truncated": lambda headers: with_signature(headers, signature(headers)[:-5]),
    "empty signature": lambda headers: with_signature(headers, ""),
    "signature not base64": lambda headers: with_signature(headers, "%%%="),
    "signature not ASCII": lambda headers: with_signature(headers, "\u00e9" * 44),
    "signature of another length": lambda headers: with_signature(headers, signature(headers) * 2),
    "one bit other": lambda headers: with_signature(
        headers, ("B" if signature(headers)[0] == "A" else "A") + signature(headers)[1:]
    ),
    "lower case": lambda headers: with_signature(headers, signature(headers).lower()),
    "no signed headers": lambda headers: with_fields(headers, ""),
    "date not signed": lambda headers: with_fields(headers, "host;x-ms-content-sha256"),
    "host not signed": lambda headers: with_fields(headers, "x-ms-date;x-ms-content-sha256"),
    "body not signed": lambda headers: with_fields(headers, "x-ms-date;host"),
    "fields swapped": lambda headers: with_fields(headers, "host;x-ms-date;x-ms-content-sha256"),
    "a field twice": lambda headers: with_fields(headers, "x-ms-date;host;x-ms-content-sha256;host"),
    "a field nobody sent": lambda headers: with_fields(headers, "x-ms-date;host;x-ms-content-sha256;x-ms-nothing"),
    "no date": lambda headers: without(headers, "x-ms-date"),
    "another date": lambda headers: {**headers, "x-ms-date": "Sat, 21 Nov 2026 00:00:00 GMT"},
    "a date that is none": lambda headers: {**headers, "x-ms-date": "yesterday"},
    "no body hash": lambda headers: without(headers, "x-ms-content-sha256"),
    "another body hash": lambda headers: {**headers, "x-ms-content-sha256": "A" * 43 + "="},
    "another host": lambda headers: {**headers, "host": "another.localhost"},
}


def refused(answer: Answer) -> None:
    assert answer.status == 401, answer
    assert answer.error["code"]
    assert not answer.body.startswith(b"Traceback")


@pytest.mark.parametrize("attack", BENT)
def test_a_bent_signature_is_refused(raw: Raw, attack: str) -> None:
    honest = signed_headers(raw.key, raw.host_header, "POST", IDENTITIES)
    refused(raw.send("POST", IDENTITIES, b"", BENT[attack](honest)))
    assert raw.send("POST", IDENTITIES, b"", honest).status == 201


def test_a_signature_for_another_method_path_query_or_body_is_refused(raw: Raw) -> None:
    body = json.dumps({"createTokenWithScopes": ["chat"]}).encode()
    headers = signed_headers(raw.key, raw.host_header, "POST", IDENTITIES, body)
    refused(raw.send("POST", IDENTITIES, body.replace(b"chat", b"voip"), headers))
    refused(raw.send("POST", IDENTITIES, b"", headers))
    refused(raw.send("POST", IDENTITIES.replace("2023-10-01", "2022-06-01"), body, headers))
    refused(raw.send("POST", f"/sms?api-version={IDENTITY_VERSION}", body, headers))
    user = raw.call("POST", "/identities", version=IDENTITY_VERSION).json()["identity"]["id"]
    target = f"/identities/{user}/:revokeAccessTokens?api-version={IDENTITY_VERSION}"
    get_signed = signed_headers(raw.key, raw.host_header, "GET", target)
    refused(raw.send("POST", target, b"", get_signed))


@pytest.mark.parametrize("minutes", [-16, -60, 16, 60, 60 * 24 * 365])
def test_a_signature_outside_the_clock_window_is_refused(raw: Raw, minutes: int) -> None:
    at = datetime.now(UTC) + timedelta(minutes=minutes)
    refused(raw.call("POST", "/identities", version=IDENTITY_VERSION, at=at))


@pytest.mark.parametrize("minutes", [-14, 14])
def test_a_signature_inside_the_clock_window_is_taken(raw: Raw, minutes: int) -> None:
    at = datetime.now(UTC) + timedelta(minutes=minutes)
    assert raw.call("POST", "/identities", version=IDENTITY_VERSION, at=at).status == 201


def test_the_key_of_another_resource_is_refused(raw: Raw) -> None:
    refused(raw.send("POST", IDENTITIES, b"", signed_headers(other_key(), raw.host_header, "POST", IDENTITIES)))


def test_a_request_replayed_inside_the_window_changes_nothing_twice(raw: Raw, landline: Server) -> None:
    phone = landline.handset("+14255558801")
    target = f"/sms?api-version={SMS_VERSION}"
    body = json.dumps(sms_body(landline.phone_number, [phone.number], "Pay 100")).encode()
    headers = signed_headers(raw.key, raw.host_header, "POST", target, body)
    answers = [raw.send("POST", target, body, headers) for _ in range(5)]
    assert {answer.status for answer in answers} == {202}
    assert len({answer.json()["value"][0]["messageId"] for answer in answers}) == 1
    raw.send_sms(landline.phone_number, [phone.number], "The end")
    phone.wait_for_sms(where=lambda text: text.text == "The end")
    assert [text.text for text in phone.inbox] == ["Pay 100", "The end"]


# A good user token may list its threads, a bad one is told 401.


def with_token(raw: Raw, token: str) -> Answer:
    return raw.send("GET", THREADS, b"", {"authorization": f"Bearer {token}"})


def user_token(raw: Raw) -> tuple[str, str]:
    """A fresh user's id and token."""
    answer = raw.call("POST", "/identities", {"createTokenWithScopes": ["chat"]}, version=IDENTITY_VERSION).json()
    return answer["identity"]["id"], answer["accessToken"]["token"]


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def decoded(part: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(part + "=="))


def forged(token: str, key: Any, algorithm: str, **header: Any) -> str:
    """The same claims under a signature of ours."""
    head = {**decoded(token.split(".")[0]), "alg": algorithm, **header}
    return jwt.encode(decoded(token.split(".")[1]), key, algorithm=algorithm, headers=head)


def confused(token: str, jwks: dict[str, Any]) -> str:
    """HS256 with the published key as its secret: the classic confusion of algorithms (RFC 8725 §2.1)."""
    head = {**decoded(token.split(".")[0]), "alg": "HS256"}
    text = f"{encoded(head)}.{token.split('.')[1]}"
    secret = json.dumps(jwks).encode()
    tag = base64.urlsafe_b64encode(hmac.digest(secret, text.encode(), hashlib.sha256)).rstrip(b"=").decode()
    return f"{text}.{tag}"


def altered(token: str, **claims: Any) -> str:
    head, payload, tag = token.split(".")
    return f"{head}.{encoded({**decoded(payload), **claims})}.{tag}"


TOKENS: dict[str, Callable[[str, str], str]] = {
    "empty": lambda token, _: "",
    "no JWT": lambda token, _: "a-token",
    "truncated": lambda token, _: token[:-10],
    "without its signature": lambda token, _: token.rpartition(".")[0] + ".",
    "two parts": lambda token, _: token.rpartition(".")[0],
    "four parts": lambda token, _: token + ".x",
    "not base64": lambda token, _: "%%%.%%%.%%%",
    "payload of another user": lambda token, other: ".".join(
        (token.split(".")[0], other.split(".")[1], token.split(".")[2])
    ),
    "signature of another user": lambda token, other: token.rpartition(".")[0] + "." + other.split(".")[2],
    "algorithm none": lambda token, _: f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{token.split('.')[1]}.",
    "algorithm None": lambda token, _: f"{encoded({'alg': 'NoNe', 'typ': 'JWT'})}.{token.split('.')[1]}.",
    "algorithm none, signed": lambda token, _: ".".join(
        (encoded({**decoded(token.split(".")[0]), "alg": "none"}), *token.split(".")[1:])
    ),
    "a longer life": lambda token, _: altered(token, exp=4102444800),
    "more scopes": lambda token, _: altered(token, acsScope="chat,voip"),
    "a key of the forger's": lambda token, _: forged(
        token, rsa.generate_private_key(public_exponent=65537, key_size=2048), "RS256"
    ),
    "a curve key of the forger's": lambda token, _: forged(token, ec.generate_private_key(ec.SECP256R1()), "ES256"),
    "a key id that is a path": lambda token, _: forged(
        token, ec.generate_private_key(ec.SECP256R1()), "ES256", kid="../../../dev/null"
    ),
    "a key in the header": lambda token, _: forged(
        token,
        ec.generate_private_key(ec.SECP256R1()),
        "ES256",
        jku="https://localhost:1/keys",
        x5u="https://localhost:1/keys",
    ),
    "very long": lambda token, _: token + "A" * 7000,
}


@pytest.mark.parametrize("attack", TOKENS)
def test_a_bent_token_is_refused(raw: Raw, attack: str) -> None:
    (_, token), (_, other) = user_token(raw), user_token(raw)
    refused(with_token(raw, TOKENS[attack](token, other)))
    assert with_token(raw, token).status == 200


def test_the_published_key_is_no_secret_to_sign_with(raw: Raw) -> None:
    _, token = user_token(raw)
    for path in ("/.well-known/jwks.json", "/.well-known/openid-configuration"):
        found = raw.send("GET", path)
        refused(with_token(raw, confused(token, found.json() if found.status == 200 else {})))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/sip"),
        ("PATCH", "/sip"),
        ("GET", "/rooms"),
        ("POST", "/rooms"),
        ("GET", "/rooms/99000000000000001"),
        ("DELETE", "/rooms/99000000000000001"),
        ("PATCH", "/rooms/99000000000000001/participants"),
        ("POST", "/networkTraversal/:issueRelayConfiguration"),
    ],
)
def test_what_is_for_the_resource_alone_is_not_for_its_users(raw: Raw, method: str, path: str) -> None:
    _, token = user_token(raw)
    target = f"{path}?api-version={SMS_VERSION}"
    refused(raw.send(method, target, b"{}", {"authorization": f"Bearer {token}"}))
    refused(raw.send(method, target, b"{}"))


def test_a_token_is_no_key_and_a_key_no_token(raw: Raw) -> None:
    _, token = user_token(raw)
    refused(raw.send("POST", IDENTITIES, b"", {"authorization": f"Bearer {token}"}))
    refused(raw.send("GET", THREADS, b"", signed_headers(raw.key, raw.host_header, "GET", THREADS)))


def test_a_revoked_token_is_refused_at_once(raw: Raw) -> None:
    user, token = user_token(raw)
    assert with_token(raw, token).status == 200
    path = f"/identities/{user}/:revokeAccessTokens"
    assert raw.call("POST", path, version=IDENTITY_VERSION).status == 204
    refused(with_token(raw, token))


def test_a_deleted_users_token_is_refused_at_once(raw: Raw) -> None:
    user, token = user_token(raw)
    assert raw.call("DELETE", f"/identities/{user}", version=IDENTITY_VERSION).status == 204
    refused(with_token(raw, token))


def test_a_token_of_another_server_is_refused(raw: Raw, landline_server: Callable[..., Server]) -> None:
    other = landline_server()
    _, token = user_token(Raw(other.endpoint, other.access_key, other.ca_bundle))
    refused(with_token(raw, token))


def test_an_expired_token_is_refused(landline_server: Callable[..., Server]) -> None:
    server = landline_server()
    raw = Raw(server.endpoint, server.access_key, server.ca_bundle)
    _, token = user_token(raw)
    server.clock.advance(hours=23)
    assert with_token(raw, token).status == 200
    server.clock.advance(hours=2)
    refused(with_token(raw, token))
