"""URLs of callouts, parsed strictly (RFC 3986, UTS 46): what is checked is what is connected to."""

import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from urllib.parse import quote, urlsplit

import idna

_PORTS = {"https": 443, "http": 80}
_REFUSED = re.compile(r"[\x00-\x20\x7f\\]")
_HOST = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?")
_HOST_LENGTH = 254
_KEPT = "/%:@!$&'()*+,;=~"
"""What a path may hold beside letters, digits and `-._`; `%` because what is quoted stays as it is."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a request goes: `host` in lower case, in ASCII, an IPv6 address without brackets and in its short form."""

    scheme: str
    host: str
    port: int
    target: str
    """Path and query."""
    _openings: dict[str, bytes] = field(default_factory=dict[str, bytes], repr=False, compare=False)

    @property
    def origin(self) -> tuple[str, str, int]:
        """What connections are shared by."""
        return (self.scheme, self.host, self.port)

    @property
    def server_name(self) -> str:
        """The host as certificates and the Host header name it: without the root's dot."""
        return self.host.rstrip(".")

    def opening(self, method: str) -> bytes:
        """The request line and the Host header."""
        opening = self._openings.get(method)
        if opening is None:
            name = f"[{self.host}]" if ":" in self.host else self.server_name
            port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
            opening = f"{method} {self.target} HTTP/1.1\r\nhost: {name}{port}\r\n".encode("ascii")
            self._openings[method] = opening
        return opening


def parse(url: str) -> Endpoint:
    """The endpoint that `url` names. Raises `ValueError` saying what is wrong with it."""
    if _REFUSED.search(url):
        raise ValueError("it holds a space, a backslash or a control character")
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.netloc:
        raise ValueError("it must be absolute, with the scheme https")
    if "@" in parts.netloc:
        raise ValueError("it must not hold a user or password; use delivery headers")
    host, port = _host_and_port(parts.netloc)
    query = f"?{quote(parts.query, safe=_KEPT + '?')}" if parts.query else ""
    return Endpoint(parts.scheme, host, port or _PORTS[parts.scheme], quote(parts.path or "/", safe=_KEPT) + query)


def _host_and_port(authority: str) -> tuple[str, int | None]:
    if authority.startswith("["):
        literal, _, rest = authority[1:].partition("]")
        host = str(IPv6Address(_without_zone(literal)))
    else:
        name, colon, rest = authority.partition(":")
        host, rest = _ascii(name), colon + rest
    if rest in ("", ":"):
        return host, None
    digits = rest[1:]
    if not (rest[0] == ":" and digits.isascii() and digits.isdigit() and 0 < int(digits) < 65536):
        raise ValueError("its port is not a number from 1 to 65535")
    return host, int(digits)


def _without_zone(literal: str) -> str:
    if "%" in literal:
        raise ValueError("its address has a zone, which means something on one machine only")
    return literal


def _ascii(name: str) -> str:
    host = name.lower() if name.isascii() else idna.encode(name, uts46=True).decode("ascii").lower()
    if not _HOST.fullmatch(host) or len(host) > _HOST_LENGTH:
        raise ValueError(f"{name!r} is no host name")
    return host
