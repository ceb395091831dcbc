"""CORS (Fetch standard §3.2) for browser clients such as `@azure/communication-chat` (chat-realtime.md C)."""

from collections.abc import Mapping, Sequence

from landline.edge.http import Response

_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_EXPOSED = (
    "x-ms-request-id, x-ms-client-request-id, x-ms-error-code, ms-cv, retry-after, retry-after-ms, "
    "x-ms-retry-after-ms, www-authenticate, location, operation-location, operation-id, etag, last-modified, "
    "search-id, purchase-id, release-id, capabilities-id, reservation-purchase-id, repeatability-result, "
    "api-supported-versions"
)
_USUAL_HEADERS = (
    "authorization, content-type, accept, x-ms-date, x-ms-content-sha256, x-ms-client-request-id, "
    "x-ms-return-client-request-id, x-ms-useragent, x-ms-host, x-ms-migration, x-skypetoken, traceparent, "
    "repeatability-request-id, repeatability-first-sent, if-match, if-none-match, if-unmodified-since, operation-id"
)
_MAX_AGE_S = "7200"  # the longest that Chromium keeps a preflight; without it each long poll costs two requests
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_, ")
_ANY = {"access-control-allow-origin": "*", "access-control-expose-headers": _EXPOSED}
_VARY = {"vary": "origin"}


class Cors:
    """`origins`: `("*",)` lets every origin in, without credentials; a list of exact origins lets those in, and with
    credentials; an empty one none."""

    def __init__(self, origins: Sequence[str] = ("*",)) -> None:
        self._any = "*" in origins
        self._origins = frozenset(origins)

    def allows(self, origin: str | None) -> bool:
        """Whether a WebSocket may be opened from `origin`: browsers do not ask first, they send it (RFC 6455 §10.2).
        Programs that are no browser send none."""
        return origin is None or self._any or origin in self._origins

    def headers(self, origin: str) -> dict[str, str]:
        """What an answer to `origin` carries: leave, if it is let in."""
        if self._any:
            return _ANY
        if origin not in self._origins:
            return _VARY
        allowed = {"access-control-allow-origin": origin, "access-control-allow-credentials": "true"}
        return {**allowed, "access-control-expose-headers": _EXPOSED, **_VARY}

    def preflight(self, headers: Mapping[str, str]) -> Response | None:
        """The answer to a preflight, or None when the request (an OPTIONS) is none."""
        if "origin" not in headers or "access-control-request-method" not in headers:
            return None
        wanted = headers.get("access-control-request-headers", "").lower()
        echo = wanted if wanted and _NAME_CHARACTERS.issuperset(wanted) else _USUAL_HEADERS
        return Response(
            204,
            headers={
                "access-control-allow-methods": _METHODS,
                "access-control-allow-headers": echo,
                "access-control-max-age": _MAX_AGE_S,
            },
        )
