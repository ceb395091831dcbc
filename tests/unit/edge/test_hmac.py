"""Signed requests: the SDKs' own vectors, every signing habit of acs-wire.md 2.1's table, and what must not pass."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from urllib.parse import quote, unquote
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landline.core.errors import Unauthorized
from landline.core.ids import ResourceId
from landline.edge.hmac import LONGEST_REQUOTED, LONGEST_SIGNED, MAX_TRIES, Signatures, seconds, target_readings
from landline.edge.http import Request
from landline.edge.tenancy import SigningKey

NOW = datetime(2026, 11, 21, 1, 53, 14, tzinfo=UTC).timestamp()
DATE = "Sat, 21 Nov 2026 01:53:14 GMT"
A = ResourceId(UUID(int=1))
B = ResourceId(UUID(int=2))
KEYS = [
    SigningKey(A, "primary:1", b"a" * 64),
    SigningKey(A, "secondary:1", b"b" * 64),
    SigningKey(B, "primary:4", b"c" * 64),
]


def signed(
    target: str,
    *,
    method: str = "POST",
    body: bytes = b"{}",
    sign_target: str | None = None,
    sign_host: str | None = None,
    host: str = "localhost:8443",
    secret: bytes = KEYS[0].secret,
    names: str = "x-ms-date;host;x-ms-content-sha256",
    date: str = DATE,
    extra: dict[str, str] | None = None,
) -> Request:
    content_hash = base64.b64encode(hashlib.sha256(body).digest()).decode()
    headers = {"host": host, "x-ms-content-sha256": content_hash, **(extra or {})}
    headers |= {name: date for name in ("x-ms-date", "date") if name in names.split(";")}
    values = [(sign_host or host) if name == "host" else headers.get(name, "") for name in names.split(";")]
    text = f"{method}\n{sign_target or target}\n{';'.join(values)}"
    signature = base64.b64encode(hmac.digest(secret, text.encode(), "sha256")).decode()
    headers["authorization"] = f"HMAC-SHA256 SignedHeaders={names}&Signature={signature}"
    return Request(method, target, headers, body, "id")


def signatures(**settings: object) -> Signatures:
    return Signatures(now=lambda: NOW, **settings)  # type: ignore[arg-type]


def test_the_sdks_own_vectors() -> None:
    for message, expected in (
        ("banana", "88EC05aAS9iXnaimtNO78JLjiPtfWryQB/5QYEzEsu8="),
        ("😀", "1rudJKjn2Zi+3hRrBG29wIF6pD6YyAeQR1ZcFtXoKAU="),
    ):
        digest = hmac.digest(base64.b64decode("pw=="), message.encode(), "sha256")
        assert base64.b64encode(digest).decode() == expected


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 128, 1000])
def test_keys_of_every_length_sign_as_hmac_says(length: int) -> None:
    key = SigningKey(A, "primary:1", bytes(range(256)) * 4)
    key = SigningKey(A, key.label, key.secret[:length])
    request = signed("/sms?api-version=2021-03-07", secret=key.secret)
    checking = signatures()
    for _ in range(2):  # what is kept of the key is as it was
        assert checking.verify(request, [KEYS[1], key]) is key
    with pytest.raises(Unauthorized):
        checking.verify(signed("/sms", secret=key.secret + b"x"), [key])


@pytest.mark.parametrize(
    "scheme", ["HMAC-SHA256 SignedHeaders=", "hmac-sha256  signedheaders=", "Hmac-Sha256 SIGNEDHEADERS="]
)
def test_the_schemes_own_words_are_read_in_any_case(scheme: str) -> None:
    request = signed("/sms?api-version=2021-03-07")
    rest = request.headers["authorization"].partition("SignedHeaders=")[2]
    request.headers["authorization"] = f"{scheme}{rest.replace('&Signature', '&SIGNATURE')}"
    assert signatures().verify(request, KEYS) is KEYS[0]


@pytest.mark.parametrize(
    ("target", "changes"),
    [
        ("/sms?api-version=2021-03-07", {}),
        ("/sms?api-version=2021-03-07", {"names": "date;host;x-ms-content-sha256"}),
        ("/sms?api-version=2021-03-07", {"names": "host;x-ms-content-sha256;x-ms-date"}),
        # aiohttp un-quotes what call automation had quoted
        (
            "/calling/callConnections/c/participants/4:%2B1555?api-version=x",
            {"sign_target": "/calling/callConnections/c/participants/4%3A%2B1555?api-version=x"},
        ),
        (
            "/identities/8:acs:a_b/:issueAccessToken?api-version=x",
            {"sign_target": "/identities/8%3Aacs%3Aa_b/:issueAccessToken?api-version=x"},
        ),
        # JavaScript signs URLSearchParams
        (
            "/areaCodes?locality=New%20York&x=~%27()!*-._",
            {"sign_target": "/areaCodes?locality=New+York&x=%7E%27%28%29%21*-._"},
        ),
        ("/participants/4:x?q=a%20b", {"sign_target": "/participants/4%3Ax?q=a+b"}),
        # decode_url=True
        (
            "/identities/8%3Aacs%3Aa_b/:revokeAccessTokens?q=%2B1",
            {"sign_target": "/identities/8:acs:a_b/:revokeAccessTokens?q=+1"},
        ),
        # a trailing slash in the endpoint
        ("/identities?api-version=x", {"sign_host": "localhost:8443/"}),
        # Java's com.azure:azure-communication-common signs the host without its port
        ("/sms?api-version=2021-03-07", {"sign_host": "localhost"}),
        ("/sms?api-version=2021-03-07", {"host": "[::1]:8443", "sign_host": "[::1]"}),
        ("/sms?api-version=2021-03-07", {"sign_host": "phones.example.com"}),
        # Python's SDKs sign the port of https when the endpoint names it; no HTTP client sends it
        ("/sms?api-version=2021-03-07", {"host": "localhost", "sign_host": "localhost:443"}),
        ("/sms?api-version=2021-03-07", {"host": "localhost", "sign_host": "localhost:443/"}),
        ("/sms?api-version=2021-03-07", {"host": "10.0.0.7", "sign_host": "acs.example.com:443"}),
        # the same, and http, of azure-communication-phonenumbers 1.1.0; rooms 1.0.0 un-quotes as well
        ("/phoneNumbers?skip=0", {"sign_target": "phoneNumbers?skip=0", "sign_host": "localhost:8443/"}),
        ("/phoneNumbers?skip=0", {"sign_target": "phoneNumbers?skip=0"}),
        ("/rooms/1/participants?after=8%3Aacs", {"sign_target": "rooms/1/participants?after=8:acs"}),
        ("/recordings/1", {"sign_host": "rec.example", "extra": {"x-ms-host": "rec.example"}}),
        ("/identities", {"sign_host": "acs.example.com"}),
        ("/", {"body": b""}),
    ],
)
def test_every_signing_habit_of_the_sdks_is_taken(target: str, changes: dict[str, object]) -> None:
    request = signed(target, **changes)  # type: ignore[arg-type]
    assert signatures(hosts=["acs.example.com", "phones.example.com:9443"]).verify(request, KEYS) is KEYS[0]


@pytest.mark.parametrize("forwarded", ["outside", "outside:443", "outside, inside"])
def test_a_forwarded_host_counts_only_when_trusted(forwarded: str) -> None:
    request = signed("/", sign_host="outside", extra={"x-forwarded-host": forwarded})
    assert signatures(trust_forwarded_host=True).verify(request, KEYS) is KEYS[0]
    with pytest.raises(Unauthorized):
        signatures().verify(request, KEYS)


def test_each_key_opens_and_is_named() -> None:
    check = signatures()
    for key in (*KEYS, *reversed(KEYS)):
        assert check.verify(signed("/x", secret=key.secret), KEYS) is key


def test_a_key_that_is_not_offered_does_not_open() -> None:
    check = signatures()
    assert check.verify(signed("/x", secret=KEYS[2].secret), KEYS) is KEYS[2]
    with pytest.raises(Unauthorized):
        check.verify(signed("/x", secret=KEYS[2].secret), KEYS[:2])


@pytest.mark.parametrize("offset", [-901, 901, -86_400, 86_400])
def test_a_date_outside_the_window_is_refused(offset: int) -> None:
    with pytest.raises(Unauthorized, match="away from the server's time"):
        Signatures(now=lambda: NOW + offset).verify(signed("/x"), KEYS)
    Signatures(now=lambda: NOW + (899 if offset > 0 else -899)).verify(signed("/x"), KEYS)


@pytest.mark.parametrize(
    "date",
    [
        "",
        "2026-11-21T01:53:14Z",
        "Sat, 21 Nov 2026 01:53:14",
        "Sat, 21 Foo 2026 01:53:14 GMT",
        "Sat, 21 Nov 0000 01:53:14 GMT",
        DATE + ";x",
        "٢" * 29,
    ],
)
def test_what_is_no_date_is_refused(date: str) -> None:
    assert seconds(date) is None
    with pytest.raises(Unauthorized):
        signatures().verify(signed("/x", date=date), KEYS)


@pytest.mark.parametrize(
    "names",
    [
        "host;x-ms-content-sha256",
        "x-ms-date;host",
        "x-ms-date;x-ms-content-sha256",
        "x-ms-date;host;host;x-ms-content-sha256",
        "x-ms-date;host;x-ms-content-sha256;x-ms-missing",
        "date;x-ms-date;;host;x-ms-content-sha256",
    ],
)
def test_signed_headers_that_leave_something_open_are_refused(names: str) -> None:
    with pytest.raises(Unauthorized):
        signatures().verify(signed("/x", names=names), KEYS)


@pytest.mark.parametrize(
    "change",
    [
        {"body": b"{ }"},
        {"method": "GET"},
        {"target": "/y"},
        {"target": "/x?a=1"},
        {"headers": {"x-ms-date": "Sat, 21 Nov 2026 01:53:15 GMT"}},
        {"headers": {"host": "elsewhere"}},
        {"headers": {"authorization": "HMAC-SHA256 Signature=x"}},
        {"headers": {"authorization": ""}},
        {"headers": {"x-ms-content-sha256": "é"}},
    ],
)
def test_a_changed_request_is_refused(change: dict[str, object]) -> None:
    request = signed("/x")
    for name, value in change.items():
        if isinstance(value, dict):
            request.headers.update(value)  # type: ignore[arg-type]
        else:
            setattr(request, name, value)
    with pytest.raises(Unauthorized):
        signatures().verify(request, KEYS)


@given(st.integers(0, 43), st.sampled_from("ABCz09+/="))
def test_no_other_signature_passes(position: int, letter: str) -> None:
    request = signed("/x")
    value = request.headers["authorization"]
    at = len(value) - 44 + position
    if value[at] != letter:
        request.headers["authorization"] = value[:at] + letter + value[at + 1 :]
        with pytest.raises(Unauthorized):
            signatures().verify(request, KEYS)


def test_a_forged_signature_costs_a_bounded_number_of_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = 0

    def counted(*arguments: object) -> bytes:
        nonlocal tried
        tried += 1
        return b"\0" * 32

    request = signed("/a:b/c%20d:play?q=a%20b", secret=b"nobody's", extra={"x-ms-host": "x"})
    monkeypatch.setattr("landline.edge.hmac._digest", counted)
    with pytest.raises(Unauthorized):
        signatures(hosts=[f"h{n}" for n in range(9)]).verify(request, KEYS * 200)
    assert tried == MAX_TRIES


def test_a_long_target_is_read_in_one_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each further reading of a forged request's would cost as much as it is long."""
    long = f"/a:b?q=a%20{'b' * LONGEST_REQUOTED}"
    assert signatures().verify(signed(long), KEYS) is KEYS[0]
    forged = signed(long, secret=b"nobody's")
    tried: list[object] = []
    monkeypatch.setattr("landline.edge.hmac._digest", lambda *given: tried.append(given) or b"\0" * 32)
    with pytest.raises(Unauthorized):
        signatures().verify(forged, KEYS)
    assert len(tried) == 4 * len(KEYS)  # with and without a slash at the end, and its port


