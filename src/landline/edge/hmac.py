"""Requests signed with an access key: HMAC-SHA256 as acs-wire.md 2.1, with every signing habit of the SDKs.

The SDKs do not always sign what they send: transports re-quote paths, queries are re-encoded, hosts gain a slash. So a
few readings of the request are tried, the plain one first, which nearly every request matches.
"""

import base64
import hashlib
import hmac
import re
import time
from calendar import timegm
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from urllib.parse import parse_qsl, quote, quote_plus, unquote

from landline.core.errors import Unauthorized
from landline.edge.http import Request
from landline.edge.tenancy import SigningKey

SKEW_S = 900.0
MAX_TRIES = 512
"""HMACs computed for one request at most: with the next, bounds what a forged signature costs (about a millisecond)."""
LONGEST_REQUOTED = 1024
"""Characters of a path and query of which other readings than the plain one are made: each costs as much as it is
long. The SDKs' own, with ids and tokens of pages, are shorter."""
LONGEST_SIGNED = 4096
"""Characters of the signed headers together, and of the host in its place: they are hashed in every try."""

_AUTHORIZATION = re.compile(
    r"(?i:hmac-sha256 +SignedHeaders=)([A-Za-z0-9;-]{1,200})(?i:&Signature=)([A-Za-z0-9+/]{43}=)"
)
"""Without regard to case only where letters of the grammar are: classes of characters are looked through four times as
fast."""
_DATE = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\d\d) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT", re.ASCII
)
_DATE_LENGTH = len("Sat, 21 Nov 2026 01:53:14 GMT")
_MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, start=1)}
_DATES = ("x-ms-date", "date")
_NOTHING_HASHED = hashlib.sha256()
"""A copy of it costs a third of a new one."""
_VERB = re.compile(r"(.*)(:[A-Za-z]+)")
_PORT = re.compile(r":[0-9]*$", re.ASCII)


