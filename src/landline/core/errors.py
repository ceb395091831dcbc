"""The two kinds of failure that are not bugs, told apart by who must act. `edge.errors` makes HTTP answers of them."""

from collections.abc import Mapping
from types import MappingProxyType


class Refusal(Exception):
    """The caller asked for something it may not have; asking again unchanged will be refused again."""

    status = 400
    code = "BadRequest"
    inner: tuple[str, str] | None = None
    """Code and message of an error inside it, for services that write both (`innererror`)."""
    headers: Mapping[str, str] = MappingProxyType({})
    """What is told beside the error, where a public API has a header for it."""

    def __init__(self, message: str, *, target: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.target = target
        if code is not None:
            self.code = code


class Invalid(Refusal):
    """A field of the request has a value it may not have. `errors` maps the field's wire name to what is wrong."""

    def __init__(self, message: str, *, target: str | None = None, errors: dict[str, list[str]] | None = None) -> None:
        super().__init__(message, target=target)
        self.errors = errors or ({target: [message]} if target else {})


class Unauthorized(Refusal):
    """The request does not prove who sent it."""

    status = 401
    code = "Unauthorized"


class Expired(Unauthorized):
    """It proves who could send it until `ago_s` ago."""

    def __init__(self, message: str, *, ago_s: float) -> None:
        super().__init__(message)
        self.ago_s = ago_s


class Forbidden(Refusal):
    """The sender is known and may not do this."""

    status = 403
    code = "Forbidden"


class NotFound(Refusal):
    """What the request names is not there, or not the caller's."""

    status = 404
    code = "NotFound"


class NoSuchPath(NotFound):
    """Nothing is served there."""

    MESSAGE = "There is no such path on this server."

    def __init__(self) -> None:
        super().__init__(self.MESSAGE)


class Conflict(Refusal):
    """The request does not fit the present state of what it names."""

    status = 409
    code = "Conflict"


class TooLarge(Refusal):
    """The body or the headers are over the limit."""

    status = 413
    code = "RequestEntityTooLarge"


class TargetTooLong(Refusal):
    """The path and query are over the limit (RFC 9110 §15.5.15)."""

    status = 414
    code = "RequestUriTooLong"


class NotServed(Refusal):
    """An operation of the public wire that this server does not serve (yet)."""

    status = 501
    code = "NotImplemented"


class TooMany(Refusal):
    """A rate or a bound is exceeded; the same request may succeed after `retry_after_s` seconds."""

    status = 429
    code = "TooManyRequests"

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(Exception):
    """Time will mend it: a dependency is down or a queue is full. Answered 503 with `Retry-After`, or requeued."""

    retry_after_s = 1.0

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s


class NotWritten(Unavailable):
    """Likewise, and what could not be written certainly was not: nothing was begun, or PostgreSQL said no to it."""


class GaveWay(NotWritten):
    """What was begun was undone in favour of another transaction: it may be begun again at once."""