@pytest.mark.parametrize("name", ["x-more", "x-ms-host", "host"])
def test_long_headers_are_not_hashed_again_and_again(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    names = f"x-ms-date;host;x-ms-content-sha256{';x-more' if name == 'x-more' else ''}"
    forged = signed("/a", names=names, secret=b"nobody's", extra={name: "h" * 30_000})
    hashed: list[bytes] = []
    monkeypatch.setattr("landline.edge.hmac.hmac.digest", lambda *given: hashed.append(given[1]) or b"\0" * 32)
    with pytest.raises(Unauthorized):
        signatures().verify(forged, KEYS * 100)
    assert all(len(text) < 2 * LONGEST_SIGNED for text in hashed)


SEGMENT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=12)


@given(st.lists(SEGMENT, min_size=1, max_size=4), st.data())
def test_any_path_is_recognised_however_the_transport_requotes_it(segments: list[str], data: st.DataObject) -> None:
    """The client signs every segment quoted; the wire carries any of these quotings of the same path."""
    signed_path = "/" + "/".join(quote(segment, safe="") for segment in segments)
    safe = data.draw(st.sampled_from(["", ":", ":@!$&'()*,;=", "@"]))
    sent = "/" + "/".join(quote(segment, safe=safe) for segment in segments)
    assert signed_path in list(target_readings(sent))
    assert unquote(signed_path) in list(target_readings(sent))
    assert sum(1 for _ in target_readings(sent + "?a=b")) <= 8