class Signatures:
    """Checks signed requests. `hosts` are this server's public names as clients may have signed them, for servers
    behind a proxy; freshness is read from the machine's time, as a client's clock cannot be driven."""

    def __init__(
        self,
        *,
        skew_s: float = SKEW_S,
        hosts: Sequence[str] = (),
        trust_forwarded_host: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._skew_s = skew_s
        self._hosts = tuple(hosts)
        self._trust_forwarded_host = trust_forwarded_host
        self._now = now
        self._last_match = 0

    def verify(self, request: Request, keys: Sequence[SigningKey]) -> SigningKey:
        """The one of `keys` that signed `request`. Raises `Unauthorized`."""
        headers = request.headers
        match = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
        if match is None:
            raise Unauthorized("The Authorization header is not a well-formed HMAC-SHA256 signature.")
        names = _signed_names(match.group(1).lower())
        if names is None:
            raise Unauthorized("SignedHeaders must name a date, host and x-ms-content-sha256, each once.")
        for name in names:
            if name not in headers:
                raise Unauthorized("A header named in SignedHeaders was not sent.")
        if sum([len(headers[name]) for name in names]) > LONGEST_SIGNED:
            raise Unauthorized("The headers named in SignedHeaders are too long.")
        self._check_date(headers, names)
        hashed = _NOTHING_HASHED.copy()
        hashed.update(request.body)
        body_hash = base64.b64encode(hashed.digest())
        if not hmac.compare_digest(body_hash, headers["x-ms-content-sha256"].encode("utf-8", "replace")):
            raise Unauthorized("The x-ms-content-sha256 header does not fit the body.")
        found = self._match(request, names, match.group(2).encode(), keys)
        if found is None:
            raise Unauthorized("The HMAC signature does not fit the request under any key of the resource.")
        return found

    def _check_date(self, headers: dict[str, str], names: tuple[str, ...]) -> None:
        for name in _DATES:
            if name in names:
                sent = seconds(headers[name])
                if sent is None:
                    raise Unauthorized(f"The {name} header is not a date as RFC 1123 writes it.")
                if abs(sent - self._now()) > self._skew_s:
                    raise Unauthorized(
                        f"The {name} header is more than {self._skew_s:.0f} s away from the server's time."
                    )

    def _match(
        self, request: Request, names: tuple[str, ...], signature: bytes, keys: Sequence[SigningKey]
    ) -> SigningKey | None:
        tries = 0
        for target, host in self._readings(request):
            text = _string_to_sign(request, names, target, host)
            for index in _order(len(keys), self._last_match):
                if tries == MAX_TRIES:
                    return None
                tries += 1
                digest = _digest(keys[index].secret, text)
                if hmac.compare_digest(base64.b64encode(digest), signature):
                    self._last_match = index
                    return keys[index]
        return None

    def _readings(self, request: Request) -> Iterator[tuple[str, str]]:
        """(path and query, host) as the client may have signed them, the likeliest first, none twice."""
        yield request.target, request.headers["host"]
        seen = {(request.target, request.headers["host"])}
        hosts = self._host_readings(request.headers)
        if len(request.target) > LONGEST_REQUOTED:
            yield from ((request.target, host) for host in hosts if host != request.headers["host"])
            return
        for target in target_readings(request.target):
            for host in hosts:
                if (target, host) not in seen:
                    seen.add((target, host))
                    yield target, host
        # Python's rooms 1.0.0, phone numbers 1.1.0 and identity 1.3 cut the path out of the URL one character too late
        # when the endpoint they were given ends with a slash, or is http.
        for target in dict.fromkeys((request.target, unquote(request.target))):
            for host in hosts[:2]:
                yield target.removeprefix("/"), host

    def _host_readings(self, headers: dict[str, str]) -> list[str]:
        sent = [headers["host"]]
        if self._trust_forwarded_host and (forwarded := forwarded_host(headers)):
            sent.insert(0, forwarded)
        hosts = [host + end for each in sent for host in (each, _other_port(each)) for end in ("", "/")]
        other = headers.get("x-ms-host")
        if other and len(other) <= LONGEST_SIGNED:
            hosts.append(other)
        for host in self._hosts:
            hosts += (host, _other_port(host))
        return list(dict.fromkeys(hosts))


@lru_cache(maxsize=4096)
def _keyed(secret: bytes) -> hmac.HMAC:
    """What HMAC begins with, which may be kept (RFC 2104 §4)."""
    return hmac.new(secret, digestmod="sha256")


def _digest(secret: bytes, text: bytes) -> bytes:
    signing = _keyed(secret).copy()
    signing.update(text)
    return signing.digest()


def forwarded_host(headers: Mapping[str, str]) -> str | None:
    """The Host that the client sent to the first of the proxies: each adds the one it was sent behind those before."""
    return headers.get("x-forwarded-host", "").partition(",")[0].strip() or None


def seconds(date: str) -> float | None:
    """The instant of an RFC 1123 date in seconds since 1970, or None when `date` is not one."""
    return _seconds(date) if len(date) == _DATE_LENGTH else None  # what is remembered is no longer than that


@lru_cache(maxsize=256)
def _seconds(date: str) -> float | None:
    match = _DATE.fullmatch(date)
    month = _MONTHS.get(match.group(2)) if match else None
    if match is None or month is None:
        return None
    day, year, hour, minute, second = (int(match.group(group)) for group in (1, 3, 4, 5, 6))
    if year == 0 or not 1 <= day <= 31 or hour > 23 or minute > 59 or second > 60:
        return None
    return float(timegm((year, month, day, hour, minute, second)))


def target_readings(target: str) -> Iterator[str]:
    """Path and query as the SDKs may have signed what arrived as `target` (acs-wire.md 2.1, the table)."""
    yield target
    path, mark, query = target.partition("?")
    segments = path.split("/")
    paths = [path]
    # aiohttp un-quotes what the caller quoted, so quote every segment again; a `:verb` at the end was never quoted.
    paths.append("/".join(_quoted(segment) for segment in segments))
    verb = _VERB.fullmatch(segments[-1])
    if verb is not None:
        paths.append("/".join([*map(_quoted, segments[:-1]), _quoted(verb.group(1)) + verb.group(2)]))
    queries = [query]
    if mark:
        queries.append(_form(query))
    for other_query in queries:
        for other_path in paths:
            yield other_path + mark + other_query
    yield unquote(target)


def _other_port(host: str) -> str:
    """`host` without its port, which Java's SDK signs whatever its HTTP client then sends; or one without a port with
    that of https, which Python's SDKs sign when the endpoint names it, and no HTTP client sends."""
    bare = _PORT.sub("", host)
    return bare if bare != host else f"{host}:443"


def _quoted(segment: str) -> str:
    return quote(unquote(segment), safe="")


def _form(query: str) -> str:
    """`query` as a browser's `URLSearchParams` writes it (WHATWG URL §5.2)."""
    pairs = parse_qsl(query, keep_blank_values=True)
    return "&".join(f"{_form_quoted(name)}={_form_quoted(value)}" for name, value in pairs)


def _form_quoted(text: str) -> str:
    return quote_plus(text, safe="*").replace("~", "%7E")


@lru_cache(maxsize=64)
def _signed_names(text: str) -> tuple[str, ...] | None:
    names = tuple(text.split(";"))
    if len(set(names)) != len(names) or "host" not in names or "x-ms-content-sha256" not in names:
        return None
    return names if any(date in names for date in _DATES) else None


def _string_to_sign(request: Request, names: tuple[str, ...], target: str, host: str) -> bytes:
    headers = request.headers
    values = ";".join([host if name == "host" else headers[name] for name in names])
    return f"{request.method}\n{target}\n{values}".encode("utf-8", "replace")


def _order(count: int, first: int) -> Iterator[int]:
    """The numbers below `count`, beginning with `first`: the last request's key likely signed this one too."""
    if first < count:
        yield first
    for index in range(count):
        if index != first:
            yield index
